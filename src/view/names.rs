//! File names for keys and values: safe, reversible and unique among siblings.
//!
//! A value is named as Python's `str` names it, which is what signac shows. Then `/` becomes `%2F`,
//! NUL `%00` and a `%` before two hex digits `%25`; names that no file can have, or that a
//! non-string has already, are JSON-quoted; what is longer than 255 bytes is cut and ends in a hash.

use crate::pyjson::{PyStr, Value, dumps_str, parse, view_str};
use crate::statepoint::Key;
use md5::{Digest, Md5};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

/// A file name: not empty, without `/` and NUL, at most 255 bytes.
pub(super) type Name = Box<[u8]>;

/// Linux's `NAME_MAX`.
const NAME_BYTES_MAX: usize = 255;

/// Names the values of one key, in the order given.
pub(super) fn value_names<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<Name> {
    unique(&values.map(ValueNames).collect::<Vec<_>>())
}

/// Names some texts, in the order given.
pub fn text_names<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Box<[u8]>> {
    let values: Vec<_> = texts.map(Value::from).collect();
    value_names(values.iter())
}

/// Undoes the escapes of `/`, NUL and `%` in a name.
pub fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = [(&b"%2F"[..], b'/'), (b"%00", 0), (b"%25", b'%')];
        match escaped.iter().find(|(escape, _)| rest.starts_with(escape)) {
            Some((escape, byte)) => {
                bytes.push(*byte);
                rest = &rest[escape.len()..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    bytes
}

/// Names keys, in the order given; `reserved` names are entries of another kind.
pub(super) fn key_names<'a>(keys: impl Iterator<Item = &'a Key>, reserved: &[&str]) -> Vec<Name> {
    unique(
        &keys
            .map(|key| KeyNames { key, reserved })
            .collect::<Vec<_>>(),
    )
}

/// Returns the name a user may mean by another spelling of a value: `4.5e1` for `45.0`, `true`
/// for `True`.
pub fn other_spelling(text: &[u8]) -> Option<Box<[u8]>> {
    let value = parse(std::str::from_utf8(text).ok()?).ok()?;
    let name = ValueNames(&value).name(0)?;
    (*name != *text).then_some(name)
}

/// Returns a text as it stands in a component: escaped, or JSON-quoted if it has no form in bytes.
pub(super) fn fragment(text: &PyStr) -> Vec<u8> {
    let quoted = || dumps_str(text).into_bytes();
    escaped(text).unwrap_or_else(quoted)
}

/// Makes a file name of a component that has a value in it: quoted if no file can have it, and cut.
pub(super) fn component(bytes: Vec<u8>) -> Name {
    match bytes.as_slice() {
        b"" | b"." | b".." => [b"\"", bytes.as_slice(), b"\""].concat().into(),
        _ => cut(bytes, 0),
    }
}

/// Something that has a name, and others to fall back to.
trait Candidates {
    /// Returns the name of a level, from 0; `None` if there is none at this level but one above.
    fn name(&self, level: u32) -> Option<Name>;

    /// Tells whether the name of level 0 must not be changed.
    fn is_fixed(&self) -> bool;
}

struct ValueNames<'a>(&'a Value);

impl Candidates for ValueNames<'_> {
    fn name(&self, level: u32) -> Option<Name> {
        match self.0 {
            Value::Str(string) => quoted_name(string, level),
            other => file_name(&view_str(other), level),
        }
    }

    fn is_fixed(&self) -> bool {
        !matches!(self.0, Value::Str(_))
    }
}

struct KeyNames<'a> {
    key: &'a Key,
    reserved: &'a [&'a str],
}

impl KeyNames<'_> {
    /// Returns the dotted name; `None` if a part has no form in bytes.
    fn dotted(&self) -> Option<Vec<u8>> {
        let mut dotted = Vec::new();
        for (i, part) in self.key.parts().iter().enumerate() {
            if i > 0 {
                dotted.push(b'.');
            }
            for byte in escaped(part)? {
                match byte {
                    b'.' => dotted.extend_from_slice(b"%2E"),
                    _ => dotted.push(byte),
                }
            }
        }
        Some(dotted)
    }
}

impl Candidates for KeyNames<'_> {
    fn name(&self, level: u32) -> Option<Name> {
        let dotted = match self.dotted().as_deref() {
            None | Some(b"" | b"." | b"..") => return quoted_name(self.key.dotted(), level),
            Some(dotted) => dotted.to_vec(),
        };
        let reserved = || self.reserved.iter().any(|name| name.as_bytes() == dotted);
        if level == 0 && reserved() {
            return None;
        }
        let prefixed = [b"sp.".repeat(level as usize), dotted].concat();
        Some(cut(prefixed, level))
    }

    fn is_fixed(&self) -> bool {
        false
    }
}

/// Gives each item the name of its lowest level that no other has.
fn unique<C: Candidates>(items: &[C]) -> Vec<Name> {
    let mut levels = vec![0; items.len()];
    let mut names: Vec<_> = items
        .iter()
        .zip(&mut levels)
        .map(|(item, level)| lowest_name(item, level))
        .collect();
    if names.iter().collect::<HashSet<_>>().len() == names.len() {
        return names;
    }
    let mut unsettled: Vec<_> = (0..items.len()).rev().collect();
    let mut owners: HashMap<Name, usize> = HashMap::with_capacity(items.len());
    while let Some(i) = unsettled.pop() {
        let loser = match owners.entry(names[i].clone()) {
            Entry::Vacant(entry) => {
                entry.insert(i);
                continue;
            }
            Entry::Occupied(mut entry) => {
                let j = *entry.get();
                // The one at the higher level keeps the name: it has been moved here already.
                let i_keeps =
                    items[i].is_fixed() || (!items[j].is_fixed() && levels[i] > levels[j]);
                if i_keeps {
                    entry.insert(i);
                }
                if i_keeps { j } else { i }
            }
        };
        levels[loser] += 1;
        names[loser] = lowest_name(&items[loser], &mut levels[loser]);
        unsettled.push(loser);
    }
    names
}

/// Returns the name of the first level from `level` on that has one, and sets `level` to it.
fn lowest_name(item: &impl Candidates, level: &mut u32) -> Name {
    loop {
        match item.name(*level) {
            Some(name) => return name,
            None => *level += 1,
        }
    }
}

/// Returns the file name of a string, JSON-quoted `level` times.
fn quoted_name(string: &PyStr, level: u32) -> Option<Name> {
    let mut string = string.clone();
    for _ in 0..level {
        string = dumps_str(&string).into();
    }
    file_name(&string, level)
}

/// Returns the file name of a text, unless no file can have it.
fn file_name(text: &PyStr, level: u32) -> Option<Name> {
    let escaped = escaped(text)?;
    match escaped.as_slice() {
        b"" | b"." | b".." => None,
        _ => Some(cut(escaped, level)),
    }
}

/// Encodes as Python's file-system encoding does and escapes `/`, NUL and what looks like an
/// escape. `None` for a lone surrogate that stands for no byte.
fn escaped(text: &PyStr) -> Option<Vec<u8>> {
    let bytes = match text.to_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => surrogate_escaped(text)?,
    };
    let mut name = Vec::with_capacity(bytes.len());
    for (i, &byte) in bytes.iter().enumerate() {
        match byte {
            b'/' => name.extend_from_slice(b"%2F"),
            0 => name.extend_from_slice(b"%00"),
            b'%' if bytes[i + 1..]
                .iter()
                .take(2)
                .filter(|b| b.is_ascii_hexdigit())
                .count()
                == 2 =>
            {
                name.extend_from_slice(b"%25");
            }
            _ => name.push(byte),
        }
    }
    Some(name)
}

fn surrogate_escaped(text: &PyStr) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for code_point in text.code_points() {
        match char::from_u32(code_point) {
            Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None if (0xDC80..0xDD00).contains(&code_point) => bytes.push(code_point as u8),
            None => return None,
        }
    }
    Some(bytes)
}

/// Cuts at a character boundary and appends `~` and 8 hex digits of the MD5 of the whole name;
/// twice as many at each higher level, and another hash beyond its length.
fn cut(mut name: Vec<u8>, level: u32) -> Name {
    if name.len() <= NAME_BYTES_MAX {
        return name.into();
    }
    let mut hash = Md5::new();
    hash.update(&name);
    if level > 2 {
        hash.update(level.to_be_bytes());
    }
    let n_bytes = 4 << level.min(2);
    let digits: String = hash
        .finalize()
        .iter()
        .take(n_bytes)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut end = NAME_BYTES_MAX - 1 - digits.len();
    while end > 0 && name[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    name.truncate(end);
    name.push(b'~');
    name.extend_from_slice(digits.as_bytes());
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(json: &[&str]) -> Vec<Value> {
        json.iter()
            .map(|json| parse(json).expect("valid JSON"))
            .collect()
    }

    #[track_caller]
    fn check(json: &[&str], expected: &[&str]) {
        let names = value_names(values(json).iter());
        let names: Vec<_> = names
            .iter()
            .map(|name| String::from_utf8_lossy(name))
            .collect();
        assert_eq!(names, expected);
    }

    #[track_caller]
    fn check_keys(keys: &[&str], reserved: &[&str], expected: &[&str]) {
        let keys: Vec<_> = keys.iter().map(|key| Key::parse(key)).collect();
        let names: Vec<_> = key_names(keys.iter(), reserved)
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn values_get_safe_names() {
        check(
            &["0.1", "true", "[1, 2]", "\"x y\""],
            &["0.1", "True", "(1, 2)", "x y"],
        );
        check(
            &[r#""a/b""#, r#""%2F""#, r#""5%""#, r#""\u0000""#],
            &["a%2Fb", "%252F", "5%", "%00"],
        );
        check(
            &[r#""""#, r#"".""#, r#""..""#, r#""...""#],
            &[r#""""#, r#"".""#, r#""..""#, "..."],
        );
        check(&[r#"["/"]"#], &["('%2F',)"]);
        check(&[r#""a\nb""#], &["a\nb"]);
    }

    #[test]
    fn a_string_gives_way_to_another_type() {
        check(&["1", r#""1""#], &["1", r#""1""#]);
        check(&[r#""None""#, "null"], &[r#""None""#, "None"]);
        check(
            &["1", r#""1""#, r#""\"1\"""#],
            &["1", r#""1""#, r#""\"1\"""#],
        );
        check(&[r#""\"\"""#, r#""""#], &[r#""\"\"""#, r#""""#]);
    }

    #[test]
    fn surrogates_are_bytes_or_quoted() {
        let names = value_names(
            values(&[r#""\udc80""#, r#""\ud800""#, r#""é""#, r#""\udcc3\udca9""#]).iter(),
        );
        assert_eq!(*names[0], [0x80]);
        assert_eq!(*names[1], *br#""\ud800""#);
        assert_eq!(*names[2], *"é".as_bytes());
        assert_eq!(*names[3], *br#""\udcc3\udca9""#);
    }

    #[test]
    fn long_names_are_cut_at_a_character() {
        for text in [
            "x".repeat(300),
            "é".repeat(150),
            format!("x{}", "☃".repeat(100)),
        ] {
            let names = value_names([Value::from(text.as_str())].iter());
            let name = std::str::from_utf8(&names[0]).expect("cut at a boundary");
            assert!(
                name.len() <= 255 && name.len() > 250 && name.as_bytes()[name.len() - 9] == b'~',
                "{name}"
            );
        }
        check(&[&format!("\"{}\"", "y".repeat(255))], &[&"y".repeat(255)]);
    }

    #[test]
    fn names_that_are_equal_in_bytes_are_told_apart() {
        let bytes = |json: &[&str]| value_names(values(json).iter());
        assert_eq!(*bytes(&[r#""é""#, r#""\udcc3\udca9""#])[0], *"é".as_bytes());
        assert_eq!(
            *bytes(&[r#""é""#, r#""\udcc3\udca9""#])[1],
            *br#""\udcc3\udca9""#
        );
        // The two lists differ late, and the first 32 bits of their hashes are the same.
        let long = |last: u32| {
            let numbers: Vec<_> = (100..200).chain([last]).map(|n| n.to_string()).collect();
            format!("[{}]", numbers.join(", "))
        };
        let names = bytes(&[&long(6506), &long(17872)]);
        assert_eq!(names[0][..200], names[1][..200]);
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| name.len() <= 255));
        // A name that is spelled like the cut one.
        let cut_one = format!("x{}", "é".repeat(150));
        let cut_name =
            String::from_utf8(bytes(&[&format!("\"{cut_one}\"")])[0].to_vec()).expect("text");
        let both = bytes(&[&format!("\"{cut_one}\""), &format!("\"{cut_name}\"")]);
        assert_ne!(both[0], both[1]);
    }

    #[test]
    fn keys_without_a_form_in_bytes_are_quoted() {
        let keys = [r#"{"\ud800": 1}"#, r#"{"a": {"\ud800.": 1}}"#].map(|json| {
            let mut found = Vec::new();
            let object = parse(json)
                .expect("valid JSON")
                .into_object()
                .expect("an object");
            crate::statepoint::visit(object, &mut |key, _| found.push(Key::from_dotted(key)));
            found.pop().expect("a key")
        });
        let names = key_names(keys.iter(), &["job"]);
        assert_eq!(*names[0], *br#""\ud800""#);
        assert_eq!(*names[1], *br#""a.\ud800%252E""#);
    }

    #[test]
    fn keys_get_safe_names() {
        check_keys(
            &["a.b", "a%2Eb", "x/y"],
            &["job"],
            &["a.b", "a%2Eb", "x%2Fy"],
        );
        check_keys(&["job", "a"], &["job"], &["sp.job", "a"]);
        check_keys(&["job", "sp.job"], &["job"], &["sp.job", "sp.sp.job"]);
        check_keys(
            &["", ".", "..", "id"],
            &["job"],
            &[r#""""#, r#"".""#, r#""..""#, "id"],
        );
        check_keys(&["id"], &["job", "id"], &["sp.id"]);
    }

    #[test]
    fn other_spellings_lead_to_the_shown_name() {
        let shown = |text: &str| {
            other_spelling(text.as_bytes()).map(|name| String::from_utf8_lossy(&name).into_owned())
        };
        assert_eq!(shown("4.5e1").as_deref(), Some("45.0"));
        assert_eq!(shown("true").as_deref(), Some("True"));
        assert_eq!(shown("[1,2]").as_deref(), Some("(1, 2)"));
        assert_eq!(shown("45.0"), None);
        assert_eq!(shown("argon"), None);
    }

    #[test]
    fn names_are_unique_file_names() {
        let value = prop_oneof![
            "[\"\\\\/%.12a]{0,4}".prop_map(|text| Value::from(text.as_str())),
            Just(Value::Null),
            (0_i64..3).prop_map(Value::from),
            Just(Value::from("None")),
            "(a|é){250,260}".prop_map(|text| Value::from(text.as_str())),
        ];
        proptest!(|(values in prop::collection::btree_set(value, 0..20))| {
            let names = value_names(values.iter());
            let distinct: HashSet<_> = names.iter().collect();
            prop_assert_eq!(distinct.len(), values.len());
            for name in &names {
                let usable = (1..=255).contains(&name.len()) && !name.contains(&b'/') && !name.contains(&0) && **name != *b"." && **name != *b"..";
                prop_assert!(usable, "{:?}", name);
            }
        });
    }
}
