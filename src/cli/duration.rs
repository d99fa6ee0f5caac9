//! Durations and sizes on the command line.

use crate::config::{Wrong, memory_bytes};
use std::time::Duration;

/// Reads a size of memory, such as `4G`, in bytes.
pub(super) fn parse_memory(text: &str) -> Result<u64, String> {
    memory_bytes(text).map_err(|Wrong(wrong, hint)| format!("it {wrong}: {hint}"))
}

/// Reads `90`, `90s`, `30m`, `8h` or `2d`; `1.5h` is fine, too.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration such as `90s`, `30m`, `8h` or `2d`");
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_s = match &text[number.len()..] {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err(wrong()),
    };
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(wrong());
    }
    let seconds = number.parse::<f64>().map_err(|_| wrong())? * unit_s;
    if !(1.0..=MAX_S).contains(&seconds) {
        return Err("it must be between 1 second and 1000 days".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// 1000 days.
const MAX_S: f64 = 86_400_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [
            ("90", 90),
            ("1s", 1),
            ("30m", 1800),
            ("8h", 28800),
            ("1.5h", 5400),
            ("2d", 172_800),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)));
        }
        for text in [
            "", "h", "-1h", "+1", "0", "0.5s", "1001d", "8 h", "8H", "1h30m", "inf", "nan", "1e3x",
            "8ü",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
