# The queue of a fake scheduler: a directory of batch jobs, each with a directory per element. An
# element is `waiting`, `held`, `running` or `ended`, and `how` tells whether it was ended by
# `deleted` or `over` (time). While there is a file `closed`, nothing begins.
set -u
here=$(cd "$(dirname "$0")" && pwd)
queue=$here/../queue
mkdir -p "$queue"

refuse() {
  echo "$1" >&2
  exit "${2:-1}"
}

# enqueue NAME SCRIPT FIRST LAST STATE OUTPUT [array]: prints the number of the batch job, which
# waits for those in `after`.
enqueue() {
  exec 9>"$queue/lock" && flock 9
  local id element
  id=$(($(cat "$queue/last" 2>/dev/null || echo 0) + 1))
  echo "$id" >"$queue/last"
  mkdir "$queue/$id"
  echo "$1" >"$queue/$id/name"
  cp "$2" "$queue/$id/script"
  echo "$6" >"$queue/$id/output"
  [ -z "${7-}" ] || touch "$queue/$id/array"
  echo "${after-}" >"$queue/$id/after"
  for ((element = $3; element <= $4; element++)); do
    mkdir "$queue/$id/$element"
    echo "$5" >"$queue/$id/$element/state"
  done
  exec 9>&-
  [ -e "$queue/closed" ] || begin_all "$id"
  echo "$id"
}

begin_all() {
  local element
  for element in $(elements "$1"); do
    [ "$(get "$1" "$element" state)" = waiting ] && begin "$1" "$element"
  done
}

elements() { (cd "$queue/$1" 2>/dev/null && ls -d [0-9]* 2>/dev/null | sort -n); }
jobs_() { (cd "$queue" && ls -d [0-9]* 2>/dev/null | sort -n); }
get() { cat "$queue/$1/$2/$3" 2>/dev/null; }
# put ID ELEMENT FILE TEXT: whole, or not at all.
put() { echo "$4" >"$queue/$1/$2/$3.new" && mv "$queue/$1/$2/$3.new" "$queue/$1/$2/$3"; }
name_of() { cat "$queue/$1/name"; }

# is_open ID or ID/ELEMENT: whether it has not ended.
is_open() {
  local state
  for state in "$queue/${1%/*}/"*/state; do
    [[ $1 != */* || $state = "$queue/$1/state" ]] && [ "$(cat "$state")" != ended ] && return
  done
  return 1
}

# It begins when all that it waits for has ended.
begin() {
  [ -n "$(cat "$queue/$1/after")" ] || put "$1" "$2" state running
  setsid "$0" --element "$1" "$2" </dev/null >/dev/null 2>&1 &
  echo $! >"$queue/$1/$2/pid"
}

# stop HOW PID: the leader of its group and session.
stop() { kill -TERM -- "-$2" 2>/dev/null; }

# Kills all of a session but its leader.
kill_all() {
  local pid
  for pid in $(ps -o pid= --sid "$1"); do
    [ "$pid" = "$1" ] || kill -KILL "$pid" 2>/dev/null
  done
  return 0
}

# end ID ELEMENT HOW
end() {
  local state
  state=$(get "$1" "$2" state)
  [ "$state" = ended ] && return
  put "$1" "$2" how "$3"
  if [ "$state" = running ]; then
    stop "$3" "$(get "$1" "$2" pid)" || true
  else
    put "$1" "$2" state ended
  fi
}

# An element runs until its script has ended, whatever signal it is sent.
run_element() {
  trap : TERM
  local before
  for before in $(cat "$queue/$1/after"); do
    while is_open "$before"; do sleep 0.05; done
  done
  [ "$(get "$1" "$2" state)" != ended ] || return
  put "$1" "$2" state running
  local output status
  output=$(output_of "$1" "$2")
  (
    trap - TERM
    variables "$1" "$2"
    exec /bin/bash "$queue/$1/script" </dev/null >"$output" 2>&1
  ) &
  while :; do
    wait $!
    status=$?
    kill -0 $! 2>/dev/null || break
  done
  put "$1" "$2" status "$status"
  put "$1" "$2" state ended
}

# Directives `#PREFIX OPTION VALUE` of a script, one a line.
directives() { sed -n "s/^#$1 //p" "$2"; }

main() {
  local command=${0##*/}
  command=${command#real-}
  case "$command ${1-}" in
    *" --element") run_element "$2" "$3" ;;
    "fake-open "*)
      rm -f "$queue/closed"
      local id
      for id in $(jobs_); do begin_all "$id"; done
      return 0
      ;;
    "fake-over "*) end "$1" "$2" over ;;
    *) "command_$command" "$@" ;;
  esac
}
