//! What is read from the system's settings.

/// `/etc/fuse.conf`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FuseConf {
    /// Users may let other users in.
    pub(super) allow_other: bool,
    /// Mounts that all users together may have.
    pub(super) mount_max: usize,
}

/// The default of `fusermount3`.
const MOUNT_MAX: usize = 1000;

impl FuseConf {
    pub(super) fn parse(text: &str) -> Self {
        let lines = || text.lines().map(str::trim);
        let max = lines().filter_map(|line| value_of(line, "mount_max"));
        Self {
            allow_other: lines().any(|line| line == "user_allow_other"),
            mount_max: max
                .filter_map(|value| value.parse().ok())
                .next_back()
                .unwrap_or(MOUNT_MAX),
        }
    }
}

/// What `logind` does to the processes of a user who logs out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LogindConf {
    kill: bool,
    only: Vec<String>,
    exclude: Option<Vec<String>>,
}

impl LogindConf {
    /// Reads one more file; what it says replaces what was said before.
    pub(super) fn read(&mut self, text: &str) {
        let words = |value: &str| value.split_whitespace().map(str::to_owned).collect();
        for line in text.lines().map(str::trim) {
            if let Some(value) = value_of(line, "KillUserProcesses") {
                let value = value.to_ascii_lowercase();
                self.kill = ["yes", "true", "on", "1"].contains(&value.as_str());
            } else if let Some(value) = value_of(line, "KillOnlyUsers") {
                self.only = words(value);
            } else if let Some(value) = value_of(line, "KillExcludeUsers") {
                self.exclude = Some(words(value));
            }
        }
    }

    /// Tells whether the processes of a user are ended; root's are not unless it is said.
    pub(super) fn kills(&self, user: &str) -> bool {
        let named = |users: &[String]| users.iter().any(|name| name == user);
        let excluded = match &self.exclude {
            Some(users) => named(users),
            None => user == "root",
        };
        self.kill && !excluded && (self.only.is_empty() || named(&self.only))
    }
}

/// Tells whether `updatedb` leaves out a type of file system.
pub(super) fn is_pruned(updatedb_conf: &str, fs_type: &str) -> bool {
    let lines = updatedb_conf.lines().map(str::trim);
    let mut values = lines.filter_map(|line| value_of(line, "PRUNEFS"));
    values.any(|value| {
        let mut types = value.trim_matches('"').split_whitespace();
        types.any(|pruned| pruned.eq_ignore_ascii_case(fs_type))
    })
}

/// What the kernel lets this process do, from `/proc/self/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    /// It may mount without help.
    pub(super) mount: bool,
    /// Programs that it starts may gain rights, as a setuid one does.
    pub(super) gain: bool,
}

const CAP_SYS_ADMIN: u32 = 21;

impl Rights {
    pub(super) fn parse(status: &str) -> Self {
        let field = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.trim()))
        };
        let effective = field("CapEff:").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        Self {
            mount: effective.is_some_and(|bits| bits & (1 << CAP_SYS_ADMIN) != 0),
            gain: field("NoNewPrivs:") != Some("1"),
        }
    }
}

/// Names the container that a process runs in, by its environment.
pub(super) fn container_of(variable: impl Fn(&str) -> bool) -> Option<&'static str> {
    let names = [
        ("APPTAINER_CONTAINER", "Apptainer"),
        ("SINGULARITY_CONTAINER", "Singularity"),
        ("container", "a container"),
    ];
    names
        .into_iter()
        .find_map(|(name, what)| variable(name).then_some(what))
}

/// Returns what stands behind `NAME =`.
fn value_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(name)?.trim_start();
    Some(rest.strip_prefix('=')?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuse_conf_is_understood() {
        let conf = FuseConf::parse("# user_allow_other\n#mount_max = 5\n");
        assert!(!conf.allow_other);
        assert_eq!(conf.mount_max, 1000);
        let conf = FuseConf::parse("user_allow_other\nmount_max = 20");
        assert!(conf.allow_other);
        assert_eq!(conf.mount_max, 20);
    }

    #[test]
    fn logind_ends_processes_if_it_is_told_to() {
        let conf = |texts: &[&str]| {
            let mut conf = LogindConf::default();
            texts.iter().for_each(|text| conf.read(text));
            conf
        };
        assert!(!conf(&["[Login]\n#KillUserProcesses=yes\n"]).kills("ada"));
        let kills = conf(&["[Login]\nKillUserProcesses=yes\n"]);
        assert!(kills.kills("ada") && !kills.kills("root"));
        assert!(
            !conf(&["KillUserProcesses=yes", "KillUserProcesses = no"]).kills("ada"),
            "the last file wins"
        );
        let some = conf(&["KillUserProcesses=yes\nKillOnlyUsers=ada bob\nKillExcludeUsers=bob"]);
        assert!(some.kills("ada") && !some.kills("bob") && !some.kills("eve"));
        assert!(conf(&["KillUserProcesses=1\nKillExcludeUsers="]).kills("root"));
    }

    #[test]
    fn pruned_types_are_found() {
        let conf = "# PRUNEFS=\"fuse.sweepfs\"\nPRUNEFS = \"NFS nfs4 fuse.sshfs\"\n";
        assert!(is_pruned(conf, "nfs") && is_pruned(conf, "fuse.sshfs"));
        assert!(!is_pruned(conf, "fuse.sweepfs") && !is_pruned("", "fuse.sweepfs"));
    }

    #[test]
    fn rights_are_read_from_the_status() {
        let rights = |text: &str| {
            let Rights { mount, gain } = Rights::parse(text);
            (mount, gain)
        };
        let root = "Name:\tx\nCapEff:\t000001ffffffffff\nNoNewPrivs:\t0\n";
        assert_eq!(rights(root), (true, true));
        let user = "CapEff:\t0000000000000000\nNoNewPrivs:\t1\n";
        assert_eq!(rights(user), (false, false));
        // What Docker gives to root.
        assert_eq!(rights("CapEff:\t00000000a80425fb\n"), (false, true));
    }

    #[test]
    fn containers_are_known_by_their_environment() {
        assert_eq!(
            container_of(|name| name == "APPTAINER_CONTAINER"),
            Some("Apptainer")
        );
        assert_eq!(container_of(|_| false), None);
    }
}
