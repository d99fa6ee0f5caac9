# LSF: its arrays count from 1.
output_of() {
  local output
  output=$(cat "$queue/$1/output")
  echo "${output//%I/$2}"
}

variables() { export LSB_JOBID=$1 LSB_JOBINDEX=$2 LSB_JOBNAME="$(name_of "$1")[$2]" && cd "$(cat "$queue/$1/cwd")" || exit; }

# An element that has had its time is killed without a warning, so that only its end tells why.
stop() { [ "$1" = over ] && kill_all "$2" || kill -TERM -- "-$2" 2>/dev/null; }

command_bsub() {
  [ $# = 4 ] && [ "$1" = -cwd ] && [ "$3" = -o ] || refuse "bsub: $*" 255
  [ -d "$2" ] && [ -d "${4%/*}" ] || refuse "Bad directory. Job not submitted." 255
  local script option value name="" last="" state=waiting before
  script=$(mktemp "$queue/script.XXXXXX")
  cat >"$script"
  while read -r option value; do
    value=${value#\"} value=${value%\"}
    case "$option" in
      -J)
        [[ $value =~ ^([A-Za-z0-9._-]+)\[1-([0-9]+)\](%[0-9]+)?$ ]] || refuse "$value: Bad job name. Job not submitted." 255
        name=${BASH_REMATCH[1]} last=${BASH_REMATCH[2]}
        ;;
      -n) [[ $value =~ ^[0-9]+$ ]] || refuse "Bad argument for option -n. Job not submitted." 255 ;;
      -R) [[ $value =~ ^span\[(hosts=1|block=[0-9]+)\]$ ]] || refuse "Bad resource requirement syntax. Job not submitted." 255 ;;
      -M) [[ $value =~ ^[0-9]+MB$ ]] || refuse "Bad argument for option -M. Job not submitted." 255 ;;
      -W) [[ $value =~ ^[0-9]+:[0-5][0-9]$ ]] || refuse "Bad argument for option -W. Job not submitted." 255 ;;
      -rn | -P | -q | -gpu) ;;
      -w)
        [[ $value =~ ^ended\([0-9]+\)(\ \&\&\ ended\([0-9]+\))*$ ]] || refuse "Bad dependency condition. Job not submitted." 255
        after=$(tr -c '0-9' ' ' <<<"$value")
        for before in $after; do [ -d "$queue/$before" ] || refuse "$before: No matching job found. Job not submitted." 255; done
        ;;
      -H) state=held ;;
      *) refuse "Bad option $option. Job not submitted." 255 ;;
    esac
  done < <(directives BSUB "$script")
  [ -n "$name" ] || refuse "Job not submitted: no name" 255
  local was_closed=1 id
  [ -e "$queue/closed" ] || { was_closed=0 && touch "$queue/closed"; }
  id=$(enqueue "$name" "$script" 1 "$last" "$state" "$4")
  rm "$script"
  echo "$2" >"$queue/$id/cwd"
  [ "$was_closed" = 1 ] || { rm "$queue/closed" && begin_all "$id"; }
  echo "Job <$id> is submitted to queue <normal>."
}

command_bjobs() {
  [ "$1 $2 $3" = "-a -noheader -o" ] || refuse "bjobs: $*" 255
  [ "$4" = "jobid jobindex stat exit_code exit_reason job_name delimiter='|'" ] || refuse "bjobs: $4" 255
  shift 4
  local id element status=0 state how code reason
  [ $# -gt 0 ] || set -- $(jobs_)
  [ $# -gt 0 ] || refuse "No job found" 255
  for id in "$@"; do
    [ -d "$queue/$id" ] || { echo "Job <$id> is not found" >&2 && status=255 && continue; }
    for element in $(elements "$id"); do
      how=$(get "$id" "$element" how) code=- reason=-
      case "$(get "$id" "$element" state)" in
        waiting) state=PEND ;;
        held) state=PSUSP ;;
        running) state=RUN ;;
        ended)
          state=EXIT code=$(get "$id" "$element" status)
          case "$how" in
            deleted) reason="TERM_OWNER: job killed by owner" code=${code:-130} ;;
            over) reason="TERM_RUNLIMIT: job killed after reaching LSF run time limit" code=140 ;;
            *) [ "$code" != 0 ] || { state=DONE code=-; } ;;
          esac
          ;;
      esac
      echo "$id|$element|$state|$code|$reason|$(name_of "$id")[$element]"
    done
  done
  return $status
}

each() { # COMMAND ID...
  local verb=$1 text id element status=0
  shift
  for text in "$@"; do
    id=${text%%\[*} element=${text#*\[} element=${element%\]}
    if [ ! -d "$queue/$id/$element" ]; then
      echo "Job <$text>: No matching job found" >&2
      status=255
    elif [ "$(get "$id" "$element" state)" = ended ]; then
      echo "Job <$text>: Job has already finished" >&2
      status=255
    else
      "do_$verb" "$id" "$element"
      echo "Job <$text> is being changed"
    fi
  done
  return $status
}
do_bkill() { end "$1" "$2" deleted; }
do_bstop() { [ "$(get "$1" "$2" state)" = waiting ] && put "$1" "$2" state held || refuse "a running one is stopped"; }
do_bresume() {
  [ "$(get "$1" "$2" state)" = held ] || refuse "it is not held"
  put "$1" "$2" state waiting
  [ -e "$queue/closed" ] || begin "$1" "$2"
}
command_bkill() { each bkill "$@"; }
command_bstop() { each bstop "$@"; }
command_bresume() { each bresume "$@"; }
command_bparams() { echo "    MAX_JOB_ARRAY_SIZE = 1000"; }

main "$@"
