//! `docs/semantics.md`, promise by promise.

use crate::support::env::{Env, write_job};
use crate::support::mounted::{
    Bound, can_mount, daemon_pid, kill, links, mount, quietly, wait_until_plain,
};
use crate::support::tree::{load, serve, walk_view};
use crate::support::wait_until;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use sweepfs::mount::Lifetime;

const PAGE: &str = include_str!("../../docs/semantics.md");

/// Asserts that the page makes a promise in these words.
#[track_caller]
fn promise(text: &str) {
    let promises = PAGE.lines().filter_map(|line| line.strip_prefix("* "));
    assert!(
        promises.into_iter().any(|promise| promise == text),
        "not promised: {text}"
    );
}

#[test]
fn every_promise_has_a_test() {
    let tests = include_str!("semantics.rs")
        .replace("\\\"", "\"")
        .replace("\\\\", "\\");
    let unproven: Vec<_> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("* "))
        .filter(|text| !tests.contains(text))
        .collect();
    assert!(unproven.is_empty(), "{unproven:#?}");
}

/// The paths of `view` for some state points.
fn paths(statepoints: &[&str]) -> Vec<String> {
    let env = Env::new();
    let root = env.project("p");
    for statepoint in statepoints {
        write_job(&root, statepoint);
    }
    let mut paths: Vec<_> = walk_view(&serve(load(&root).snapshot()))
        .into_keys()
        .collect();
    paths.sort();
    paths
}

/// A mounted project with the jobs `a` = 1 and 2.
fn mounted() -> Option<(Env, PathBuf, PathBuf)> {
    if !can_mount() {
        return None;
    }
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "a=1,2"]).success();
    let views = mount(&env, &root);
    Some((env, root, views))
}

#[test]
fn paths_are_those_of_signac() {
    promise(
        "The path of a job is `key/value/key/value/…/job` over the parameters that are not the same in all jobs: those with the fewest distinct values first, then by name. For every project that `signac view` accepts, the paths are the same, but for the odd values listed in [Beside signac](signac.md).",
    );
    let jobs = [
        r#"{"z": 0, "b": 0, "k": "const", "c": 0}"#,
        r#"{"z": 1, "b": 1, "k": "const", "c": 1}"#,
        r#"{"z": 2, "b": 0, "k": "const", "c": 0}"#,
    ];
    assert_eq!(
        paths(&jobs),
        ["b/0/c/0/z/0/job", "b/0/c/0/z/2/job", "b/1/c/1/z/1/job"]
    );
    // Against signac itself: `signac::mounted_views_equal_those_of_signac`.
}

#[test]
fn nested_and_missing_parameters() {
    promise(
        "Nested parameters have dotted names, `init.seed`; a parameter that a job lacks is skipped in its path.",
    );
    assert_eq!(
        paths(&[
            r#"{"init": {"seed": 1}}"#,
            r#"{"init": {"seed": 2}}"#,
            r#"{"b": 1}"#
        ]),
        ["b/1/job", "init.seed/1/job", "init.seed/2/job"]
    );
}

#[test]
fn links_lead_to_the_workspace() {
    promise(
        "`job` is a link to the job's directory in the workspace, by its absolute path. Data is read and written there, never through the mount.",
    );
    let Some((env, root, views)) = mounted() else {
        return;
    };
    let id = env.run(&root, &["find", "a=1"]).success().trim().to_owned();
    let link = views.join("view/a/1/job");
    assert_eq!(
        std::fs::read_link(&link).unwrap(),
        root.join("workspace").join(id)
    );
    std::fs::write(link.join("x"), "y").unwrap();
    assert_ne!(
        std::fs::metadata(&link).unwrap().dev(),
        std::fs::metadata(&views).unwrap().dev()
    );
}

#[test]
fn every_job_is_there_once() {
    promise(
        "Every sound job is in `view/` exactly once. Jobs that would share a path, because they differ only in empty objects, say, get a further level `id/<id>`.",
    );
    let shared = paths(&[r#"{"a": {}}"#, r#"{"a": {"b": {}}}"#, r#"{"c": 1}"#]);
    assert_eq!(shared.len(), 3);
    assert!(
        shared[1].starts_with("id/b64d96a034f7bf16") || shared[2].starts_with("id/"),
        "{shared:?}"
    );
}

#[test]
fn a_single_job() {
    promise("A single job needs no parameters to tell it from others: it is `view/job`.");
    assert_eq!(paths(&[r#"{"a": 1}"#]), ["job"]);
}

#[test]
fn names_of_values() {
    promise(
        "Values are named as Python's `str` names them: `0.1`, `1e-05`, `True`, `None`, `(1, 2)`; strings as they are.",
    );
    let jobs = ["0.1", "1e-5", "true", "null", "[1, 2]", "\"as it is\""]
        .map(|value| format!("{{\"a\": {value}}}"));
    let jobs: Vec<_> = jobs.iter().map(String::as_str).collect();
    assert_eq!(
        paths(&jobs),
        [
            "a/(1, 2)/job",
            "a/0.1/job",
            "a/1e-05/job",
            "a/None/job",
            "a/True/job",
            "a/as it is/job"
        ]
    );
    promise(
        "In names, `/` is `%2F`, NUL is `%00`, and a `%` before two hex digits is `%25`; so every name can be turned back into its value.",
    );
    assert_eq!(
        paths(&[
            r#"{"a": "x/y"}"#,
            r#"{"a": "\u0000"}"#,
            r#"{"a": "%2F"}"#,
            r#"{"a": "5%"}"#
        ]),
        ["a/%00/job", "a/%252F/job", "a/5%/job", "a/x%2Fy/job"]
    );
    promise(
        "A string that no file name can hold (empty, `.`, `..`, or with a lone surrogate) is shown in JSON quotes, and so is a string whose name another type has already: `\"1\"` beside `1`.",
    );
    assert_eq!(
        paths(&[
            r#"{"a": ""}"#,
            r#"{"a": "."}"#,
            r#"{"a": ".."}"#,
            r#"{"a": "\ud800"}"#,
            r#"{"a": "1"}"#,
            r#"{"a": 1}"#
        ]),
        [
            "a/\"\"/job",
            "a/\".\"/job",
            "a/\"..\"/job",
            "a/\"1\"/job",
            "a/\"\\ud800\"/job",
            "a/1/job"
        ]
    );
    promise(
        "A name longer than 255 bytes is cut and ends in `~` and 8 hex digits of the MD5 of the whole name.",
    );
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(300));
    assert_eq!(
        paths(&[&long, r#"{"a": 1}"#]),
        [
            "a/1/job".to_owned(),
            format!("a/{}~8a4876ea/job", "x".repeat(246))
        ]
    );
}

#[test]
fn names_of_parameters() {
    promise(
        "A parameter called `job` is shown as `sp.job`; and one called `id` as `sp.id` where there is a level `id/<id>`. Dots inside the name of a parameter are `%2E`.",
    );
    assert_eq!(
        paths(&[r#"{"job": 1}"#, r#"{"job": 2}"#]),
        ["sp.job/1/job", "sp.job/2/job"]
    );
    assert_eq!(
        paths(&[r#"{"id": 1}"#, r#"{"id": 2}"#]),
        ["id/1/job", "id/2/job"]
    );
    assert_eq!(
        paths(&[r#"{"id": 1}"#, r#"{"a": {}}"#, r#"{"b": {}}"#])
            .last()
            .map(String::as_str),
        Some("sp.id/1/job")
    );
    assert_eq!(
        paths(&[r#"{"a.b": 1}"#, r#"{"a.b": 2}"#]),
        ["a%2Eb/1/job", "a%2Eb/2/job"]
    );
}

#[test]
fn what_is_found_without_being_listed() {
    promise(
        "Another spelling of a value is found too, though not listed: `4.5e1` leads to `45.0`, `true` to `True`.",
    );
    promise(
        "In `id/`, the beginning of an id is found if it has at least 4 digits and no other job's id begins with it.",
    );
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "x=45.0,true"]).success();
    let views = mount(&env, &root);
    assert!(views.join("view/x/4.5e1/job").exists() && views.join("view/x/true/job").exists());
    assert_eq!(quietly("ls", &["view/x"], &views), "45.0\nTrue\n");
    let id = env
        .run(&root, &["find", "x=45.0"])
        .success()
        .trim()
        .to_owned();
    assert!(views.join("id").join(&id[..4]).exists() && !views.join("id").join(&id[..3]).exists());
    assert_eq!(links(&views.join("id")).len(), 2);
}

#[test]
fn changes_show() {
    promise(
        "A change made on this host shows within a second: a new job, a removed job, a parameter that begins to vary. On network file systems, a change made on another host shows after `--refresh` seconds, 5 by default.",
    );
    promise(
        "A job that is being created, or whose state point is damaged when it is first read, is not shown until its state point is whole.",
    );
    let Some((_env, root, views)) = mounted() else {
        return;
    };
    let dir = write_job(&root, r#"{"a": 1, "b": 2}"#);
    wait_until("the parameter", || views.join("view/b/2/a/1/job").exists());
    std::fs::remove_dir_all(dir).unwrap();
    wait_until("the old shape", || {
        views.join("view/a/1/job").exists() && !views.join("view/b").exists()
    });
    let half = write_job(&root, r#"{"a": 3}"#).join("signac_statepoint.json");
    wait_until("the job", || views.join("view/a/3/job").exists());
    std::fs::write(&half, "{\"a\"").unwrap();
    std::fs::rename(half.parent().unwrap(), root.join("moved")).unwrap();
    wait_until("its end", || !views.join("view/a/3").exists());
    std::fs::rename(root.join("moved"), half.parent().unwrap()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!views.join("view/a/3").exists());
    std::fs::write(&half, "{\"a\": 3}").unwrap();
    wait_until("the whole job", || views.join("view/a/3/job").exists());
}

#[test]
fn listings_are_of_one_moment() {
    promise(
        "A directory that is being read is listed as it was when the reading began: nothing is left out or listed twice because of a change.",
    );
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "a=0:99:1"]).success();
    let mut catalog = load(&root);
    let fs = serve(catalog.snapshot());
    let (view, _) = fs.lookup(sweepfs::mount::ROOT, b"view").unwrap();
    let (a, _) = fs.lookup(view.ino, b"a").unwrap();
    let (mut names, mut offset) = (Vec::new(), 0);
    for round in 0.. {
        let n_before = names.len();
        fs.list(a.ino, offset, false, |entry| {
            let full = names.len() == n_before + 7;
            if !full {
                names.push(String::from_utf8_lossy(entry.name).into_owned());
                offset = entry.next;
            }
            full
        })
        .unwrap();
        if names.len() == n_before {
            break;
        }
        // Change something, also what the listing stands at.
        write_job(&root, &format!("{{\"a\": {}}}", -1 - round));
        let last = names
            .last()
            .and_then(|name| name.parse::<i64>().ok())
            .unwrap_or(0);
        let _ = std::fs::remove_dir_all(write_job(&root, &format!("{{\"a\": {last}}}")));
        catalog.refresh(0).unwrap();
        fs.update(catalog.snapshot());
    }
    let expected: Vec<_> = [".", ".."]
        .map(str::to_owned)
        .into_iter()
        .chain((0..100).map(|n| n.to_string()))
        .collect();
    assert_eq!(names, expected);
}

#[test]
fn two_listings_of_one_directory_do_not_disturb_each_other() {
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "a=0:99:1"]).success();
    let mut catalog = load(&root);
    let fs = serve(catalog.snapshot());
    let (dir, _) = fs.lookup(sweepfs::mount::ROOT, b"id").unwrap();
    let page = |offset: u64, n: usize| {
        let mut entries = Vec::new();
        fs.list(dir.ino, offset, false, |entry| {
            let full = entries.len() == n;
            if !full {
                entries.push((
                    String::from_utf8_lossy(entry.name).into_owned(),
                    entry.next,
                    entry.lifetime,
                ));
            }
            full
        })
        .unwrap();
        entries
    };
    let first = page(0, 22);
    let (last, offset, lifetime) = first.last().unwrap().clone();
    assert_eq!(lifetime, Lifetime::UntilChanged);
    std::fs::remove_dir_all(root.join("workspace").join(&last)).unwrap();
    catalog.refresh(0).unwrap();
    fs.update(catalog.snapshot());
    assert_eq!(page(0, 1000).len(), 101, "another reader sees the present");
    let rest = page(offset, 1000);
    assert_eq!(
        first.len() + rest.len(),
        102,
        "the first one sees what was, to the end"
    );
    assert!(
        rest.iter()
            .all(|(_, _, lifetime)| *lifetime == Lifetime::Over),
        "and the kernel keeps none of it"
    );
}

#[test]
fn inodes_and_times() {
    promise(
        "An inode number belongs to a path: it is the same after a change and after mounting again.",
    );
    promise(
        "A directory's time is that of the newest job below it, and a job's time is when its state point was written; neither is ever the present.",
    );
    let Some((env, root, views)) = mounted() else {
        return;
    };
    let stat = |path: &str| std::fs::symlink_metadata(views.join(path)).unwrap();
    let before = stat("view/a/1/job");
    write_job(&root, r#"{"a": 0}"#);
    wait_until("a change", || views.join("view/a/0/job").exists());
    assert_eq!(stat("view/a/1/job").ino(), before.ino());
    env.run(&root, &["unmount"]).success();
    mount(&env, &root);
    assert_eq!(stat("view/a/1/job").ino(), before.ino());
    assert_eq!(
        stat("view/a/1/job").modified().unwrap(),
        before.modified().unwrap()
    );
    let written = |path: &str| {
        std::fs::metadata(views.join(path).join("signac_statepoint.json"))
            .unwrap()
            .modified()
            .unwrap()
    };
    assert_eq!(
        stat("view/a/1").modified().unwrap(),
        written("view/a/1/job")
    );
    assert_eq!(stat("view/a").modified().unwrap(), written("view/a/0/job"));
}

#[test]
fn limits() {
    promise("The tree is read-only: an attempt to change it fails with \"Read-only file system\".");
    promise(
        "Only the user who mounted can look at it, unless it was mounted with `--allow-other`.",
    );
    promise("Without `--xattr` there are no extended attributes. A mount exists on one host only.");
    promise(
        "When the process that serves a mount is killed, the mountpoint becomes an ordinary empty folder within moments.",
    );
    let Some((env, root, views)) = mounted() else {
        return;
    };
    for refused in [
        std::fs::write(views.join("x"), ""),
        std::fs::remove_file(views.join("view/a/1/job")),
        std::fs::remove_dir(views.join("view/a")),
    ] {
        assert_eq!(
            refused.unwrap_err().kind(),
            std::io::ErrorKind::ReadOnlyFilesystem
        );
    }
    assert_eq!(quietly("getfattr", &["-d", "view/a"], &views), "");
    let look = |dir: &std::path::Path| {
        std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--clear-groups", "ls"])
            .arg(dir)
            .output()
            .unwrap()
    };
    assert!(!look(&views).status.success());
    std::fs::set_permissions(
        env.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    assert!(String::from_utf8_lossy(&look(&views).stderr).contains("Permission denied"));
    let open = env.path().join("open");
    env.run(&root, &["mount", "--allow-other", open.to_str().unwrap()])
        .success();
    assert_eq!(
        String::from_utf8_lossy(&look(&open).stdout),
        "by\nid\nlabel\nstatus\nview\n"
    );
    kill(daemon_pid(&env, &views), "KILL");
    wait_until_plain(&views);
}

/// A mounted project of three parameters, two labels and a recorded state.
fn mounted_rich(args: &[&str]) -> Option<(Env, PathBuf, PathBuf)> {
    if !can_mount() {
        return None;
    }
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "a=1,2", "b=x,y", "c=0.5,1.5"])
        .success();
    write_job(&root, r#"{"a": 9}"#);
    let id = env
        .run(&root, &["find", "a=1", "b=x", "c=0.5"])
        .success()
        .trim()
        .to_owned();
    env.run(&root, &["document", &id, "far=true", "n=7"])
        .success();
    let dir = root.join("workspace").join(&id);
    std::fs::write(
        dir.join("sweepfs_flow.json"),
        r#"{"version": 1, "operations": {"fly": {"state": "failed"}}}"#,
    )
    .unwrap();
    std::fs::create_dir(dir.join("sub")).unwrap();
    std::fs::write(dir.join("sub/data"), "0123456789").unwrap();
    std::os::unix::fs::symlink("sub/data", dir.join("link")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.join("out")).unwrap();
    std::fs::write(
        root.join("sweepfs.toml"),
        "[label]\nfar = \"doc.far\"\n[view.flat]\npath = \"{job.id:.8}\"\n[view.bad]\npath = \"x\"\n",
    )
    .unwrap();
    let args: Vec<_> = ["mount"].iter().chain(args).copied().collect();
    env.run(&root, &args).success();
    let views = root.join("views");
    Some((env, root, views))
}

fn listed(views: &std::path::Path, path: &str) -> String {
    quietly("ls", &["-U", path], views).replace('\n', " ")
}

fn count(views: &std::path::Path, path: &str) -> usize {
    links(&views.join(path)).len()
}

#[test]
fn any_parameter_may_be_first() {
    promise(
        "A folder of `by/` lists the parameters, not yet named by its path, that are not the same in all jobs below it; a parameter's folder lists its values.",
    );
    promise(
        "In `by/`, `job` leads to the one job that has none of the parameters that are listed; several such jobs are told apart by `id/<id>`.",
    );
    promise(
        "`by/` is listed last, and `--no-by` leaves it out: it has a path for every order of the parameters.",
    );
    let Some((env, root, views)) = mounted_rich(&[]) else {
        return;
    };
    assert_eq!(listed(&views, "by"), "a b c ");
    assert_eq!(listed(&views, "by/c"), "0.5 1.5 ");
    assert_eq!(listed(&views, "by/c/0.5/b/y"), "a ");
    assert_eq!(listed(&views, "by/c/0.5/b/y/a/2"), "job ");
    assert_eq!(listed(&views, "by/a/9"), "job ");
    assert_eq!(count(&views, "by"), 8 * 6 + 1);
    assert!(listed(&views, ".").ends_with(" by "));
    env.run(&root, &["unmount"]).success();
    env.run(&root, &["mount", "--no-by"]).success();
    assert!(!listed(&views, ".").contains("by") && !views.join("by").exists());
    write_job(&root, r#"{"a": {}}"#);
    write_job(&root, r#"{"a": {"b": {}}}"#);
    env.run(&root, &["unmount"]).success();
    env.run(&root, &["mount", "--tree", "by"]).success();
    assert_eq!(listed(&views, "."), "id a b c ");
    assert_eq!(count(&views, "id"), 2);
}

#[test]
fn filters_are_components() {
    promise(
        "In `view`, `by`, `status`, `label` and named views, a name that is no entry, has an operator in it and is a [filter](filters.md) leads to the same folder without the jobs that do not satisfy it: `view/angle>=45/velocity`.",
    );
    promise(
        "A filter changes no path: what is below it has the same names as without it. Several filters must all hold, in any order and at any level.",
    );
    promise(
        "A filter that no job satisfies is an empty folder; what is no filter is no such file. Filters are never listed.",
    );
    promise("Names in filters may be escaped as values are: `%2F` is a slash.");
    let Some((_env, root, views)) = mounted_rich(&[]) else {
        return;
    };
    assert_eq!(count(&views, "view/a>=2"), 5);
    assert_eq!(count(&views, "view/a>=2/b=x"), 2);
    assert_eq!(
        links(&views.join("view/b=x/a>=2")),
        links(&views.join("view/a>=2/b=x"))
    );
    let below = links(&views.join("view/a=1,2"));
    let all = links(&views.join("view"));
    assert!(below.iter().all(|(path, id)| all.get(path) == Some(id)) && below.len() == 8);
    assert_eq!(count(&views, "view/doc.n>5"), 1);
    assert_eq!(count(&views, "status/a=1/fly/failed/b=x"), 1);
    assert_eq!(count(&views, "label/far/c<1"), 1);
    assert_eq!(count(&views, "flat/a=9"), 1);
    assert_eq!(listed(&views, "by/a=1/b"), "x y ");
    assert_eq!(listed(&views, "view/a>1000"), "");
    assert!(!views.join("view/a>>1").exists() && !views.join("id/a=1").exists());
    write_job(&root, r#"{"a": 3, "b": "u/v"}"#);
    wait_until("the job", || count(&views, "view/b=\"u%2Fv\"") == 1);
}

#[test]
fn labels_and_states() {
    promise(
        "`label/` has a folder for every label of `sweepfs.toml`, and `status/` one for every operation and state that a job is in; below them are the jobs by their default path.",
    );
    promise(
        "What depends on documents, labels or states is looked at again when it is asked for, if it is older than 0.3 seconds; so a change shows within a second.",
    );
    promise(
        "A link to a job below `by`, `status`, `label` or a filter has the inode number of `id/<id>`.",
    );
    let Some((env, root, views)) = mounted_rich(&[]) else {
        return;
    };
    assert_eq!(
        (listed(&views, "status"), listed(&views, "status/fly")),
        ("fly ".into(), "failed ".into())
    );
    let (path, id) = links(&views.join("status/fly/failed")).pop_first().unwrap();
    assert_eq!(links(&views.join("view")).get(&path), Some(&id));
    let inode = |path: &str| std::fs::symlink_metadata(views.join(path)).unwrap().ino();
    assert_eq!(
        inode(&format!("label/far/{path}")),
        inode(&format!("id/{id}"))
    );
    let other = env.run(&root, &["find", "a=9"]).success().trim().to_owned();
    env.run(&root, &["document", &other, "far=1"]).success();
    wait_until("a label", || count(&views, "label/far") == 2);
    env.run(&root, &["document", &other, "-d", "far"]);
    std::fs::remove_file(root.join("workspace").join(&id).join("sweepfs_flow.json")).unwrap();
    wait_until("no state", || listed(&views, "status").is_empty());
}

#[test]
fn states_follow_conditions() {
    promise(
        "The states are those of `sweepfs status`: conditions decide, and executions where these leave it open. A file that appears or vanishes moves its job within a second. A job is in the state of the aggregate that it belongs to.",
    );
    promise(
        "An operation that was executed but is not in `sweepfs.toml` is shown as the `sweepfs_flow.json` files tell.",
    );
    let Some((env, root, views)) = mounted() else {
        return;
    };
    let config = "
        [[operation]]
        name = \"make\"
        command = \"true\"
        post = 'file(\"out/*.csv\")'
        [[operation]]
        name = \"join\"
        command = \"true\"
        pre = 'after(\"make\")'
        aggregate = { all = true }
    ";
    std::fs::write(root.join("sweepfs.toml"), config).unwrap();
    wait_until("the operations", || {
        listed(&views, "status") == "make join " || listed(&views, "status") == "join make "
    });
    // What has just been listed may be gone.
    let ls = |dir: &str| {
        let entries = std::fs::read_dir(views.join("status").join(dir))
            .into_iter()
            .flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<Vec<_>>()
    };
    let states = |operation: &str| {
        let states = ls(operation).into_iter().map(|state| {
            let jobs = ls(&format!("{operation}/{state}/a"));
            format!("{state}: {} ", jobs.join(" "))
        });
        states.collect::<String>()
    };
    assert_eq!(states("make"), "eligible: 1 2 ");
    assert_eq!(states("join"), "waiting: 1 2 ");
    let job = views.join("view/a/1/job");
    std::fs::create_dir(job.join("out")).unwrap();
    let move_it = |_| {
        std::fs::write(job.join("out/x.csv"), "").unwrap();
        let there = wait_until("the first", || {
            states("make") == "eligible: 2 completed: 1 "
        });
        std::fs::remove_file(job.join("out/x.csv")).unwrap();
        let back = wait_until("its loss", || states("make") == "eligible: 1 2 ");
        there.max(back)
    };
    // A machine may be busy with something else for a second, but not always.
    let took = (0..5).map(move_it).min().unwrap();
    assert!(took.as_secs_f64() < 1.0, "{took:?}");
    std::fs::write(job.join("out/x.csv"), "").unwrap();
    std::fs::create_dir(views.join("view/a/2/job/out")).unwrap();
    std::fs::write(views.join("view/a/2/job/out/y.csv"), "").unwrap();
    wait_until("both", || states("join") == "eligible: 1 2 ");
    let counted = env.run(&root, &["status", "--json"]).success().to_owned();
    assert!(
        counted.contains("\"eligible\": 1, \"failed\": 0"),
        "{counted}"
    );
    std::fs::write(
        job.join("sweepfs_flow.json"),
        r#"{"version": 1, "operations": {"make": {"state": "failed"}, "old": {"state": "failed"}}}"#,
    )
    .unwrap();
    wait_until("what is defined no more", || states("old") == "failed: 1 ");
    assert_eq!(states("make"), "completed: 1 2 ");
}

#[test]
fn files_about_jobs() {
    promise(
        "Every folder above jobs has files that are never listed: `.jobs`, the ids of the jobs below it; `.count`, their number; `.table.tsv` and `.table.csv`, what `sweepfs table` prints of them; `.schema`, what `sweepfs schema` prints.",
    );
    promise("Their sizes are true, and an open file stays as it was.");
    let Some((env, root, views)) = mounted_rich(&[]) else {
        return;
    };
    let read = |path: &str| std::fs::read_to_string(views.join(path)).unwrap();
    let printed = |args: &[&str]| env.run(&root, args).success().to_owned();
    for dir in [".", "view", "id", "by/a/1/.."] {
        assert_eq!(read(&format!("{dir}/.count")), "9\n");
        assert_eq!(read(&format!("{dir}/.jobs")), printed(&["find"]));
    }
    assert_eq!(read("view/a=1/.jobs"), printed(&["find", "a=1"]));
    assert_eq!(read("by/a/1/.schema"), printed(&["schema", "-f", "a=1"]));
    for format in ["tsv", "csv"] {
        let table = printed(&["table", "--format", format]);
        let path = views.join(format!("view/.table.{format}"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), table);
        assert_eq!(path.metadata().unwrap().len(), table.len() as u64);
    }
    assert!(!quietly("ls", &["-A", "view"], &views).contains(".jobs"));
    let open = std::fs::File::open(views.join("view/.count")).unwrap();
    write_job(&root, r#"{"a": 10}"#);
    wait_until("another count", || read("view/.count") == "10\n");
    assert_eq!(std::io::read_to_string(open).unwrap(), "9\n");
}

#[test]
fn ends_of_paths() {
    promise(
        "With `--leaf collapsed`, the last folder of a path is itself the link, where it would hold nothing but `job`.",
    );
    promise(
        "With `--leaf dir`, `job` is a folder with what is in the job's, read-only: files can be read and mapped, links inside are links, and nothing outside of the job's folder can be reached.",
    );
    promise("`--tree NAME` shows one of the trees in place of all.");
    promise(
        "With `--xattr`, folders below which there is one job have the extended attributes `user.sweepfs.id`, `user.sweepfs.sp.KEY`, `user.sweepfs.doc.KEY` and `user.sweepfs.status.OPERATION`.",
    );
    let Some((env, root, views)) = mounted_rich(&["--leaf", "dir", "--tree", "flat", "--xattr"])
    else {
        return;
    };
    assert_eq!(listed(&views, ".").split(' ').count(), 10);
    let id = env
        .run(&root, &["find", "a=1", "b=x", "c=0.5"])
        .success()
        .trim()
        .to_owned();
    let job = views.join(&id[..8]).join("job");
    assert_eq!(
        quietly("ls", &["-A"], &job),
        quietly("ls", &["-A"], &root.join("workspace").join(&id))
    );
    assert_eq!(
        std::fs::read_to_string(job.join("link")).unwrap(),
        "0123456789"
    );
    assert_eq!(
        std::fs::read_link(job.join("out")).unwrap(),
        std::path::Path::new("/etc/passwd")
    );
    assert!(std::fs::write(job.join("sub/data"), "").is_err());
    let mapped = "import mmap,sys; f=open(sys.argv[1],'rb'); print(mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ)[:3])";
    assert_eq!(
        quietly("python3", &["-c", mapped, "sub/data"], &job),
        "b'012'\n"
    );
    let attributes = quietly("getfattr", &["-d", &id[..8]], &views);
    for expected in [
        format!("user.sweepfs.id=\"{id}\""),
        "user.sweepfs.sp.b=\"x\"".into(),
        "user.sweepfs.doc.n=\"7\"".into(),
        "user.sweepfs.status.fly=\"failed\"".into(),
    ] {
        assert!(attributes.contains(&expected), "{attributes}");
    }
    env.run(&root, &["unmount"]).success();
    env.run(&root, &["mount", "--leaf", "collapsed"]).success();
    let paths = links(&views.join("view"));
    assert!(paths.len() == 9 && paths.keys().all(|path| !path.ends_with("job")));
}

#[test]
fn settings_are_read_again() {
    promise(
        "A named view that cannot be shown is a folder with a file `ERROR` that says why; `sweepfs.toml` may be edited while its project is mounted.",
    );
    let Some((_env, root, views)) = mounted_rich(&[]) else {
        return;
    };
    let reason = std::fs::read_to_string(views.join("bad/ERROR")).unwrap();
    assert!(reason.contains("{job.id}"), "{reason}");
    std::fs::write(root.join("sweepfs.toml"), "[view.other]\nwhere = \"a=9\"\n").unwrap();
    wait_until("the view", || views.join("other/job").exists());
    assert!(!views.join("bad").exists() && !views.join("flat").exists());
    std::fs::write(root.join("sweepfs.toml"), "[view.other").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(views.join("other/job").exists(), "what was good stays");
}

/// A project of the jobs `a` = 1, 2, 3 with `b` = `x`, and `a` = 1 with `b` = `y/z`; each job's
/// document has ten times its `a`. Mounted with some options.
fn swept(config: &str, options: &[&str]) -> Option<(Env, PathBuf, PathBuf)> {
    if !can_mount() {
        return None;
    }
    let env = Env::new();
    let root = env.project("p");
    for (a, b) in [(1, "x"), (2, "x"), (3, "x"), (1, "y/z")] {
        let dir = write_job(&root, &format!("{{\"a\": {a}, \"b\": \"{b}\"}}"));
        let document = format!("{{\"d\": {}}}", a * 10);
        std::fs::write(dir.join("signac_job_document.json"), document).unwrap();
    }
    std::fs::write(root.join("sweepfs.toml"), config).unwrap();
    env.run(&root, &[&["mount"], options].concat()).success();
    let views = root.join("views");
    Some((env, root, views))
}

/// Lists a folder in the order of its listing, with spaces between names.
#[track_caller]
fn ls(dir: &std::path::Path) -> String {
    quietly("ls", &["-U", dir.to_str().unwrap()], dir)
        .trim()
        .replace('\n', " ")
}

/// Reads a file.
#[track_caller]
fn read(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn any_order() {
    promise(
        "A parameter that the path has not named is found in `by/` though it no longer tells jobs apart and is not listed.",
    );
    let Some((_env, root, views)) = swept("", &[]) else {
        return;
    };
    let by = views.join("by");
    assert_eq!(ls(&by), "a b");
    assert_eq!(ls(&by.join("a/1")), "b");
    assert_eq!(ls(&by.join("a/2")), "job");
    assert_eq!(ls(&by.join("b/x/a")), "1 2 3");
    assert!(by.join("a/2/b/x/job").exists() && !by.join("a/2/b/y%2Fz").exists());
    assert_eq!(links(&by).len(), 4 + 4);
    assert!(ls(&views).ends_with(" by"));
    write_job(&root, r#"{}"#);
    wait_until("a job without parameters", || ls(&by) == "job a b");
    let other = write_job(&root, r#"{"c": {}}"#);
    wait_until("another one", || ls(&by) == "id a b");
    let id = other.file_name().unwrap();
    assert_eq!(
        std::fs::read_link(by.join("id").join(id).join("job")).unwrap(),
        other
    );
}

#[test]
fn filters_narrow() {
    promise("In `by/`, what lies below a filter is listed by what tells the remaining jobs apart.");
    let config = "[view.mine]\npath = \"{a}-{b}\"\n[label]\nfar = \"doc.d>=20\"";
    let Some((_env, _root, views)) = swept(config, &[]) else {
        return;
    };
    let listed = |path: &str| ls(&views.join(path));
    assert_eq!(listed("view/a>=2/b/x/a"), "2 3");
    assert_eq!(listed("view/b/x/a>=2/a"), "2 3");
    assert_eq!(listed("by/a>=2/a"), "2 3");
    assert_eq!(listed("by/a>=2"), "a");
    assert_eq!(listed("mine/a>=2"), "2-x 3-x");
    assert_eq!(listed("label/a=3/far/b/x/a"), "3");
    assert_eq!(listed("label/far/a=3/b/x/a"), "3");
    assert_eq!(listed("view/a=3/b/x/a/3"), "job");
    let all = |path: &str| links(&views.join(path));
    assert_eq!(all("view/a>=2/doc.d<30").len(), 1);
    assert_eq!(all("view/a>=2/doc.d<30"), all("view/doc.d<30/a>=2"));
    assert_eq!(listed("view/a>1000"), "");
    assert_eq!(read(views.join("view/a>1000/.count")), "0\n");
    assert_eq!(listed("view/b=y%2Fz/b/y%2Fz/a"), "1");
    assert_eq!(listed("view/b"), "x y%2Fz");
}

#[test]
fn entries_are_found_before_filters() {
    promise("An entry is found before a filter: a value called `a=1` is that value.");
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let root = env.project("p");
    write_job(&root, r#"{"k": "a=1"}"#);
    write_job(&root, r#"{"k": "v", "a": 1}"#);
    let views = mount(&env, &root);
    assert_eq!(ls(&views.join("view/k/a=1")), "job");
    assert_eq!(ls(&views.join("view/a=1")), "a");
    for name in ["a", "exists(a)", "a>>1", "=", "a=1 and"] {
        let looked = std::fs::metadata(views.join("view/k").join(name));
        let error = looked.expect_err(name);
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{name}");
    }
}

#[test]
fn labels_and_states_follow() {
    promise(
        "A label that no job has is an empty folder; an operation or state that no job has is none.",
    );
    let config =
        "[view.mine]\npath = \"{job.doc.d}-{b}\"\n[label]\nfar = \"doc.d>=20\"\nnone = \"a>9\"";
    let Some((_env, _root, views)) = swept(config, &[]) else {
        return;
    };
    let listed = |path: &str| ls(&views.join(path));
    assert_eq!(listed("label"), "far none");
    assert_eq!(listed("label/none"), "");
    assert_eq!(listed("label/far/b/x/a"), "2 3");
    assert_eq!(listed("status"), "");
    let job = views.join("view/b/x/a/1/job");
    let flow = |state: &str| {
        let text = format!(r#"{{"version": 1, "operations": {{"run": {{"state": "{state}"}}}}}}"#);
        std::fs::write(job.join("sweepfs_flow.json"), text).unwrap();
    };
    flow("failed");
    let soon = |what: &str, condition: &dyn Fn() -> bool| {
        let took = wait_until(what, condition);
        assert!(took < std::time::Duration::from_secs(1), "{what}: {took:?}");
    };
    soon("a state", &|| listed("status") == "run");
    assert_eq!(listed("status/run"), "failed");
    assert_eq!(listed("status/run/failed/b/x/a"), "1");
    flow("completed");
    soon("another", &|| listed("status/run") == "completed");
    assert_eq!(listed("view/doc.d>=20/b/x/a"), "2 3");
    std::fs::write(job.join("signac_job_document.json"), r#"{"d": 40}"#).unwrap();
    soon("a filter", &|| listed("view/doc.d>=20/b/x/a") == "1 2 3");
    soon("a label", &|| listed("label/far/b/x/a") == "1 2 3");
    soon("a named view", &|| listed("mine").contains("40-x"));
}

#[test]
fn settings_show_soon() {
    promise("An edited `sweepfs.toml` shows within a second.");
    let config = "[view.bad]\npath = \"{a}\"\n[view.good]\npath = \"{a}-{b}\"";
    let Some((_env, root, views)) = swept(config, &[]) else {
        return;
    };
    assert_eq!(ls(&views.join("bad")), "ERROR");
    let reason = read(views.join("bad/ERROR"));
    assert!(
        reason.starts_with("the path `1` is made for 2 jobs: "),
        "{reason}"
    );
    assert_eq!(ls(&views.join("good")), "1-x 1-y%2Fz 2-x 3-x");
    std::fs::write(
        root.join("sweepfs.toml"),
        "[view.new]\npath = \"n/{b}/{a}\"",
    )
    .unwrap();
    let took = wait_until("the new view", || views.join("new/n/x/1/job").exists());
    assert!(took < std::time::Duration::from_secs(1), "{took:?}");
    assert_eq!(ls(&views), "view new status label id by");
}

#[test]
fn files_about_jobs_are_of_the_moment() {
    promise("What they say is at most 0.3 seconds old when they are opened.");
    let Some((env, root, views)) = swept("", &[]) else {
        return;
    };
    let view = views.join("view");
    assert_eq!(
        read(view.join("b/x/.jobs")),
        env.run(&root, &["find", "b=x"]).success()
    );
    assert_eq!(read(views.join(".count")), "4\n");
    assert_eq!(
        read(view.join(".table.tsv")).lines().next().unwrap(),
        "id\ta\tb\tdoc.d"
    );
    assert_eq!(read(view.join(".table.csv")).lines().count(), 5);
    assert_eq!(
        read(view.join("b/x/.schema")),
        env.run(&root, &["schema", "-f", "b=x"]).success()
    );
    for name in [".jobs", ".count", ".table.tsv", ".table.csv", ".schema"] {
        for dir in [
            "",
            "view",
            "view/b",
            "view/b/x/a/1",
            "by/a/1",
            "view/a>1",
            "id",
        ] {
            let path = views.join(dir).join(name);
            let size = std::fs::metadata(&path).unwrap().len();
            assert_eq!(size, read(path).len() as u64, "{dir}/{name}");
        }
    }
    assert!(!quietly("ls", &["-a", "view"], &views).contains(".jobs"));
    let mut open = std::fs::File::open(view.join(".table.tsv")).unwrap();
    let before = read(view.join(".table.tsv"));
    let document = view.join("b/x/a/1/job/signac_job_document.json");
    std::fs::write(document, r#"{"d": 123456, "e": 1}"#).unwrap();
    std::thread::sleep(sweepfs::mount::MOMENT + std::time::Duration::from_millis(50));
    let after = read(view.join(".table.tsv"));
    assert!(after.contains("123456"), "{after}");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut open, &mut text).unwrap();
    assert_eq!(text, before);
}

#[test]
fn folders_of_jobs() {
    promise(
        "Such a folder shows a change in the job's folder within a second. Devices are left out of it. `id/` has links in any case.",
    );
    let Some((env, root, views)) = swept("", &["--leaf", "collapsed"]) else {
        return;
    };
    let real = std::fs::read_link(views.join("view/b/x/a/2")).unwrap();
    assert_eq!(std::fs::read_link(views.join("by/a/2")).unwrap(), real);
    env.run(&root, &["unmount"]).success();
    env.run(&root, &["mount", "--leaf", "dir"]).success();
    let job = views.join("view/b/x/a/2/job");
    assert_eq!(ls(&job), "signac_job_document.json signac_statepoint.json");
    assert!(std::fs::read_link(&job).is_err());
    let refused = std::fs::write(job.join("x"), "").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    std::fs::write(real.join("result"), "1").unwrap();
    let soon = |what: &str, condition: &dyn Fn() -> bool| {
        let took = wait_until(what, condition);
        assert!(took < std::time::Duration::from_secs(1), "{what}: {took:?}");
    };
    soon("a file", &|| ls(&job).starts_with("result "));
    std::fs::write(real.join("result"), "longer").unwrap();
    soon("its text", &|| read(job.join("result")) == "longer");
    // A folder that becomes a link is not followed to what is outside.
    std::fs::create_dir(real.join("sub")).unwrap();
    std::fs::write(real.join("sub/secret"), "inside").unwrap();
    soon("a folder", &|| job.join("sub/secret").exists());
    let inside = std::fs::File::open(job.join("sub")).unwrap();
    std::fs::create_dir(root.join("outside")).unwrap();
    std::fs::write(root.join("outside/secret"), "outside").unwrap();
    std::fs::rename(real.join("sub"), root.join("gone")).unwrap();
    std::os::unix::fs::symlink(root.join("outside"), real.join("sub")).unwrap();
    soon("the link", &|| std::fs::read_link(job.join("sub")).is_ok());
    use std::os::fd::AsRawFd;
    let through = format!("/proc/self/fd/{}/secret", inside.as_raw_fd());
    assert!(std::fs::read_to_string(through).is_err());
    let made = std::process::Command::new("mknod")
        .arg(real.join("null"))
        .args(["c", "1", "3"])
        .output();
    if made.unwrap().status.success() {
        std::thread::sleep(sweepfs::mount::MOMENT * 2);
        assert!(!ls(&job).contains("null") && !job.join("null").exists());
    }
    assert_eq!(links(&views.join("id")).len(), 4);
}

#[test]
fn a_server_that_does_not_answer_holds_nobody_up() {
    promise(
        "Where the project is on a network file system whose server does not answer, a request that needs it fails with \"Input/output error\" after 30 seconds. Trees, `id/` and `by/` are shown from memory all the same.",
    );
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let real = env.project("real");
    env.run(&real, &["create", "a=1,2", "b=1,2"]).success();
    let (root, views) = (env.path().join("p"), env.path().join("views"));
    std::fs::create_dir(&root).unwrap();
    let Some(server) = Bound::new(&real, &root, &[]) else {
        return;
    };
    let args = ["mount", views.to_str().unwrap(), "--leaf", "dir"];
    env.run(&root, &args).success();
    let of_job = views.join("view/a/1/b/1/job/signac_statepoint.json");
    let text = read(of_job.clone());
    server.signal("STOP");
    let begun = std::time::Instant::now();
    // More than there are threads, and workers.
    let readers: Vec<_> = (0..20)
        .map(|i| views.join(format!("view/a/2/b/1/job/none{i}")))
        .map(|path| std::thread::spawn(move || std::fs::read(path).unwrap_err()))
        .collect();
    std::thread::sleep(std::time::Duration::from_secs(1));
    for _ in 0..3 {
        assert_eq!(ls(&views.join("view/a/1/b")), "1 2");
        assert_eq!(ls(&views.join("id")).split(" ").count(), 4);
        assert_eq!(ls(&views.join("by/b/2/a")), "1 2");
        assert!(!views.join("by/b/3").exists());
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    for reader in readers {
        assert_eq!(reader.join().unwrap().raw_os_error(), Some(5), "EIO");
    }
    let took = begun.elapsed().as_secs();
    assert!((30..60).contains(&took), "{took} s");
    server.signal("CONT");
    wait_until("an answer", || {
        std::fs::read_to_string(&of_job).is_ok_and(|read| read == text)
    });
    server.signal("STOP");
    env.run(&env.home(), &["unmount", "--all"]).success();
    assert!(!views.exists());
}
