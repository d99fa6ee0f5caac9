//! Where a listing is to be continued, as the number that the kernel hands back.
//!
//! There is no `opendir`, and so no handle to keep a listing in. A cookie names the generation that
//! the listing shows and the entry after which it stands, by the hash of its path: if nobody kept
//! the generation, the entry is found in another.

use crate::view::HASH_BITS;

/// The offset at the end of every listing.
pub(super) const AT_END: u64 = i64::MAX as u64;

const KEY_MASK: u64 = (1 << HASH_BITS) - 1;

/// Hashes of paths are larger.
const DOT: u64 = 1;
const DOT_DOT: u64 = 2;

/// An offset, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// Nothing is left to list.
    End,
    /// Somewhere before the end.
    At(Cookie),
}

/// Which listing, and how far it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cookie {
    /// The low bits of the number of a generation.
    pub(super) tag: u8,
    pub(super) after: After,
}

/// What was listed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Nothing,
    Dot,
    DotDot,
    /// The entry with this key, of at most [`HASH_BITS`] bits.
    Entry(u64),
}

impl Cookie {
    pub(super) fn offset(self) -> u64 {
        let key = match self.after {
            After::Nothing => 0,
            After::Dot => DOT,
            After::DotDot => DOT_DOT,
            After::Entry(key) => key & KEY_MASK,
        };
        u64::from(self.tag) << HASH_BITS | key
    }

    pub(super) fn from_offset(offset: u64) -> Position {
        if offset == AT_END {
            return Position::End;
        }
        let after = match offset & KEY_MASK {
            0 => After::Nothing,
            DOT => After::Dot,
            DOT_DOT => After::DotDot,
            key => After::Entry(key),
        };
        let tag = (offset >> HASH_BITS) as u8;
        Position::At(Self { tag, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_round_trip_and_stay_positive() {
        for tag in [0, 1, 255] {
            for after in [
                After::Dot,
                After::DotDot,
                After::Entry(16),
                After::Entry(KEY_MASK),
            ] {
                let cookie = Cookie { tag, after };
                assert_eq!(Cookie::from_offset(cookie.offset()), Position::At(cookie));
                assert!(cookie.offset() < AT_END);
            }
        }
        assert_eq!(Cookie::from_offset(AT_END), Position::End);
    }
}
