# Grid Engine, for scripts/cluster: Son of Grid Engine 8.1.9, as Debian and Ubuntu have it.
#
# Its packages want a mail server and a place in the system's start-up, and have questions. So they
# are unpacked into /opt/gridengine, with one link, /usr/lib/gridengine, where the daemons look for
# their own library. To get rid of it: `sudo rm -r /opt/gridengine /usr/lib/gridengine`.

slots=4
unpacked=/opt/gridengine
lib=/usr/lib/gridengine
clients='qacct qalter qconf qdel qhold qhost qmod qrls qselect qstat qsub'

option() {
  case $1 in
    --slots) slots=$2 ;;
    *) return 1 ;;
  esac
}

prepare() {
  mark="SGE_ROOT=$dir"
  export SGE_ROOT=$dir SGE_CELL=default
}

# Where the settings are that it comes with.
share() { if [ -d "$unpacked" ]; then echo "$unpacked/usr/share/gridengine"; else echo /usr/share/gridengine; fi; }

is_installed() {
  local program
  for program in sge_qmaster sge_execd sge_shepherd spoolinit qsub; do
    [ -x "$lib/$program" ] && ! ldd "$lib/$program" | grep -q 'not found' || return 1
  done
  [ -f "$(share)/default-configuration" ] && command -v cc >/dev/null
}

install_system() {
  ! is_installed || return 0
  local message='cannot install Grid Engine: it needs root, and the packages gridengine-* of Debian or Ubuntu'
  command -v apt-get >/dev/null || die "$message"
  local work packages='gridengine-client gridengine-common gridengine-exec gridengine-master'
  work=$(mktemp -d)
  trap 'rm -rf "$work"' RETURN
  # What they need of the system are libraries; and the loopback interface is kept to with a compiler.
  local libraries
  libraries=$(apt-cache depends --no-recommends --no-suggests $packages 2>/dev/null | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p' | sort -u)
  if [ -z "$libraries" ]; then
    as_root apt-get update -qq >/dev/null 2>&1 || die "$message"
    libraries=$(apt-cache depends --no-recommends --no-suggests $packages 2>/dev/null | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p' | sort -u)
  fi
  [ -n "$libraries" ] || die "$message"
  apt_install gcc libc6-dev $libraries || die "$message"
  if [ ! -x "$lib/sge_qmaster" ]; then
    [ -L "$lib" ] || [ ! -e "$lib" ] || die "some packages of Grid Engine are installed, but not all: install gridengine-master and gridengine-exec"
    echo "cluster: unpacking Grid Engine into $unpacked" >&2
    (cd "$work" && apt-get download -q $packages >/dev/null 2>&1) || die "$message"
    local file
    for file in "$work"/*.deb; do dpkg-deb -x "$file" "$work/root"; done
    as_root rm -rf "$unpacked"
    as_root cp -r --no-preserve=ownership "$work/root" "$unpacked"
    as_root chmod 755 "$unpacked"
    as_root ln -sfn "$unpacked$lib" "$lib"
  fi
  is_installed || die "$message"
}

# The daemons listen everywhere. This has them listen on the loopback interface.
build_loopback() {
  cat >"$dir/loopback.c" <<'END'
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

int bind(int fd, const struct sockaddr *address, socklen_t size) {
    int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "bind");
    struct sockaddr_in loopback;
    if (address && address->sa_family == AF_INET && size == sizeof loopback) {
        memcpy(&loopback, address, sizeof loopback);
        if (loopback.sin_addr.s_addr == htonl(INADDR_ANY)) {
            loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        }
        return next(fd, (const struct sockaddr *)&loopback, sizeof loopback);
    }
    return next(fd, address, size);
}
END
  cc -shared -fPIC -O1 -o "$dir/loopback.so" "$dir/loopback.c" -ldl
}

# SGE_ND keeps a daemon in the foreground, so that its number is known.
start_daemon() {
  start "$1" env SGE_ND=1 LD_PRELOAD="$dir/loopback.so" "$lib/$1"
}

# All the names of this machine.
names_here() { { hostname; getent hosts "$(hostname)" | awk '{ for (i = 2; i <= NF; i++) print $i }'; } | grep -vx "$host" | sort -u; }

write_settings() {
  local port=$1 common=$dir/default/common admin=none arch client
  # Who is not root can be the master of his own batch jobs only.
  [ "$(id -u)" = 0 ] || admin=$(id -un)
  arch=$("$(share)/util/arch" 2>/dev/null || echo lx-amd64)
  rm -rf "$dir"/{bin,clients,default,lib,spool,utilbin,util}
  mkdir -p "$dir"/{bin,clients,lib,utilbin,log,spool/execd,spool/qmaster/job_scripts} "$common"
  ln -s "$lib" "$dir/bin/$arch"
  ln -s "$lib" "$dir/lib/$arch"
  ln -s "$lib" "$dir/utilbin/$arch"
  ln -s "$(share)/util" "$dir/util"
  for client in $clients; do ln -s "$lib/$client" "$dir/clients/$client"; done
  cat >"$common/bootstrap" <<END
admin_user              $admin
default_domain          none
ignore_fqdn             true
spooling_method         classic
spooling_lib            libspoolc
spooling_params         $common;$dir/spool/qmaster
binary_path             $dir/bin
qmaster_spool_dir       $dir/spool/qmaster
security_mode           none
listener_threads        2
worker_threads          2
scheduler_threads       1
END
  # The machine is known by one name, and that is on the loopback interface.
  echo "$host" >"$common/act_qmaster"
  printf '%s %s\n' "$host" "$(names_here | tr '\n' ' ')" >"$common/host_aliases"
  echo "p$port" >"$common/cluster_name"
  cat >"$dir/env.sh" <<END
export SGE_ROOT=$dir SGE_CELL=default SGE_ARCH=$arch SGE_CLUSTER_NAME=p$port
export SGE_QMASTER_PORT=$port SGE_EXECD_PORT=$((port + 1))
export PATH=$dir/clients:\$PATH
END
  sed -e "s|^execd_spool_dir.*|execd_spool_dir $dir/spool/execd|" -e 's|^mailer.*|mailer /bin/true|' \
    -e 's|^login_shells.*|login_shells NONE|' -e 's|^min_uid.*|min_uid 0|' -e 's|^min_gid.*|min_gid 0|' \
    -e 's|^load_report_time.*|load_report_time 00:00:01|' -e 's|^max_unheard.*|max_unheard 00:00:20|' \
    -e 's|flush_time=00:00:15|flush_time=00:00:01 accounting_flush_time=00:00:00|' \
    -e 's|^execd_params.*|execd_params INHERIT_ENV=false|' "$(share)/default-configuration" >"$dir/configuration"
}

init_spool() {
  local defaults=$lib/spooldefaults.bin
  # The tools for this find their own library only so.
  export LD_LIBRARY_PATH=$lib
  {
    "$lib/spoolinit" classic libspoolc "$dir/default/common;$dir/spool/qmaster" init
    "$defaults" configuration "$dir/configuration"
    "$defaults" complexes "$(share)/util/resources/centry"
    "$defaults" usersets "$(share)/util/resources/usersets"
    "$defaults" managers "$(id -un)"
  } >"$dir/log/init.out" 2>&1 || return 1
  unset LD_LIBRARY_PATH
}

# Repeats a command until it succeeds, for so many seconds.
await() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] && [ -n "$(daemons)" ] || return 1
    sleep 0.1
  done
}

ask() { timeout 10 "$dir/clients/$1" "${@:2}"; }

# Describes the one host with its queue, and has the scheduler make haste.
describe() {
  local in=$dir/description
  ask qconf -as "$host"
  printf 'hostname %s\nload_scaling NONE\ncomplex_values NONE\nuser_lists NONE\nxuser_lists NONE\nprojects NONE\nxprojects NONE\nusage_scaling NONE\nreport_variables NONE\n' \
    "$host" >"$in"
  ask qconf -sel | grep -qx "$host" || ask qconf -Ae "$in"
  ask qconf -ah "$host" || true
  printf 'group_name @allhosts\nhostlist %s\n' "$host" >"$in"
  ask qconf -Ahgrp "$in"
  cat >"$in" <<'END'
pe_name            smp
slots              9999
user_lists         NONE
xuser_lists        NONE
start_proc_args    NONE
stop_proc_args     NONE
allocation_rule    $pe_slots
control_slaves     FALSE
job_is_first_task  TRUE
urgency_slots      min
accounting_summary FALSE
qsort_args         NONE
END
  ask qconf -Ap "$in"
  # Without arguments this shows what a new queue begins with.
  ask qconf -sq | sed -e 's/^qname .*/qname all.q/' -e 's/^hostlist .*/hostlist @allhosts/' \
    -e "s/^slots .*/slots $slots/" -e 's/^load_thresholds .*/load_thresholds NONE/' -e 's/^pe_list .*/pe_list smp/' >"$in"
  ask qconf -Aq "$in"
  ask qconf -ssconf | sed -e 's/^schedule_interval .*/schedule_interval 0:0:1/' -e 's/^flush_submit_sec .*/flush_submit_sec 1/' \
    -e 's/^flush_finish_sec .*/flush_finish_sec 1/' -e 's/^load_formula .*/load_formula slots/' \
    -e 's/^job_load_adjustments .*/job_load_adjustments NONE/' >"$in"
  ask qconf -Msconf "$in"
}

# Letters in the sixth column say that a queue is not usable.
is_usable() { ask qstat -f -q all.q | awk '/^all.q@/ { usable = NF == 5 } END { exit !usable }'; }

up() {
  [ -z "$(daemons)" ] || die "it runs already: . $dir/env.sh"
  [ "$(printf %s "$dir" | tr -d '[:alnum:]/._-')" = '' ] || die "Grid Engine's settings cannot hold the name of $dir"
  getent hosts "$(hostname)" >/dev/null || die "Grid Engine needs an address for the name of this machine: add \`127.0.1.1 $(hostname)\` to /etc/hosts"
  install_system
  host=localhost
  write_settings "$(free_ports 16890 2)"
  . "$dir/env.sh"
  : >"$dir/pids"
  build_loopback
  init_spool || { cat "$dir/log/init.out" >&2; die 'Grid Engine cannot be set up'; }
  start_daemon sge_qmaster
  if ! { await 30 ask qconf -sh && describe >"$dir/log/describe.out" 2>&1 && start_daemon sge_execd && await 30 is_usable; }; then
    tail -n 5 "$dir"/log/*.out "$dir"/spool/qmaster/messages "$dir"/spool/execd/*/messages >&2
    down
    die 'Grid Engine did not start'
  fi
  echo "cluster: a host with $slots slots is usable: . $dir/env.sh"
}

down() {
  [ -n "$(daemons)" ] || { echo 'cluster: it does not run'; return; }
  . "$dir/env.sh"
  if ask qconf -sh >/dev/null 2>&1; then
    ask qdel -f -u '*' >/dev/null 2>&1 || true
    for _ in $(seq 30); do [ -z "$(ask qstat -u '*' -s rs 2>/dev/null)" ] && break; sleep 0.1; done
  fi
  # Nothing is kept, so it need not be waited for the master to save it.
  stop_daemons 10
  kill_leftovers "SGE_JOB_SPOOL_DIR=$dir/"
  echo 'cluster: stopped'
}

status() {
  [ -n "$(daemons)" ] || { echo 'cluster: it does not run'; return 1; }
  echo "cluster: it runs: . $dir/env.sh"
  . "$dir/env.sh"
  ask qhost
  ask qstat -f -u '*'
}
