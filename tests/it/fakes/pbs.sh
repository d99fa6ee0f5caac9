# OpenPBS, or Torque if there is a file `torque` in the queue.
[ -e "$queue/torque" ] && dialect=torque || dialect=pbs

is_array() { [ -e "$queue/$1/array" ]; }

output_of() {
  local output
  output=$(cat "$queue/$1/output")
  case "$output" in
    */) echo "$output$1.$2.OU" ;;
    *) echo "$output-$2" ;;
  esac
}

variables() {
  cd "$HOME" || exit
  export PBS_JOBID=$1.pbsh
  if is_array "$1"; then
    PBS_JOBID="$1[$2].pbsh"
    if [ "$dialect" = pbs ]; then
      export PBS_ARRAY_INDEX=$2 PBS_ARRAY_ID="$1[].pbsh"
    else
      export PBS_ARRAYID=$2
    fi
  fi
}

command_qsub() {
  [ $# = 3 ] && [ "$1" = -o ] || refuse "usage: qsub -o PATH SCRIPT" 2
  local output=$2 script=$3 option value name="" array="" state=waiting
  [ -d "${output%/*}" ] || refuse "qsub: illegal -o value"
  while read -r option value; do
    case "$option" in
      -N) [[ $value =~ ^[A-Za-z][A-Za-z0-9._+-]{0,14}$ ]] && name=$value || refuse "qsub: illegal -N value" ;;
      -S) [ "$value" = /bin/bash ] || refuse "qsub: illegal -S value" ;;
      -J) [ "$dialect" = pbs ] && [[ $value =~ ^0-[1-9][0-9]*(%[0-9]+)?$ ]] && array=$value || refuse "qsub: illegal -J value" ;;
      -t) [ "$dialect" = torque ] && [[ $value =~ ^0-[0-9]+(%[0-9]+)?$ ]] && array=$value || refuse "qsub: illegal -t value" ;;
      -l)
        case "$dialect $value" in
          "pbs select="[1-9]*:ncpus=[1-9]*:mpiprocs=[1-9]*) ;;
          "torque nodes=1:ppn="[1-9]*) ;;
          "torque mem="*mb) ;;
          *" walltime="*:??:??) ;;
          *) refuse "qsub: illegal -l value" ;;
        esac
        ;;
      -r) [ "$value" = n ] || refuse "qsub: illegal -r value" ;;
      -j) [ "$value" = oe ] || refuse "qsub: illegal -j value" ;;
      -q) [ "$value" != nowhere ] || refuse "qsub: Unknown queue" ;;
      -V | -A) ;;
      -W)
        local word=depend=afterany before
        [ "$dialect" = pbs ] || word=depend=afteranyarray
        [ "${value%%:*}" = "$word" ] || refuse "qsub: illegal -W value"
        for before in $(tr : ' ' <<<"${value#*:}"); do
          is_open "${before%\[*}" || refuse "qsub: $before would have it deleted"
          after="${after-} ${before%\[*}"
        done
        ;;
      -h) state=held ;;
      *) refuse "qsub: invalid option -- '$option'" 2 ;;
    esac
  done < <(directives PBS "$script")
  local last=0 id
  [ -z "$array" ] || { last=${array#0-} && last=${last%\%*}; }
  id=$(enqueue "$name" "$script" 0 "$last" "$state" "$output" "${array:+array}")
  echo "$id${array:+[]}.pbsh"
}

# Attributes of an element, as NAME=VALUE; `R.` is Resource_List.
attributes() {
  local state how
  state=$(get "$1" "$2" state) how=$(get "$1" "$2" how)
  echo "Job_Name=$(name_of "$1")"
  echo "Job_Owner=me@pbsh"
  echo "R.walltime=00:01:00"
  case "$state" in
    waiting) echo "job_state=Q" ;;
    held) printf '%s\n' job_state=H Hold_Types=u ;;
    running)
      echo "job_state=R"
      if [ "$how" = over ]; then
        echo "stime=$(TZ=${TZ:-UTC} date -d "-2 minutes" +'%a %b %e %H:%M:%S %Y')"
        echo "U.walltime=00:01:07"
      fi
      ;;
    ended)
      local status
      status=$(get "$1" "$2" status)
      [ "$dialect" = pbs ] && echo "job_state=F" || echo "job_state=C"
      case "$dialect $how ${status:-none}" in
        *none) echo "substate=91" ;;
        pbs\ deleted*) printf '%s\n' substate=91 Exit_status=0 ;;
        pbs\ over*) printf '%s\n' substate=93 Exit_status=-29 ;;
        torque\ over*) echo "exit_status=-11" ;;
        torque\ deleted*) echo "exit_status=271" ;;
        pbs*) printf '%s\n' "Exit_status=$status" ;;
        *) echo "exit_status=$status" ;;
      esac
      ;;
  esac
}

known() { # ID as the user writes it; prints `ID ELEMENT` of each that is meant
  local text=${1%%.*} element
  local id=${text%%\[*}
  [ -d "$queue/$id" ] || return 1
  case "$text" in
    *"[]" | "$id") for element in $(elements "$id"); do echo "$id $element"; done ;;
    *) element=${text#*\[} && element=${element%\]} && [ -d "$queue/$id/$element" ] && echo "$id $element" ;;
  esac
}

written() { is_array "$1" && echo "$1[$2].pbsh" || echo "$1.pbsh"; }

as_json() {
  local id element line comma="" inner
  printf '{\n    "timestamp":%s,\n    "pbs_version":"23.06.06",\n    "pbs_server":"pbsh"' "$(date +%s)"
  [ $# = 0 ] && { printf '\n}\n' && return; }
  printf ',\n    "Jobs":{'
  while read -r id element; do
    printf '%s\n        "%s":{' "$comma" "$(written "$id" "$element")"
    comma=, inner=""
    while IFS= read -r line; do
      case "$line" in
        R.*) printf '%s"Resource_List":{"%s":"%s"}' "$inner" walltime "${line#*=}" ;;
        U.*) printf '%s"resources_used":{"%s":"%s"}' "$inner" walltime "${line#*=}" ;;
        *tatus=* | substate=*) printf '%s"%s":%s' "$inner" "${line%%=*}" "${line#*=}" ;;
        *) printf '%s"%s":"%s"' "$inner" "${line%%=*}" "${line#*=}" ;;
      esac
      inner=,
    done < <(attributes "$id" "$element")
    [ -e "$queue/odd" ] && printf ',"Variable_List":{"A":"\\x"}'
    printf '}'
  done < <(printf '%s\n' "$@")
  printf '\n    }\n}\n'
}

as_text() {
  local id element
  while read -r id element; do
    echo "Job Id: $(written "$id" "$element")"
    attributes "$id" "$element" | sed 's/^R\./Resource_List./; s/^U\./resources_used./; s/=/ = /; s/^/    /'
    printf '    Variable_List = PBS_O_HOME=/home/me,\n\tPBS_O_LANG=C\n\n'
  done < <(printf '%s\n' "$@")
}

command_qstat() {
  case "$*" in
    "-B -f") printf 'Server: pbsh\n    server_state = Active\n' && return ;;
    "-x "*) [ "$dialect" = pbs ] || refuse "qstat: invalid option -- 'x'" 2 ;;&
    "-x -t -f -F json"*) set -- json "${@:6}" ;;
    "-x -t -f"*) set -- text "${@:4}" ;;
    "-t -f"*) set -- text "${@:3}" ;;
    *) refuse "qstat: $*" 2 ;;
  esac
  local form=$1 id status=0 found all=()
  shift
  if [ $# = 0 ]; then
    for id in $(jobs_); do mapfile -t found < <(known "$id") && all+=("${found[@]}"); done
  fi
  for id in "$@"; do
    if known "$id" >/dev/null; then
      mapfile -t found < <(known "$id") && all+=("${found[@]}")
    else
      echo "qstat: Unknown Job Id $id" >&2
      status=153
    fi
  done
  [ "$form" = json ] && [ $status = 0 ] && as_json "${all[@]}"
  [ "$form" = text ] && [ ${#all[@]} -gt 0 ] && as_text "${all[@]}"
  return $status
}

command_qselect() {
  if [ "$dialect" = pbs ]; then
    [ "$1" = -x ] || refuse "qselect: without history"
    shift
  fi
  [ $# = 2 ] && [ "$1" = -N ] || refuse "usage: qselect -N name" 2
  local id
  for id in $(jobs_); do
    [ "$(name_of "$id")" = "$2" ] && { is_array "$id" && echo "$id[].pbsh" || echo "$id.pbsh"; }
  done
  return 0
}

each() { # VERB ID...
  local verb=$1 id one element status=0
  shift
  for id in "$@"; do
    known "$id" >/dev/null || { echo "$verb: Unknown Job Id $id" >&2 && status=153 && continue; }
    while read -r one element; do
      if [ "$verb" = qdel ] && [ "$(get "$one" "$element" state)" = ended ]; then
        echo "qdel: Job has finished $id" >&2
        status=35
      else
        "do_$verb" "$one" "$element" "$id"
      fi
    done < <(known "$id")
  done
  return $status
}
do_qdel() { end "$1" "$2" deleted; }
do_qhold() {
  [ "$dialect" = pbs ] && [[ $3 == *"["[0-9]* ]] && refuse "qhold: Request invalid for a subjob"
  [ "$(get "$1" "$2" state)" != waiting ] || put "$1" "$2" state held
}
do_qrls() {
  [ "$(get "$1" "$2" state)" = held ] || return 0
  put "$1" "$2" state waiting
  [ -e "$queue/closed" ] || begin "$1" "$2"
}
command_qdel() { each qdel "$@"; }
command_qhold() { each qhold "$@"; }
command_qrls() { each qrls "$@"; }

main "$@"
