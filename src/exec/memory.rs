//! Whether the kernel has ended processes because memory was short.

use std::path::{Path, PathBuf};

const CGROUPS: &str = "/sys/fs/cgroup";

/// How many processes of our control group the kernel has ended for want of memory, whose ever limit
/// was reached. A batch job usually has a group of its own.
///
/// `memory.events` of version 2 and `memory.oom_control` of version 1 tell it, see cgroups(7).
#[derive(Clone, Debug)]
pub struct OomKills {
    file: Option<PathBuf>,
    before: Option<u64>,
}

impl OomKills {
    /// Counts from now on.
    pub fn since_now() -> Self {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::of(&groups, Path::new(CGROUPS))
    }

    fn of(groups: &str, root: &Path) -> Self {
        let mut files = groups.lines().filter_map(|line| event_file(line, root));
        let file = files.find(|file| count(file).is_some());
        let before = file.as_deref().and_then(count);
        Self { file, before }
    }

    /// Tells whether there were any; `false` if nobody counts.
    pub fn were_any(&self) -> bool {
        let now = self.file.as_deref().and_then(count);
        now.zip(self.before)
            .is_some_and(|(now, before)| now > before)
    }
}

/// Returns the file that counts, of the group in a line of `/proc/PID/cgroup`.
fn event_file(line: &str, root: &Path) -> Option<PathBuf> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
    let group = group.trim_start_matches('/');
    let is_memory = controllers.split(',').any(|name| name == "memory");
    match controllers {
        "" => Some(root.join(group).join("memory.events")),
        _ if is_memory => Some(root.join("memory").join(group).join("memory.oom_control")),
        _ => None,
    }
}

fn count(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let mut counts = text
        .lines()
        .filter_map(|line| line.strip_prefix("oom_kill "));
    counts.next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn check(groups: &str, file: &str, texts: [&str; 2], expected: bool) {
        let root = tempfile::tempdir().expect("a directory");
        let file = root.path().join(file);
        fs::create_dir_all(file.parent().expect("above")).expect("made");
        fs::write(&file, texts[0]).expect("written");
        let kills = OomKills::of(groups, root.path());
        assert!(!kills.were_any());
        fs::write(&file, texts[1]).expect("written");
        assert_eq!(kills.were_any(), expected, "{groups}");
    }

    #[test]
    fn both_versions_count() {
        let unified = ["low 0\noom 0\noom_kill 1\n", "low 0\noom 1\noom_kill 2\n"];
        check(
            "0::/job_1/step\n",
            "job_1/step/memory.events",
            unified,
            true,
        );
        let old = [
            "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        ];
        let groups = "9:name=systemd:/\n4:hugetlb,memory:/job:1\n0::/\n";
        check(groups, "memory/job:1/memory.oom_control", old, true);
    }

    #[test]
    fn where_nothing_is_counted_nothing_is_told() {
        let same = ["oom_kill 4\n", "oom_kill 4\n"];
        check("0::/a\n", "a/memory.events", same, false);
        let odd = ["oom_kill_disable 0\n", "oom_kill x\n"];
        check("0::/a\n", "a/memory.events", odd, false);
        check("", "a/memory.events", same, false);
        check("0::/b\n1:cpu:/a\nx\n", "a/memory.events", same, false);
    }
}
