//! Numbers, sizes and times as users write them.

/// What is wrong with a text, and what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong(pub &'static str, pub &'static str);

/// Reads decimal digits, perhaps with a point or an exponent.
pub fn number(text: &str) -> Option<f64> {
    let number = text.parse().ok()?;
    (text.starts_with(|c: char| c.is_ascii_digit() || c == '.')).then_some(number)
}

/// Splits a number and a word after it.
fn with_unit(text: &str) -> Option<(f64, &str)> {
    let unit = text.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    let number_text = text[..text.len() - unit.len()].trim_end();
    Some((number(number_text)?, unit))
}

const KIB: f64 = 1024.0;

/// Reads a size of memory, such as `4G`; units are powers of 1024, as schedulers take them.
///
/// # Errors
///
/// Fails if it is none, or has no unit.
pub fn memory_bytes(text: &str) -> Result<u64, Wrong> {
    let hint = "write a size with its unit, such as `512M` or `4G`";
    let (number, unit) = with_unit(text).ok_or(Wrong("is no size", hint))?;
    let unit_bytes = match unit.to_ascii_uppercase().as_str() {
        "" => return Err(Wrong("has no unit", hint)),
        "K" | "KB" | "KIB" => KIB,
        "M" | "MB" | "MIB" => KIB * KIB,
        "G" | "GB" | "GIB" => KIB * KIB * KIB,
        "T" | "TB" | "TIB" => KIB * KIB * KIB * KIB,
        _ => return Err(Wrong("has an unknown unit", hint)),
    };
    positive(number * unit_bytes).ok_or(Wrong("is no size", hint))
}

/// Reads a time, such as `90m`, `1.5h`, `01:30:00` or `1-12:00:00`; in seconds.
///
/// # Errors
///
/// Fails if it is none, or has no unit.
pub fn walltime_s(text: &str) -> Result<u64, Wrong> {
    let hint = "write a time such as `90m`, `1.5h`, `01:30:00` or `1-12:00:00`";
    let wrong = Wrong("is no time", hint);
    if text.contains(':') || text.contains('-') {
        return clock_s(text).filter(|time_s| *time_s > 0).ok_or(wrong);
    }
    let (number, unit) = with_unit(text).ok_or(Wrong("is no time", hint))?;
    let unit_s = match unit {
        "" => return Err(Wrong("has no unit", hint)),
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err(Wrong("has an unknown unit", hint)),
    };
    positive(number * unit_s).ok_or(wrong)
}

/// Reads `HH:MM:SS`, `D-HH:MM:SS`, `D-HH:MM` or `D-HH`.
fn clock_s(text: &str) -> Option<u64> {
    let whole = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| is_number)
    };
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (Some(whole(days)?), clock),
        None => (None, text),
    };
    let parts = clock.split(':').map(whole).collect::<Option<Vec<_>>>()?;
    let (hours, minutes, seconds) = match (days, &parts[..]) {
        (_, [hours, minutes, seconds]) => (*hours, *minutes, *seconds),
        (Some(_), [hours, minutes]) => (*hours, *minutes, 0),
        (Some(_), [hours]) => (*hours, 0, 0),
        _ => return None,
    };
    let is_clock = minutes < 60 && seconds < 60 && (days.is_none() || hours < 24);
    let hours = days.unwrap_or(0).checked_mul(24)?.checked_add(hours)?;
    let time_s = hours.checked_mul(3600)?.checked_add(minutes * 60 + seconds);
    time_s.filter(|_| is_clock)
}

/// Rounds up; `None` if there is nothing of it, or more than can be counted.
fn positive(number: f64) -> Option<u64> {
    (number > 0.0 && number < u64::MAX as f64).then(|| number.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("4G", 4 << 30),
            ("512M", 512 << 20),
            ("1.5 GB", 3 << 29),
            ("100k", 100 << 10),
            ("2TiB", 2 << 40),
            ("0.1K", 103),
        ] {
            assert_eq!(memory_bytes(text), Ok(bytes), "{text}");
        }
        for text in [
            "", "4", "G", "-1G", "0G", "4X", "nanG", "infG", "1e99T", "4G G",
        ] {
            memory_bytes(text).expect_err(text);
        }
    }

    #[test]
    fn times_have_units() {
        for (text, time_s) in [
            ("90m", 5400),
            ("1.5h", 5400),
            ("22.5h", 81000),
            ("30s", 30),
            ("2d", 172_800),
            ("0.1s", 1),
            ("01:30:00", 5400),
            ("100:00:00", 360_000),
            ("1-12:00:00", 129_600),
            ("1-12", 129_600),
            ("1-00:30", 88_200),
        ] {
            assert_eq!(walltime_s(text), Ok(time_s), "{text}");
        }
        for text in [
            "",
            "90",
            "h",
            "-1h",
            "0h",
            "90:00",
            "1:60:00",
            "1-24",
            "-1:00:00",
            "1h30m",
            "1e99d",
            "+1:00:00",
            "00:00:00",
            "99999999999999999-00",
        ] {
            walltime_s(text).expect_err(text);
        }
    }
}
