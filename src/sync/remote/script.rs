//! What is run on the other machine: scripts for any `sh`, with the tools of GNU.
//!
//! All begin in the project's directory there, `$1`. What they answer is texts that end in NUL.

/// How `find` tells of an entry, after what it is: size, time, permissions, device, name, link text.
macro_rules! facts {
    () => {
        r"\0%s\0%T@\0%m\0%D\0%P\0%l\0"
    };
}

/// The name of a job's directory.
macro_rules! id {
    () => {
        "[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]\
[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]\
[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]\
[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]"
    };
}

/// Finds the project. Answers `ok`, its physical path, where its trash is (on the file system of
/// the jobs, so that moving there never copies), and what a `sweepfs` there says of its protocol. Or
/// the word for what is missing.
pub(super) const PROBE: &str = r#"cd -- "$1" 2>/dev/null || { printf 'directory\0'; exit 0; }
[ -f .signac/config ] || { printf 'project\0'; exit 0; }
case $(find --version 2>/dev/null) in *GNU*) ;; *) printf 'find\0'; exit 0 ;; esac
case $(stat --version 2>/dev/null) in *GNU*) ;; *) printf 'find\0'; exit 0 ;; esac
root=$(pwd -P && printf x)
root=${root%??}
trash=$root/.sweepfs/trash
if [ -d workspace ] && [ "$(stat -c %d .)" != "$(stat -L -c %d workspace)" ]; then
  trash=$root/workspace/.sweepfs-trash
fi
served=$(timeout 20 sweepfs sync-serve protocol </dev/null 2>/dev/null)
printf 'ok\0%s\0%s\0%s\0' "$root" "$trash" "$served"
"#;

/// Says what is there: the version of `rsync`, that of `sweepfs`, whether the jobs can be changed,
/// and how many there are.
pub(super) const FACTS: &str = concat!(
    r#"cd -- "$1" || exit
"$2" --version 2>/dev/null | { read -r line; printf '%s\0' "$line"; }
sweepfs --version 2>/dev/null | { read -r line; printf '%s\0' "$line"; }
[ -d workspace ] && dir=workspace || dir=.
[ -w "$dir" ] && printf 'yes\0' || printf 'no\0'
find -H workspace -mindepth 1 -maxdepth 1 -type d -name '"#,
    id!(),
    r#"' -printf x 2>/dev/null | wc -c | tr -d ' \n'
printf '\0'
"#
);

/// Makes a project where there is none.
pub(super) const CREATE: &str = r#"mkdir -p -- "$1/.signac" && cd -- "$1" || exit
[ -f .signac/config ] || echo 'schema_version = 2' >.signac/config
"#;

/// Lists the project. The last record says how `find` ended.
pub(super) const LIST: &str = concat!(
    r#"cd -- "$1" || exit
find ./signac_project_document.json -maxdepth 0 -type f -printf 'P"#,
    facts!(),
    r#"'
[ -d workspace ] || { printf 'E\0%s\0\0\0\0\0\0' 0; exit 0; }
find -H workspace -maxdepth 0 -printf 'W"#,
    facts!(),
    r#"'
find -H workspace -xdev -mindepth 1 \( -path 'workspace/*/*' -o -name '"#,
    id!(),
    r#"' -o -prune -false \) \( -type d \( ! -readable -o ! -executable \) -printf '!"#,
    facts!(),
    r#"' -o -printf '%y"#,
    facts!(),
    r#"' \)
printf 'E\0%s\0\0\0\0\0\0' $?
"#
);

/// Has the `sweepfs` there list the project.
pub(super) const LIST_SERVED: &str = r#"cd -- "$1" && exec sweepfs sync-serve list </dev/null
"#;

/// Says what is at each of the names on the standard input, or below it; nothing if there is nothing.
pub(super) const EXAMINE: &str = concat!(
    r#"cd -- "$1" || exit
depth=$2
export depth
xargs -0 -r sh -c 'exec find "$@" -maxdepth "$depth" -printf "%y"#,
    r"\\0%s\\0%T@\\0%m\\0%D\\0%p\\0%l\\0",
    r#""' sh 2>/dev/null
:
"#
);

/// Says what time it is, and of each file on the standard input its inode, size, times and name.
pub(super) const STAMPS: &str = r#"cd -- "$1" || exit
date +'%s.%N' | tr '\n' '\0'
xargs -0 -r sh -c 'exec find "$@" -maxdepth 0 -type f -printf "%i\\0%s\\0%T@\\0%C@\\0%p\\0"' sh 2>/dev/null
:
"#;

/// Prints the MD5 of each of the names on the standard input, and the name, in lines. Meanwhile empty
/// lines tell that it is still at work: a large file takes long.
pub(super) const DIGESTS: &str = r#"cd -- "$1" || exit
while sleep 30 </dev/null >/dev/null 2>&1 && echo; do :; done &
beat=$!
xargs -0 -r md5sum -- 2>/dev/null
kill "$beat" 2>/dev/null
:
"#;

/// What the scripts that change something share.
pub(super) const PRELUDE: &str = r#"cd -- "$1" || exit
trash=$2
answer() { printf '%s\0%s\0' "$1" "$2"; }
# No link is on the way to a file.
is_plain() {
  p=$1
  while q=$p; p=${p%/*}; [ "$p" != "$q" ] && [ "$p" != workspace ]; do
    [ ! -L "$p" ] || return 1
  done
}
state() {
  if [ -L "$1" ]; then printf 'l '; readlink -n -- "$1"; printf x
  elif [ -f "$1" ]; then stat -c 'f %s %.9Y' -- "$1"
  elif [ -d "$1" ]; then printf d
  elif [ -e "$1" ]; then printf o
  else printf -- -
  fi
}
now() { stat -c 'ok %s %.9Y %a' -- "$1"; }
# Waits for a lock, if there is one and flock(1) is there.
lock() {
  if [ -n "$1" ] && [ -w "${1%/*}" ] && { [ ! -e "$1" ] || [ -w "$1" ]; }; then
    exec 9>>"$1"
    flock 9 2>/dev/null
  fi
}
# Finds a free name in the trash.
bin() {
  to=$trash/$1
  [ -d "${to%/*}" ] || mkdir -p -- "${to%/*}" || return
  i=1
  while [ -e "$to" ] || [ -L "$to" ]; do i=$((i + 1)); to=$trash/$1~$i; done
}
"#;

/// Brings files back from the trash of an earlier run: of each on the standard input its number, name, what
/// must be there, what was there, its permissions, the name of that run, and its lock.
pub(super) const RESTORE: &str = r#"
is_there() { [ -e "$1" ] || [ -L "$1" ]; }
restore() {
  if ! is_plain "$2"; then answer "$1" changed; return; fi
  if [ "$4" = d ]; then
    if [ -d "$2" ] && [ ! -L "$2" ]; then answer "$1" done
    elif why=$(mkdir -- "$2" 2>&1 && chmod "$5" -- "$2" 2>&1); then answer "$1" done
    else answer "$1" "error ${why##*: }"
    fi
    return
  fi
  lock "$7"
  kept=${trash%/*}/$6/$2
  i=1
  while is_there "$kept" && [ "$(state "$kept")" != "$4" ]; do i=$((i + 1)); kept=${trash%/*}/$6/$2~$i; done
  if [ "$(state "$2")" != "$3" ]; then answer "$1" changed
  elif [ "$3" = "$4" ]; then
    if why=$(chmod "$5" -- "$2" 2>&1); then answer "$1" done; else answer "$1" "error ${why##*: }"; fi
  elif ! is_there "$kept"; then answer "$1" 'error it is no longer in the trash'
  elif [ "$3" = - ]; then
    if ! why=$(mv -n -T -- "$kept" "$2" 2>&1); then answer "$1" "error ${why##*: }"
    elif is_there "$kept"; then answer "$1" changed
    else answer "$1" done
    fi
  elif why=$({ bin "$2" && { ln -- "$2" "$to" 2>/dev/null || cp -P -p -- "$2" "$to"; } &&
    mv -f -T -- "$kept" "$2"; } 2>&1); then answer "$1" done
  else answer "$1" "error ${why##*: }"
  fi
  exec 9>&-
}
[ ! -w . ] || mkdir -p .sweepfs/locks
while [ $# -gt 0 ]; do restore "$1" "$2" "$3" "$4" "$5" "$6" "$7"; shift 7; done
"#;

/// Brings whole jobs back from the trash of an earlier run: of each on the standard input its number, its
/// lock, its name, and the name of that run.
pub(super) const RESTORE_JOBS: &str = r#"
restore() {
  lock "$2"
  kept=${trash%/*}/$4/$3
  i=1
  # Files of it may be in the trash, too.
  while [ -e "$kept" ] && ! [ -f "$kept/signac_statepoint.json" ]; do i=$((i + 1)); kept=${trash%/*}/$4/$3~$i; done
  if [ -e "$3" ] || [ -L "$3" ]; then answer "$1" 'error it is there again'
  elif [ ! -e "$kept" ]; then answer "$1" 'error it is no longer in the trash'
  elif ! why=$(mv -n -T -- "$kept" "$3" 2>&1); then answer "$1" "error ${why##*: }"
  elif [ -e "$kept" ]; then answer "$1" changed
  else answer "$1" done
  fi
  exec 9>&-
}
[ ! -w . ] || mkdir -p .sweepfs/locks
while [ $# -gt 0 ]; do restore "$1" "$2" "$3" "$4"; shift 4; done
"#;

/// Writes one file whose content comes by the standard input: its number, name, size, time, what
/// must be in its place, its lock, a temporary name.
pub(super) const WRITE: &str = r#"
lose() { rm -f -- "$temporary"; answer "$1" "$2"; }
w() {
  file=$2 temporary=$7
  if ! is_plain "$file" || ! [ -d "${file%"${file##*/}"}." ]; then
    head -c "$3" >/dev/null
    answer "$1" changed
    return
  fi
  why=$(head -c "$3" 2>&1 >"$temporary") || { lose "$1" "error ${why##*: }"; exit 0; }
  [ "$(stat -c %s -- "$temporary")" = "$3" ] || { rm -f -- "$temporary"; exit 0; }
  [ -z "$4" ] || touch -d "@$4" -- "$temporary"
  lock "$6"
  if [ "$(state "$file")" != "$5" ]; then
    lose "$1" changed
  elif [ "$5" = - ]; then
    mv -n -T -- "$temporary" "$file"
    if [ -e "$temporary" ]; then lose "$1" changed; else answer "$1" "$(now "$file")"; fi
  else
    chmod --reference="$file" -- "$temporary"
    if why=$({ bin "$file" && { ln -- "$file" "$to" 2>/dev/null || cp -p -- "$file" "$to"; } &&
      mv -f -T -- "$temporary" "$file"; } 2>&1); then
      answer "$1" "$(now "$file")"
    else
      lose "$1" "error ${why##*: }"
    fi
  fi
  exec 9>&-
}
[ ! -w . ] || mkdir -p .sweepfs/locks
"#;

/// Moves files to the trash: of each on the standard input its number, name, and what must be there.
pub(super) const REMOVE: &str = r#"
remove() {
  if ! is_plain "$2"; then answer "$1" changed
  elif [ "$3" = d ]; then
    if [ -L "$2" ]; then answer "$1" changed
    elif rmdir -- "$2" 2>/dev/null || [ ! -e "$2" ]; then answer "$1" gone
    else answer "$1" "left $(stat -c %a -- "$2")"
    fi
  elif [ "$(state "$2")" != "$3" ]; then answer "$1" changed
  elif why=$(bin "$2" && mv -n -T -- "$2" "$to" 2>&1); then answer "$1" gone
  else answer "$1" "error ${why##*: }"
  fi
}
while [ $# -gt 0 ]; do remove "$1" "$2" "$3"; shift 3; done
"#;

/// Gives files another name: of each on the standard input its number, name, what must be there, and
/// the new name.
pub(super) const RENAME: &str = r#"
rename() {
  if ! is_plain "$2" || ! is_plain "$4" || [ "$(state "$2")" != "$3" ]; then answer "$1" changed
  elif [ -e "$4" ] || [ -L "$4" ]; then answer "$1" 'error the new name is taken'
  elif ! why=$(mv -n -T -- "$2" "$4" 2>&1); then answer "$1" "error ${why##*: }"
  elif [ -e "$2" ] || [ -L "$2" ]; then answer "$1" 'error the new name is taken'
  else answer "$1" "$(now "$4")"
  fi
}
while [ $# -gt 0 ]; do rename "$1" "$2" "$3" "$4"; shift 4; done
"#;

/// Runs a script with all that comes by the standard input as arguments, after the two that it has
/// itself, so many at a time that those of one item stay together.
pub(super) const WITH_ITEMS: &str = r#"xargs -0 -r -n "$3" sh -c "$4" sh "$1" "$2"
"#;

/// Moves whole jobs to the trash: of each on the standard input its number, its lock, its name, and
/// what a list of it says.
pub(super) const REMOVE_JOBS: &str = r#"
h='[0-9a-fA-F]'
q=$h$h$h$h
temporary="._$q$q-$q-$q-$q-$q$q${q}_*"
all() {
  find "$1" -xdev -mindepth 1 \( -name "$temporary" -prune \) -o -type f -printf 'f %s %T@ %P\0' \
    -o -type l -printf 'l %P//%l\0' -o -printf '%y %P\0' | sort -z | md5sum
}
is_same() { list=$(all "$1") && [ "${list%% *}" = "$2" ]; }
move() {
  if [ -L "$2" ] || ! is_same "$2" "$3"; then answer "$1" changed
  elif ! bin "$2"; then answer "$1" 'error the trash cannot be made'
  elif ! why=$(mv -n -T -- "$2" "$to" 2>&1); then answer "$1" "error ${why##*: }"
  elif [ -e "$2" ]; then answer "$1" 'error it is still there'
  elif is_same "$to" "$3"; then answer "$1" gone
  else
    # Somebody has just written in it.
    mv -n -T -- "$to" "$2"
    if [ -e "$to" ]; then answer "$1" 'error it has changed meanwhile, and is in the trash now'
    else answer "$1" changed
    fi
  fi
}
remove() {
  lock "$2"
  if [ -e "$3" ] || [ -L "$3" ]; then move "$1" "$3" "$4"; else answer "$1" gone; fi
  exec 9>&-
}
[ ! -w . ] || mkdir -p .sweepfs/locks
while [ $# -gt 0 ]; do remove "$1" "$2" "$3" "$4"; shift 4; done
"#;

/// Gives files that have arrived their places: of each on the standard input its number, name, what must
/// be in its place, where it is, and its lock.
///
/// Most are done together: what is replaced gets its second name in the trash first, and is judged by
/// that; then each takes its place, if that is still the file which was kept. If anything is not as
/// it should be, each is done for itself.
pub(super) const INSTALL_FILES: &str = r#"
newline='
'
has_job() {
  job=${1#workspace/}
  is_plain "$1" && [ -d "workspace/${job%%/*}" ]
}
# Keeps all files in the trash, if they are what was listed.
keep() {
  n=$# listed=
  while [ "$n" -gt 0 ]; do
    case $3 in "f "*) ;; *) return 1 ;; esac
    has_job "$2" && [ -f "$2" ] && [ ! -L "$2" ] && [ ! -e "$trash/$2" ] && [ ! -L "$trash/$2" ] || return
    listed=$listed$newline$3
    set -- "$@" "$2"
    shift 5
    n=$((n - 5))
  done
  mkdir -p -- "$trash" && cp -l --parents -- "$@" "$trash" &&
    kept=$(cd -- "$trash" && stat -c 'f %s %.9Y' -- "$@") && [ "$newline$kept" = "$listed" ] && return
  (cd -- "$trash" && rm -f -- "$@")
  return 1
}
# Gives all files their second names, if those are free.
place() {
  n=$# arriving=${4#*/}
  arriving=${arriving%%/*}
  while [ "$n" -gt 0 ]; do
    [ "$3" = - ] && has_job "$2" && [ ! -e "$2" ] && [ ! -L "$2" ] || return
    set -- "$@" "${4#*/*/}"
    shift 5
    n=$((n - 5))
  done
  # Those that get none are looked at one by one.
  (cd "workspace/$arriving" && cp -l --parents -- "$@" ..) || :
}
# Takes their first names from those that have a second one.
unplace() {
  n=$# arriving=${4#*/}
  arriving=${arriving%%/*}
  while [ "$n" -gt 0 ]; do
    if [ "$4" -ef "$2" ]; then
      answer "$1" done
      set -- "$@" "$4"
    else
      install "$1" "$2" "$3" "$4" "$5"
    fi
    shift 5
    n=$((n - 5))
  done
  [ $# = 0 ] || rm -f -- "$@"
}
lock() {
  [ "$1" != "$locked" ] || return 0
  exec 9>&-
  locked=$1
  [ -n "$1" ] && [ -w "${1%/*}" ] && { [ ! -e "$1" ] || [ -w "$1" ]; } || return 0
  exec 9>>"$1"
  flock 9 2>/dev/null
}
replace() {
  lock "$5"
  if ! [ "$trash/$2" -ef "$2" ]; then answer "$1" changed
  elif why=$(mv -f -T -- "$4" "$2" 2>&1); then answer "$1" done
  else answer "$1" "error ${why##*: }"
  fi
}
install() {
  lock "$5"
  if ! has_job "$2"; then answer "$1" changed
  elif [ "$3" = - ]; then
    [ -d "${2%/*}" ] || mkdir -p -- "${2%/*}"
    if [ -e "$2" ] || [ -L "$2" ]; then answer "$1" taken
    elif ! why=$(mv -n -T -- "$4" "$2" 2>&1); then answer "$1" "error ${why##*: }"
    elif [ -e "$4" ]; then answer "$1" taken
    else answer "$1" done
    fi
  elif [ "$(state "$2")" != "$3" ]; then answer "$1" changed
  elif why=$({ bin "$2" && { ln -- "$2" "$to" 2>/dev/null || cp -p -- "$2" "$to"; } &&
    mv -f -T -- "$4" "$2"; } 2>&1); then answer "$1" done
  else answer "$1" "error ${why##*: }"
  fi
}
locked=
# Enough to be worth it.
if [ $# -gt 15 ] && [ "$3" = - ] && place "$@" 2>/dev/null; then
  unplace "$@"
elif [ $# -gt 15 ] && [ "$3" != - ] && keep "$@" 2>/dev/null; then
  while [ $# -gt 0 ]; do replace "$@"; shift 5; done
else
  while [ $# -gt 0 ]; do install "$@"; shift 5; done
fi
"#;

/// Makes the place where jobs and parts of files arrive.
pub(super) const PREPARE: &str = r#"cd -- "$1" && mkdir -p -- workspace "workspace/$2/tmp"
"#;

/// Takes the lock that only one sync of a project has, until the standard input ends. Without
/// flock(1), or where nothing may be written, there is none.
pub(super) const LOCK: &str = r#"cd -- "$1" || exit
mkdir -p .sweepfs/locks 2>/dev/null
file=.sweepfs/locks/sync
if ! command -v flock >/dev/null || ! [ -w .sweepfs/locks ] || { [ -e "$file" ] && ! [ -w "$file" ]; }; then
  echo free
else
  exec 9>>"$file"
  flock -n 9 || { echo "taken $(head -c 20 "$file")"; exit 0; }
  echo "$$" >"$file"
  echo free
fi
cat >/dev/null
"#;

/// Gives the jobs on the standard input their names, if those are free, and says which have them.
pub(super) const INSTALL: &str = r#"cd -- "$1/workspace/$2" || exit
xargs -0 -r sh -c 'mv -n -t .. -- "$@"; for id; do [ -e "$id" ] || printf "%s\0" "$id"; done' sh
"#;

/// Removes the files on the standard input, which a sync has left behind.
pub(super) const CLEAN: &str = r#"cd -- "$1" || exit
xargs -0 -r rm -f --
"#;

/// Removes what is on the standard input, and all below it.
pub(super) const REMOVE_EXTRA: &str = r#"cd -- "$1" || exit
xargs -0 -r rm -rf --
"#;

/// Prints the number that a sync has left.
pub(super) const STAMP: &str = r#"cd -- "$1" || exit
file=workspace/.sweepfs-synced-$2
[ ! -f "$file" ] || head -c 20 "$file"
"#;

/// Leaves a number for the next sync.
pub(super) const SET_STAMP: &str = r#"cd -- "$1" && mkdir -p workspace || exit
file=workspace/.sweepfs-synced-$2
echo "$3" >"$file.$$" && mv -f -T -- "$file.$$" "$file"
"#;

/// Removes the place where jobs arrive, and what was put into the trash long ago.
pub(super) const EXPIRE: &str = r#"cd -- "$1" || exit
rm -rf -- "workspace/$2"
[ ! -d "$3" ] || find "$3" -mindepth 1 -maxdepth 1 -ctime +30 -exec rm -rf --one-file-system -- {} +
"#;
