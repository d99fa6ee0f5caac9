# Somebody's own scheduler.
output_of() { echo "$(cat "$queue/$1/output")/$2.txt"; }
variables() { cd / && export ADHOC_ELEMENT=$2; }

# Whoever has had its time is killed without a warning.
stop() { [ "$1" = over ] && kill_all "$2" || kill -TERM -- "-$2" 2>/dev/null; }

put_() {
  [ $# = 2 ] && [ -f "$1" ] && [ -d "$2" ] || refuse "adhoc put: $*" 2
  local word value name="" first="" last="" state=waiting
  while read -r word value; do
    case "$word" in
      name) name=$value ;;
      elements) read -r first last <<<"$value" ;;
      hold) state=held ;;
      after) is_open "$value" && after="${after-} $value" || refuse "adhoc put: $value is over" ;;
      *) refuse "adhoc put: $word" 2 ;;
    esac
  done < <(directives ADHOC "$1")
  [ "$((last - first))" -lt 10 ] || refuse "adhoc put: too many elements"
  echo "job $(enqueue "$name" "$1" "$first" "$last" "$state" "$2") of me"
}

show() {
  [ $# = 0 ] || refuse "adhoc show: $*" 2
  echo "ID STATE NAME"
  local id element state
  for id in $(jobs_); do
    for element in $(elements "$id"); do
      state=$(get "$id" "$element" state)
      if [ "$state" = ended ]; then
        state=$(get "$id" "$element" how)
        [ -n "$state" ] || { [ "$(get "$id" "$element" status)" = 0 ] && state=completed || state=error; }
      fi
      echo "$id/$element $state $(name_of "$id")"
    done
  done
}

command_adhoc() {
  local verb=$1
  shift
  case "$verb" in
    put) put_ "$@" ;;
    show) show "$@" ;;
    *)
      local id=${1%/*} element=${1#*/}
      [ $# = 1 ] && [ -d "$queue/$id/$element" ] || refuse "adhoc $verb: $*" 2
      case "$verb $(get "$id" "$element" state)" in
        "drop ended") refuse "adhoc drop: it has ended" ;;
        "drop "*) end "$id" "$element" deleted ;;
        "stop waiting") put "$id" "$element" state held ;;
        "go held")
          put "$id" "$element" state waiting
          [ -e "$queue/closed" ] || begin "$id" "$element"
          ;;
        *) refuse "adhoc $verb: it cannot be done" ;;
      esac
      ;;
  esac
}

main "$@"
