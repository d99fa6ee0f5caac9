//! Job ids.

use md5::{Digest, Md5};
use std::fmt;
use std::str::FromStr;

/// A job's id: 16 bytes, shown as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId([u8; 16]);

/// The text is not 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job id is 32 lower-case hex digits")]
pub struct JobIdError;

impl JobId {
    /// Number of hex digits.
    pub const LEN: usize = 32;

    /// Returns the id of a state point given as canonical JSON.
    pub fn of_canonical(canonical: &str) -> Self {
        Self(Md5::digest(canonical.as_bytes()).into())
    }

    /// Wraps 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the first 64 bits.
    pub fn leading_u64(&self) -> u64 {
        u64::from_be_bytes(*self.0.first_chunk().expect("an id has 16 bytes"))
    }

    /// Returns the smallest id that starts with a prefix of lower-case hex digits, and the
    /// largest; `None` if the text is longer than an id or has another character.
    pub fn range_of_prefix(prefix: &str) -> Option<(Self, Self)> {
        if prefix.len() > Self::LEN {
            return None;
        }
        let filled = |digit: &str| {
            format!("{prefix}{}", digit.repeat(Self::LEN - prefix.len()))
                .parse()
                .ok()
        };
        Some((filled("0")?, filled("f")?))
    }
}

impl FromStr for JobId {
    type Err = JobIdError;

    fn from_str(text: &str) -> Result<Self, JobIdError> {
        let digit = |b: u8| match b {
            b'0'..=b'9' => Ok(b - b'0'),
            b'a'..=b'f' => Ok(b - b'a' + 10),
            _ => Err(JobIdError),
        };
        let text = text.as_bytes();
        if text.len() != Self::LEN {
            return Err(JobIdError);
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; Self::LEN];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[
                b"0123456789abcdef"[usize::from(byte >> 4)],
                b"0123456789abcdef"[usize::from(byte & 15)],
            ]);
        }
        f.pad(std::str::from_utf8(&text).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_round_trip() {
        let text = "42b7b4f2921788ea14dac5566e6f06d0";
        assert_eq!(
            text.parse::<JobId>().map(|id| id.to_string()),
            Ok(text.to_owned())
        );
        for bad in [
            "",
            "42b7",
            "42B7b4f2921788ea14dac5566e6f06d0",
            "42b7b4f2921788ea14dac5566e6f06d00",
            "g2b7b4f2921788ea14dac5566e6f06d0",
        ] {
            assert_eq!(bad.parse::<JobId>(), Err(JobIdError));
        }
    }

    #[test]
    fn a_prefix_spans_a_range_of_ids() {
        let (low, high) = JobId::range_of_prefix("4b").expect("a prefix");
        assert_eq!(low.to_string(), format!("4b{}", "0".repeat(30)));
        assert_eq!(high.to_string(), format!("4b{}", "f".repeat(30)));
        assert!(JobId::range_of_prefix("xyz").is_none());
        assert!(JobId::range_of_prefix(&"a".repeat(33)).is_none());
    }
}
