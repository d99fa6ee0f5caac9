# Flux: what it calls its batch jobs is `f` and a number; each copy is one of its own.
output_of() { cat "$queue/$1/output"; }

variables() {
  export FLUX_JOB_ID=f$1
  FLUX_JOB_CC=$(cat "$queue/$1/cc")
  export FLUX_JOB_CC
  cd "$(cat "$queue/$1/cwd")" || exit
}

submit() {
  local option value range="" name="" cwd="" output="" state=waiting first last cc id
  while [ $# -gt 0 ]; do
    option=${1%%=*} value=${1#*=}
    case "$option" in
      --cc) range=$value ;;
      --job-name) name=$value ;;
      --cwd) cwd=$value ;;
      --output) output=$value ;;
      -n1 | -c[1-9]* | -g[1-9]* | --setattr | --queue) ;;
      -t) [[ $2 =~ ^[0-9]+s$ ]] || refuse "flux-submit: ERROR: invalid Flux standard duration" && shift ;;
      --dependency)
        [[ $value = afterany:f* ]] && is_open "${value#*:f}" || refuse "flux-submit: ERROR: [Errno 22] $value: job not found"
        after="${after-} ${value#*:f}"
        ;;
      --urgency) [ "$value" = hold ] && state=held ;;
      -*) refuse "flux-submit: ERROR: unrecognized arguments: $1" 2 ;;
      *) break ;;
    esac
    shift
  done
  [[ $range =~ ^([0-9]+)-([0-9]+)$ ]] || refuse "flux-submit: ERROR: --cc: $range"
  first=${BASH_REMATCH[1]} last=${BASH_REMATCH[2]}
  [[ $name == *.{cc} ]] && [ -d "$cwd" ] && [ -d "${output%/*}" ] || refuse "flux-submit: ERROR: $name $cwd $output"
  [ $# = 2 ] && [ "$1" = bash ] && [ -f "$2" ] || refuse "flux-submit: ERROR: job command: $*"
  local was_closed=1
  [ -e "$queue/closed" ] || { was_closed=0 && touch "$queue/closed"; }
  for ((cc = last; cc >= first; cc--)); do
    id=$(enqueue "${name/\{cc\}/$cc}" "$2" 0 0 "$state" "${output/\{cc\}/$cc}")
    echo "$cc" >"$queue/$id/cc"
    echo "$cwd" >"$queue/$id/cwd"
    [ "$was_closed" = 1 ] || { rm "$queue/closed" && begin_all "$id" && touch "$queue/closed"; }
    echo "f$id"
  done
  [ "$was_closed" = 1 ] || rm "$queue/closed"
}

list() {
  [ "$*" = "-a --json -c 0" ] || refuse "flux-jobs: ERROR: $*"
  local id comma="" state result code urgency why
  printf '{"jobs": ['
  for id in $(jobs_); do
    result="" code=null urgency=16 why=""
    case "$(get "$id" 0 state)" in
      waiting) state=SCHED ;;
      held) state=SCHED urgency=0 ;;
      running) state=RUN ;;
      ended)
        state=INACTIVE code=$(get "$id" 0 status) result=FAILED
        [ "$code" = 0 ] && result=COMPLETED
        ;;
    esac
    case "$(get "$id" 0 how)" in
      deleted) why=cancel && [ $state = INACTIVE ] && result=CANCELED code=143 ;;
      over) why=timeout && [ $state = INACTIVE ] && result=TIMEOUT code=142 ;;
    esac
    printf '%s{"id": "f%s", "name": "%s", "state": "%s", "result": "%s", "returncode": %s, "urgency": %s, ' \
      "$comma" "$id" "$(name_of "$id")" "$state" "$result" "${code:-null}" "$urgency"
    if [ -n "$why" ]; then
      printf '"exception": {"occurred": true, "type": "%s"}}' "$why"
    else
      printf '"exception": {"occurred": false}}'
    fi
    comma=", "
  done
  printf ']}\n'
}

cancel() {
  local text status=0
  for text in "$@"; do
    if [ "$(get "${text#f}" 0 state)" = ended ] || [ ! -d "$queue/${text#f}" ]; then
      echo "flux-cancel: ERROR: $text: job is inactive" >&2
      status=1
    else
      end "${text#f}" 0 deleted
    fi
  done
  return $status
}

command_flux() {
  local verb=$1
  shift
  case "$verb" in
    submit) submit "$@" ;;
    jobs) list "$@" ;;
    cancel) cancel "$@" ;;
    job)
      [ "$1" = urgency ] && [ $# = 3 ] || refuse "flux-job: ERROR: $*"
      case "$3 $(get "${2#f}" 0 state)" in
        "hold waiting") put "${2#f}" 0 state held ;;
        "default held")
          put "${2#f}" 0 state waiting
          [ -e "$queue/closed" ] || begin "${2#f}" 0
          ;;
        *) refuse "flux-job: ERROR: cannot set urgency of $2 to $3" ;;
      esac
      ;;
    *) refuse "flux: $verb: no such command" ;;
  esac
}

main "$@"
