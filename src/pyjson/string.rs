//! Python's `str`: any sequence of code points.

use std::fmt;

/// A Python string, stored as UTF-8 in which lone surrogates are encoded like other code points.
///
/// Comparing the bytes compares by code point, which is the order Python sorts by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PyStr(Box<[u8]>);

impl PyStr {
    /// Wraps bytes that are known to be UTF-8 but for encoded surrogates.
    pub(crate) fn from_encoded(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// Reads the bytes of [`PyStr::as_bytes`]; `None` if they are no such bytes.
    pub fn checked(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        while let Err(error) = std::str::from_utf8(rest) {
            // What is not UTF-8 must be a surrogate, U+D800 to U+DFFF, in UTF-8's scheme.
            rest = match &rest[error.valid_up_to()..] {
                [0xED, 0xA0..0xC0, 0x80..0xC0, after @ ..] => after,
                _ => return None,
            };
        }
        Some(Self(bytes.into()))
    }

    /// Returns the encoded bytes: UTF-8 but for lone surrogates.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the text if there is no surrogate in it.
    pub fn to_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Iterates over the code points.
    pub fn code_points(&self) -> CodePoints<'_> {
        CodePoints(&self.0)
    }

    /// Splits at every occurrence of an ASCII byte, at least one part.
    pub fn split(&self, separator: u8) -> impl Iterator<Item = Self> + '_ {
        debug_assert!(separator.is_ascii());
        self.0
            .split(move |&b| b == separator)
            .map(|part| Self(part.into()))
    }
}

/// Appends one code point, a surrogate included, in UTF-8's scheme.
pub(crate) fn push_code_point(bytes: &mut Vec<u8>, code_point: u32) {
    if let Some(c) = char::from_u32(code_point) {
        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        return;
    }
    assert!(code_point <= 0xFFFF, "only surrogates are left here");
    let tail = |shift: u32| 0x80 | (code_point >> shift & 0x3F) as u8;
    bytes.extend_from_slice(&[0xE0 | (code_point >> 12) as u8, tail(6), tail(0)]);
}

/// Iterator over the code points of a [`PyStr`].
#[derive(Clone, Debug)]
pub struct CodePoints<'a>(&'a [u8]);

impl Iterator for CodePoints<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (&first, rest) = self.0.split_first()?;
        let (n_tail, mut code_point) = match first {
            0..0x80 => (0, u32::from(first)),
            0x80..0xE0 => (1, u32::from(first & 0x1F)),
            0xE0..0xF0 => (2, u32::from(first & 0x0F)),
            _ => (3, u32::from(first & 0x07)),
        };
        for &byte in &rest[..n_tail] {
            code_point = code_point << 6 | u32::from(byte & 0x3F);
        }
        self.0 = &rest[n_tail..];
        Some(code_point)
    }
}

impl From<&str> for PyStr {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<String> for PyStr {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

/// Shows surrogates as U+FFFD.
impl fmt::Display for PyStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_str() {
            Some(text) => f.write_str(text),
            None => self.code_points().try_for_each(|c| {
                fmt::Write::write_char(f, char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER))
            }),
        }
    }
}

impl fmt::Debug for PyStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::dumps_str(self))
    }
}
