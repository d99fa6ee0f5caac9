# Slurm, for scripts/cluster.

nodes=2 cpus=4 min_job_age=300

option() {
  case $1 in
    --nodes) nodes=$2 ;;
    --cpus) cpus=$2 ;;
    --min-job-age) min_job_age=$2 ;;
    *) return 1 ;;
  esac
}

prepare() {
  export SLURM_CONF="$dir/slurm.conf"
  mark="SLURM_CONF=$SLURM_CONF"
}

install_system() {
  PATH=$PATH:/usr/sbin:/sbin
  command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v sbatch >/dev/null && return
  apt_install slurm-wlm || die 'cannot install slurm-wlm: run `sudo apt-get install slurm-wlm`'
}

write_settings() {
  local port=$1 host user names="n[1-$nodes]" ports
  host=$(hostname -s)
  user=$(id -un)
  ports="[$((port + 1))-$((port + nodes))]"
  [ "$nodes" != 1 ] || names=n1 ports=$((port + 1))
  cat >"$SLURM_CONF" <<END
ClusterName=private$port
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/none
CredType=cred/none
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.%n.log
# Plain processes: neither control groups nor systemd are needed.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,default_queue_depth=10000
MaxJobCount=100000
MinJobAge=$min_job_age
KillWait=5
SlurmdTimeout=20
MessageTimeout=10
AccountingStorageType=accounting_storage/none
NodeName=$names NodeHostname=$host NodeAddr=127.0.0.1 Port=$ports CPUs=$cpus RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=60 State=UP
END
}

are_idle() { [ "$(timeout 5 sinfo -h -t idle -o %D 2>/dev/null)" = "$nodes" ]; }

up() {
  [ -z "$(daemons)" ] || die "it runs already: . $dir/env.sh"
  [ "$(printf %s "$dir" | tr -d '[:alnum:]/._-')" = '' ] || die "Slurm's settings cannot hold the name of $dir"
  install_system
  mkdir -p "$dir"/{log,state}
  : >"$dir/pids"
  write_settings "$(free_ports 16800 $((nodes + 1)))"
  printf 'export SLURM_CONF=%s\n' "$SLURM_CONF" >"$dir/env.sh"
  start slurmctld slurmctld -D -i
  local i end=$((SECONDS + 30))
  for i in $(seq "$nodes"); do
    mkdir -p "$dir/spool/n$i"
    start "slurmd.n$i" slurmd -D -N "n$i"
  done
  until are_idle; do
    if [ $SECONDS -ge $end ] || [ "$(daemons | wc -l)" -le "$nodes" ]; then
      tail -n 5 "$dir"/log/*.out >&2
      down
      die 'Slurm did not start'
    fi
    sleep 0.1
  done
  echo "cluster: $nodes nodes with $cpus cores each are idle: . $dir/env.sh"
}

down() {
  [ -n "$(daemons)" ] || { echo 'cluster: it does not run'; return; }
  if timeout 10 scontrol ping >/dev/null 2>&1; then
    timeout 20 scancel --quiet --user="$(id -un)" || true
    for _ in $(seq 80); do [ -z "$(timeout 5 squeue -h -t R,CG -o %i 2>/dev/null)" ] && break; sleep 0.1; done
  fi
  stop_daemons 80
  kill_leftovers SLURM_JOB_ID=
  echo 'cluster: stopped'
}

status() {
  [ -n "$(daemons)" ] || { echo 'cluster: it does not run'; return 1; }
  echo "cluster: it runs: . $dir/env.sh"
  timeout 20 sinfo
  timeout 20 squeue
}
