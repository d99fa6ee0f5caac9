//! Bytes of the catalog file: numbers are little-endian, texts carry their length.

use crate::fsx::Stamp;
use crate::pyjson::{self, Int, PyStr, Value};
use crate::statepoint::JobId;
use std::io;

/// Why a catalog file, or a part of it, is not used.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It does not hold what it should.
    #[error("the catalog file is damaged: {0}")]
    Content(&'static str),
    /// It cannot be read.
    #[error("the catalog file cannot be read: {0}")]
    Io(#[from] io::Error),
}

pub(super) type Result<T> = std::result::Result<T, Damage>;

/// Appends to a buffer.
#[derive(Debug, Default)]
pub(crate) struct Encoder(pub(crate) Vec<u8>);

impl Encoder {
    pub(crate) fn u8(&mut self, number: u8) {
        self.0.push(number);
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, number: i64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn stamp(&mut self, stamp: &Stamp) {
        self.i64(stamp.modified);
        self.i64(stamp.changed);
        self.u64(stamp.inode);
        self.u64(stamp.size_bytes);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).expect("state points and documents are at most 1 GiB"));
        self.0.extend_from_slice(bytes);
    }

    /// A tag and what it needs; lists, objects and large integers as JSON.
    pub(crate) fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.u8(tag::NULL),
            Value::Bool(false) => self.u8(tag::FALSE),
            Value::Bool(true) => self.u8(tag::TRUE),
            Value::Int(Int::Small(int)) => {
                self.u8(tag::INT);
                self.i64(*int);
            }
            Value::Float(float) => {
                self.u8(tag::FLOAT);
                self.u64(float.to_bits());
            }
            Value::Str(text) => {
                self.u8(tag::TEXT);
                self.bytes(text.as_bytes());
            }
            Value::Int(Int::Big(_)) | Value::List(_) | Value::Object(_) => {
                self.u8(tag::JSON);
                self.bytes(pyjson::dumps(value).as_bytes());
            }
        }
    }
}

mod tag {
    pub(super) const NULL: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    pub(super) const INT: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const TEXT: u8 = 5;
    pub(super) const JSON: u8 = 6;
}

/// Reads from the front of a buffer, and believes nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder<'a>(pub(crate) &'a [u8]);

impl<'a> Decoder<'a> {
    pub(crate) fn take(&mut self, n_bytes: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(n_bytes)
            .ok_or(Damage::Content("a part ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("as many bytes as were asked for"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let n_bytes = self.u32()?;
        self.take(n_bytes as usize)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damage::Content("a text is not UTF-8"))
    }

    pub(crate) fn stamp(&mut self) -> Result<Stamp> {
        Ok(Stamp {
            modified: self.i64()?,
            changed: self.i64()?,
            inode: self.u64()?,
            size_bytes: self.u64()?,
        })
    }

    pub(crate) fn id(&mut self) -> Result<JobId> {
        Ok(JobId::from_bytes(self.array()?))
    }

    /// Reads a string of Python's, which must be well-formed.
    pub(crate) fn py_str(&mut self) -> Result<PyStr> {
        PyStr::checked(self.bytes()?).ok_or(Damage::Content("a string is not well-formed"))
    }

    pub(crate) fn value(&mut self) -> Result<Value> {
        Ok(match self.u8()? {
            tag::NULL => Value::Null,
            tag::FALSE => Value::Bool(false),
            tag::TRUE => Value::Bool(true),
            tag::INT => Value::from(self.i64()?),
            tag::FLOAT => Value::Float(f64::from_bits(self.u64()?)),
            tag::TEXT => Value::Str(self.py_str()?),
            tag::JSON => {
                pyjson::parse(self.text()?).map_err(|_| Damage::Content("a value is not JSON"))?
            }
            _ => return Err(Damage::Content("a value has an unknown type")),
        })
    }

    /// Ends the reading, which must have used up everything.
    pub(crate) fn end(self) -> Result<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Damage::Content("a part is too long"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pyjson::parse;
    use proptest::prelude::*;

    #[test]
    fn values_round_trip() {
        for json in [
            "null",
            "true",
            "false",
            "0",
            "-9223372036854775808",
            "9223372036854775808",
            "-0.0",
            "0.1",
            "NaN",
            "-Infinity",
            "\"\"",
            "\"\\ud800 é\"",
            "[1, [2.0, {\"b\": 1, \"a\": 2}]]",
        ] {
            let value = parse(json).expect("valid JSON");
            let mut encoder = Encoder::default();
            encoder.value(&value);
            let mut decoder = Decoder(&encoder.0);
            assert_eq!(decoder.value().expect("decoded"), value, "{json}");
            decoder.end().expect("used up");
        }
    }

    #[test]
    fn any_bytes_decode_or_fail() {
        proptest!(|(bytes in prop::collection::vec(any::<u8>(), 0..64))| {
            let mut decoder = Decoder(&bytes);
            while decoder.value().is_ok() {}
            let _ = Decoder(&bytes).text();
            let _ = Decoder(&bytes).end();
        });
    }
}
