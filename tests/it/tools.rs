//! Real mounts, walked by tools that nobody here wrote: finite, everything found, no complaints.

use crate::support::env::Env;
use crate::support::mounted::{can_mount, mount, quietly};
use crate::support::{skip, wait_until};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const N_JOBS: usize = 24;

/// `angle>=60`.
const N_FAR: usize = 9;

/// What is in each job's directory: five files and a link to a file.
const N_FILES: usize = 5;

/// The links of a whole mount that are called `job`: `view`, `figures`, `status`, `label`, and both
/// orders of the two parameters in `by`.
const N_LEAVES: usize = 5 * N_JOBS + N_FAR;

/// The links of a whole mount; `id` has one for each job.
const N_LINKS: usize = N_LEAVES + N_JOBS;

/// A mounted project.
struct Swept {
    env: Env,
    root: PathBuf,
    views: PathBuf,
}

/// A project with a small grid, results, states, a label and a named view.
fn project() -> Option<Swept> {
    if !can_mount() {
        return None;
    }
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "angle=10:80:10", "velocity=6,8,10"])
        .success();
    let config = "[view.figures]\npath = \"v={velocity}/{angle:03d}\"\n[label]\nfar = \"doc.distance>=60\"\n";
    std::fs::write(root.join("sweepfs.toml"), config).unwrap();
    for job in jobs(&root) {
        let statepoint = std::fs::read_to_string(job.join("signac_statepoint.json")).unwrap();
        let angle: usize = statepoint[10..12].parse().unwrap();
        let state = if angle > 40 { "failed" } else { "completed" };
        let flow = format!(r#"{{"version": 1, "operations": {{"run": {{"state": "{state}"}}}}}}"#);
        std::fs::write(job.join("sweepfs_flow.json"), flow).unwrap();
        let document = format!(r#"{{"distance": {angle}}}"#);
        std::fs::write(job.join("signac_job_document.json"), document).unwrap();
        std::fs::write(job.join("result.txt"), format!("needle {angle}\n")).unwrap();
        std::fs::create_dir(job.join("sub")).unwrap();
        let data: Vec<_> = (0..angle * 10_000).map(|i| (i % 251) as u8).collect();
        std::fs::write(job.join("sub/data"), data).unwrap();
        symlink("data", job.join("sub/latest")).unwrap();
    }
    let views = root.join("views");
    Some(Swept { env, root, views })
}

/// A project of that kind, mounted.
fn mounted() -> Option<Swept> {
    let swept = project()?;
    mount(&swept.env, &swept.root);
    Some(swept)
}

/// A project of that kind, mounted with read-only copies of the jobs' folders.
fn mounted_as_dirs() -> Option<Swept> {
    let swept = project()?;
    let args = ["mount", "--leaf", "dir", "--xattr"];
    swept.env.run(&swept.root, &args).success();
    Some(swept)
}

/// The directories of all jobs.
fn jobs(root: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(root.join("workspace")).unwrap();
    let mut dirs: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    dirs.retain(|dir| dir.is_dir());
    assert_eq!(dirs.len(), N_JOBS);
    dirs
}

/// Tells whether a tool is there.
fn has(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(tool).is_file());
    if !found {
        skip(&format!("{tool} is not installed"));
    }
    found
}

/// Runs a line of shell, which must say nothing on standard error.
#[track_caller]
fn sh(line: &str, dir: &Path) -> String {
    quietly("bash", &["-c", &format!("set -o pipefail; {line}")], dir)
        .trim()
        .to_owned()
}

/// Runs a line of shell that prints a number.
#[track_caller]
fn count(line: &str, dir: &Path) -> usize {
    sh(line, dir).parse().unwrap()
}

#[test]
fn find_and_ls() {
    let Some(Swept {
        env: _env,
        root,
        views,
    }) = mounted()
    else {
        return;
    };
    assert_eq!(count("find . -type l | wc -l", &views), N_LINKS);
    assert_eq!(count("find . -name job | wc -l", &views), N_LEAVES);
    assert_eq!(
        count("find . -depth -type l | wc -l", &views),
        N_LINKS,
        "from below"
    );
    assert_eq!(
        count("find -L . -type f -name '*.txt' | wc -l", &views),
        N_LINKS
    );
    assert_eq!(
        count("find -L . -depth -type f | wc -l", &views),
        N_LINKS * (N_FILES + 1),
        "with the link inside"
    );
    assert_eq!(
        count("find -L . -xdev -type f | wc -l", &views),
        0,
        "jobs are on another file system"
    );
    assert_eq!(count("find . -xdev -type l | wc -l", &views), N_LINKS);
    sh("touch -d @1 old; touch -d 'now + 1 hour' new", &root);
    assert_eq!(
        count("find . -type l -newer ../old | wc -l", &views),
        N_LINKS
    );
    assert_eq!(count("find . -newer ../new | wc -l", &views), 0);
    assert_eq!(
        count("ls -lR . | grep -c -- '-> /'", &views),
        N_LINKS,
        "ls shows each link"
    );
    assert_eq!(
        count("ls -lRL by | grep -c ' result.txt$'", &views),
        2 * N_JOBS
    );
    assert_eq!(count("find by -type d | wc -l", &views), 73);
    assert_eq!(
        count("find 'by/angle>=60/velocity' -type l | wc -l", &views),
        N_FAR
    );
}

#[test]
fn sizes() {
    let Some(Swept {
        env: _env,
        root,
        views,
    }) = mounted()
    else {
        return;
    };
    let bytes = |line: &str, dir: &Path| -> usize {
        let text = sh(line, dir);
        text.split_whitespace().next().unwrap().parse().unwrap()
    };
    let real = bytes(
        "find workspace -name data -printf '%s\\n' | awk '{n += $1} END {print n}'",
        &root,
    );
    let through = bytes("du -sL --apparent-size -B1 .", &views);
    assert!(through >= real, "{through}, {real}");
    assert!(
        through < 2 * real,
        "du counts a file once: {through}, {real}"
    );
    assert!(bytes("du -s --apparent-size -B1 .", &views) < real);
    assert_eq!(
        sh("stat -f -c '%b %S' .", &views),
        sh("stat -f -c '%b %S' workspace", &root)
    );
    assert!(sh("df .", &views).ends_with(views.to_str().unwrap()));
}

#[test]
fn copying_what_links_lead_to() {
    let Some(Swept {
        env,
        views,
        root: _,
    }) = mounted()
    else {
        return;
    };
    let results = "| grep -c result.txt$";
    assert_eq!(
        count(&format!("tar ch . | tar t {results}"), &views),
        N_LINKS
    );
    let to = env.path().join("cp");
    sh(&format!("cp -rL . {}", to.display()), &views);
    assert_eq!(
        count("find . -type f | wc -l", &to),
        N_LINKS * (N_FILES + 1)
    );
    assert_eq!(count("find . -type l | wc -l", &to), 0);
    if !has("rsync") {
        return;
    }
    let to = env.path().join("rsync");
    sh(&format!("rsync -a ./ {}/", to.display()), &views);
    assert_eq!(count("find . -type l | wc -l", &to), N_LINKS);
    assert_eq!(
        sh(&format!("rsync -ai ./ {}/", to.display()), &views),
        "",
        "a second time there is nothing to do"
    );
    let to = env.path().join("rsync-l");
    sh(&format!("rsync -aL ./ {}/", to.display()), &views);
    assert_eq!(
        count("find . -type f | wc -l", &to),
        N_LINKS * (N_FILES + 1)
    );
}

#[test]
fn grep_and_globs() {
    let Some(Swept {
        env: _env, views, ..
    }) = mounted()
    else {
        return;
    };
    assert_eq!(
        count("grep -r needle . | wc -l || true", &views),
        0,
        "-r follows no links"
    );
    assert_eq!(count("grep -R needle . | wc -l", &views), N_LINKS);
    assert_eq!(
        count("shopt -s globstar; printf '%s\\n' **/job | wc -l", &views),
        N_LEAVES
    );
    assert_eq!(
        count(
            "cat view/velocity/*/angle/{10,20}/job/result.txt | wc -l",
            &views
        ),
        6
    );
    assert_eq!(
        count("compgen -G 'by/*/*/*/*/job' | wc -l", &views),
        2 * N_JOBS
    );
    assert_eq!(
        sh("compgen -f view/velocity/", &views),
        "view/velocity/6\nview/velocity/8\nview/velocity/10"
    );
    if has("zsh") {
        let zsh = |line: &str| {
            quietly("zsh", &["-f", "-c", line], &views)
                .trim()
                .to_owned()
        };
        assert_eq!(zsh("a=(**/job); echo $#a"), N_LEAVES.to_string());
        assert_eq!(zsh("a=(view/**/*(@)); echo $#a"), N_JOBS.to_string());
        assert_eq!(zsh("a=(***/result.txt); echo $#a"), N_LINKS.to_string());
    }
}

#[test]
fn git_in_a_repository_around_it() {
    let Some(Swept {
        env: _env, root, ..
    }) = mounted()
    else {
        return;
    };
    if !has("git") {
        return;
    }
    sh("git init -q .", &root);
    let status = sh("git status --porcelain", &root);
    assert!(status.lines().any(|line| line == "?? views/"), "{status}");
    assert_eq!(
        count(
            "git status --porcelain --untracked-files=all views | wc -l",
            &root
        ),
        N_LINKS
    );
    std::fs::write(root.join(".git/info/exclude"), "views\n").unwrap();
    assert!(!sh("git status --porcelain", &root).contains("views"));
}

#[test]
fn walks_of_languages() {
    let Some(Swept {
        env: _env, views, ..
    }) = mounted()
    else {
        return;
    };
    if has("python3") {
        let python = |lines: &str| {
            let text = quietly("python3", &["-c", lines], &views);
            text.trim().parse::<usize>().unwrap()
        };
        let walk = "import os\nprint(sum(d.count('job') for _, d, _ in os.walk('.')))";
        assert_eq!(python(walk), N_LEAVES);
        let walk = "import os\nprint(sum(f.count('result.txt') for _, _, f in os.walk('.', followlinks=True)))";
        assert_eq!(python(walk), N_LINKS);
        let glob = "import pathlib\nprint(len(list(pathlib.Path('.').glob('**/job'))))";
        assert_eq!(python(glob), N_LEAVES);
        let glob = "import glob\nprint(len(glob.glob('by/*/*/*/*/job/*.txt')))";
        assert_eq!(python(glob), 2 * N_JOBS);
    }
    if has("perl") {
        let find = "use File::Find; find(sub { $n++ if -l }, '.'); print $n";
        assert_eq!(quietly("perl", &["-e", find], &views), N_LINKS.to_string());
        let find = "use File::Find; find({follow_skip => 2, follow => 1, wanted => sub { $n++ if $_ eq 'result.txt' }}, '.'); print $n";
        assert_eq!(
            quietly("perl", &["-e", find], &views),
            N_JOBS.to_string(),
            "it visits a directory once"
        );
    }
}

#[test]
fn an_editor_writes_through_a_link() {
    let Some(Swept {
        env: _env, views, ..
    }) = mounted()
    else {
        return;
    };
    let Some(vim) = ["vim", "vim.tiny"].into_iter().find(|name| has(name)) else {
        return;
    };
    let file = "view/velocity/8/angle/40/job/result.txt";
    let edit = [
        "-u",
        "NONE",
        "-n",
        "-es",
        "-c",
        "s/$/ found/",
        "-c",
        "wq",
        file,
    ];
    quietly(vim, &edit, &views);
    assert_eq!(
        std::fs::read_to_string(views.join(file)).unwrap(),
        "needle 40 found\n"
    );
}

#[test]
fn folders_in_place_of_links() {
    let Some(Swept {
        env,
        views,
        root: _,
    }) = mounted_as_dirs()
    else {
        return;
    };
    let n_files = |n_leaves: usize| n_leaves * N_FILES;
    assert_eq!(count("find . -name job -type d | wc -l", &views), N_LEAVES);
    assert_eq!(
        count("find view by -type f | wc -l", &views),
        n_files(3 * N_JOBS)
    );
    assert_eq!(count("grep -r needle view by | wc -l", &views), 3 * N_JOBS);
    let cmp = "for i in view/velocity/*/angle/*/job; do \
        id=$(cat $i/../.jobs); \
        for f in signac_statepoint.json signac_job_document.json result.txt sub/data; do \
        cmp $i/$f ../workspace/$id/$f && echo; done; done | wc -l";
    assert_eq!(count(cmp, &views), 4 * N_JOBS);
    let to = env.path().join("tar");
    std::fs::create_dir(&to).unwrap();
    sh(
        &format!("tar c view by | tar x -C {}", to.display()),
        &views,
    );
    assert_eq!(count("find . -type f | wc -l", &to), n_files(3 * N_JOBS));
    assert_eq!(count("find . -type l | wc -l", &to), 3 * N_JOBS);
    let diff = |to: &Path| {
        let line = format!("diff -r --no-dereference view {0}/view", to.display());
        assert_eq!(sh(&line, &views), "");
    };
    diff(&to);
    let to = env.path().join("cp");
    std::fs::create_dir(&to).unwrap();
    sh(&format!("cp -a view by {}", to.display()), &views);
    diff(&to);
    if has("rsync") {
        let to = env.path().join("rsync");
        sh(
            &format!("rsync -a view by status label {}/", to.display()),
            &views,
        );
        diff(&to);
        assert_eq!(
            count("find . -type f | wc -l", &to),
            n_files(4 * N_JOBS + N_FAR)
        );
        assert_eq!(
            sh(&format!("rsync -ai view by {}/", to.display()), &views),
            "",
            "a second time there is nothing to do"
        );
    }
    assert_eq!(
        count("tar c id | tar tv | grep -c ' -> /'", &views),
        N_JOBS,
        "links in any case"
    );
    // Else only root could remove the copies.
    sh(
        "chmod -R u+w tar cp; if test -d rsync; then chmod -R u+w rsync; fi",
        &env.path(),
    );
}

#[test]
fn reading_in_every_way() {
    let Some(Swept {
        env: _env, views, ..
    }) = mounted_as_dirs()
    else {
        return;
    };
    if has("python3") {
        let lines = "
import mmap, os, tempfile
path = 'view/velocity/8/angle/40/job/sub/data'
expected = bytes(i % 251 for i in range(400000))
with open(path, 'rb') as f:
    assert f.read() == expected
    with mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
        assert m[:] == expected
    with mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as m:
        assert m[:] == expected
    with tempfile.TemporaryFile() as out:
        n = 0
        while n < len(expected):
            n += os.sendfile(out.fileno(), f.fileno(), n, len(expected) - n)
        out.seek(0)
        assert out.read() == expected
fd = os.open(path, os.O_RDONLY)
assert os.pread(fd, 10, 399995) == expected[399995:]
assert os.readlink('view/velocity/8/angle/40/job/sub/latest') == 'data'
";
        quietly("python3", &["-c", lines], &views);
    }
    let facts = "for f in .jobs .count .table.tsv .table.csv .schema; do \
        test $(stat -c %s by/$f) = $(cat by/$f | wc -c) && test $(wc -c <by/$f) = $(cp by/$f /dev/stdout | wc -c) \
        && echo; done | wc -l";
    assert_eq!(count(facts, &views), 5);
    assert_eq!(
        count("tar c by/.table.tsv | tar xO | wc -l", &views),
        N_JOBS + 1
    );
    if has("getfattr") {
        let line = "getfattr -Rd -m user.sweepfs view | grep -c sweepfs.id=";
        assert_eq!(
            count(line, &views),
            2 * N_JOBS,
            "folders of a last value, and of jobs"
        );
        let text = sh("getfattr -d view/velocity/8/angle/40/job", &views);
        for expected in [
            "sp.angle=\"40\"",
            "doc.distance=\"40\"",
            "status.run=\"completed\"",
        ] {
            assert!(text.contains(expected), "{text}");
        }
    }
}

#[test]
fn a_filter_above_states_and_labels_does_not_freeze_them() {
    let Some(Swept {
        env: _env,
        root,
        views,
    }) = mounted()
    else {
        return;
    };
    let completed = "ls 'status/run/velocity=8/completed/velocity/8/angle' | wc -l";
    let far = "ls 'label/velocity=8/far/velocity/8/angle' | wc -l";
    assert_eq!(count(completed, &views), 4);
    assert_eq!(count(far, &views), 3);
    let job = views.join("view/velocity/8/angle/40/job");
    let gone = root.join("gone");
    std::fs::rename(job.join("sweepfs_flow.json"), &gone).unwrap();
    wait_until("a state less", || count(completed, &views) == 3);
    let held = std::fs::File::open(views.join("status/run/velocity=8")).unwrap();
    std::fs::rename(&gone, job.join("sweepfs_flow.json")).unwrap();
    std::fs::write(job.join("signac_job_document.json"), r#"{"distance": 99}"#).unwrap();
    wait_until("a state more", || count(completed, &views) == 4);
    wait_until("a label more", || count(far, &views) == 4);
    drop(held);
}
