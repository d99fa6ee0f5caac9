//! What tests share.

pub(crate) mod batch;
pub(crate) mod env;
pub(crate) mod local;
pub(crate) mod mounted;
pub(crate) mod python;
pub(crate) mod random;
pub(crate) mod sge;
pub(crate) mod slurm;
pub(crate) mod ssh;
pub(crate) mod tree;

use std::time::{Duration, Instant};

/// Says aloud that a test cannot run on this machine; in CI that is a failure.
#[track_caller]
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "a part is missing that CI must have: {reason}"
    );
    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    {
        eprintln!("SKIPPED: {reason}");
    }
}

/// Waits until a condition holds, at most for a generous limit; returns how long it took.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "still not: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    begun.elapsed()
}
