//! Documents, merged key by key.

use super::side::Whose;
use crate::pyjson::{Object, PyStr, Value};
use regex::Regex;
use std::collections::HashMap;

/// In which direction changes go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// In both.
    #[default]
    Both,
    /// Only to us.
    Pull,
    /// Only to the other side.
    Push,
}

impl Direction {
    /// Tells whether a side may be changed.
    pub fn leads_to(self, whose: Whose) -> bool {
        match self {
            Self::Both => true,
            Self::Pull => whose == Whose::Local,
            Self::Push => whose == Whose::Remote,
        }
    }
}

/// What is done with a key that was changed on both sides.
#[derive(Clone, Debug, Default)]
pub struct KeyRule {
    /// Keys that match are taken from the other side; it must match from the beginning of the key
    /// with those above it, as in `fit.slope`.
    pub from_remote: Option<Regex>,
    /// All others are taken from one side.
    pub prefer: Option<Whose>,
    /// All others are left as they are, and are no conflict.
    pub ignores: bool,
    /// What is preferred of files says nothing about keys.
    pub is_final: bool,
}

/// Two documents that were merged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// What the document is here then.
    pub local: Object,
    /// What it is there then.
    pub remote: Object,
    /// What is the same on both sides, or was when they last agreed.
    pub agreed: Object,
    /// The keys that were changed on both sides, with those above them, each with what is to be
    /// told of it.
    pub conflicts: Vec<String>,
    /// The keys that were left as they are by the rule.
    pub ignored: Vec<String>,
}

/// Merges two documents which were once the same.
///
/// Objects are merged at every depth, all else is taken as one. A key that was removed on one side
/// and changed on the other stays.
pub fn merge(
    base: Option<&Object>,
    local: &Object,
    remote: &Object,
    rule: &KeyRule,
    direction: Direction,
) -> Merged {
    let mut merger = Merger {
        rule,
        direction,
        conflicts: Vec::new(),
        ignored: Vec::new(),
    };
    let empty = Object::new();
    let merged = merger.objects("", base.unwrap_or(&empty), local, remote);
    Merged {
        local: merged.local,
        remote: merged.remote,
        agreed: merged.agreed,
        conflicts: merger.conflicts,
        ignored: merger.ignored,
    }
}

struct Merger<'a> {
    rule: &'a KeyRule,
    direction: Direction,
    conflicts: Vec<String>,
    ignored: Vec<String>,
}

/// The value of a key on both sides, and what they agree on.
struct Three<T> {
    local: T,
    remote: T,
    agreed: T,
}

impl Merger<'_> {
    fn objects(
        &mut self,
        above: &str,
        base: &Object,
        local: &Object,
        remote: &Object,
    ) -> Three<Object> {
        let [base, here, there] = [base, local, remote].map(index);
        // Keys that stay keep their order on either side, and new ones follow.
        let only_there = remote.iter().filter(|(key, _)| !here.contains_key(key));
        let (mut of_local, mut of_remote) = (Vec::new(), HashMap::new());
        let mut agreed = Vec::new();
        for (key, _) in local.iter().chain(only_there) {
            let name = name_of(above, key);
            let values = [&base, &here, &there].map(|object| object.get(key).copied());
            let three = self.values(&name, values);
            let with_key = |value| (key.clone(), value);
            of_local.extend(three.local.map(with_key));
            agreed.extend(three.agreed.map(with_key));
            of_remote.extend(three.remote.map(|value| (key, value)));
        }
        let order = remote.iter().chain(local.iter());
        let of_remote = order.filter_map(|(key, _)| Some((key.clone(), of_remote.remove(key)?)));
        Three {
            remote: of_remote.collect(),
            local: of_local.into_iter().collect(),
            agreed: agreed.into_iter().collect(),
        }
    }

    /// Merges the values of a key: that of the base, here and there.
    fn values(
        &mut self,
        name: &str,
        [base, local, remote]: [Option<&Value>; 3],
    ) -> Three<Option<Value>> {
        if local == remote {
            return three(local, remote, local);
        }
        if let (Some(Value::Object(here)), Some(Value::Object(there))) = (local, remote) {
            let empty = Object::new();
            let base = match base {
                Some(Value::Object(base)) => base,
                _ => &empty,
            };
            let merged = self.objects(name, base, here, there);
            return Three {
                local: Some(Value::Object(merged.local)),
                remote: Some(Value::Object(merged.remote)),
                agreed: Some(Value::Object(merged.agreed)),
            };
        }
        let winner = self.winner(name, base, local, remote);
        let taken = match winner {
            Some(Whose::Local) => (local, local),
            Some(Whose::Remote) => (remote, remote),
            None => (local, remote),
        };
        let local = match self.direction.leads_to(Whose::Local) {
            true => taken.0,
            false => local,
        };
        let remote = match self.direction.leads_to(Whose::Remote) {
            true => taken.1,
            false => remote,
        };
        three(local, remote, if local == remote { local } else { base })
    }

    /// Decides whose value both get; `None` if each keeps its own.
    fn winner(
        &mut self,
        name: &str,
        base: Option<&Value>,
        local: Option<&Value>,
        remote: Option<&Value>,
    ) -> Option<Whose> {
        if local == base {
            return Some(Whose::Remote);
        }
        if remote == base {
            return Some(Whose::Local);
        }
        match (local, remote) {
            // Changed here and removed there, or the other way round.
            (None, _) => return Some(Whose::Remote),
            (_, None) => return Some(Whose::Local),
            // Python sees no difference between 1 and 1.0.
            (Some(here), Some(there)) if here.py_eq(there) => return Some(Whose::Local),
            _ => {}
        }
        let rule = self.rule;
        if rule
            .from_remote
            .as_ref()
            .is_some_and(|keys| keys.is_match(name))
        {
            return Some(Whose::Remote);
        }
        let winner = rule.prefer;
        match (winner, rule.ignores) {
            (Some(_), _) => {}
            (None, true) => self.ignored.push(name.to_owned()),
            (None, false) => self.conflicts.push(name.to_owned()),
        }
        winner
    }
}

/// The values by their keys, for there may be many.
fn index(object: &Object) -> HashMap<&PyStr, &Value> {
    object.iter().collect()
}

fn name_of(above: &str, key: &PyStr) -> String {
    let key = String::from_utf8_lossy(key.as_bytes());
    match above {
        "" => key.into_owned(),
        above => format!("{above}.{key}"),
    }
}

fn three(
    local: Option<&Value>,
    remote: Option<&Value>,
    agreed: Option<&Value>,
) -> Three<Option<Value>> {
    Three {
        local: local.cloned(),
        remote: remote.cloned(),
        agreed: agreed.cloned(),
    }
}

/// Reads signac's expressions for keys, which must match from the beginning.
///
/// # Errors
///
/// Fails if it is no regular expression.
pub fn key_pattern(text: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!("^(?:{text})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pyjson::parse;
    use proptest::prelude::*;

    fn object(text: &str) -> Object {
        parse(text).expect("JSON").into_object().expect("an object")
    }

    fn merged(
        base: &str,
        local: &str,
        remote: &str,
        rule: &KeyRule,
    ) -> (String, String, String, String) {
        let merged = merge(
            Some(&object(base)),
            &object(local),
            &object(remote),
            rule,
            Direction::Both,
        );
        (
            merged.local.dumps(),
            merged.remote.dumps(),
            merged.agreed.dumps(),
            merged.conflicts.join(" "),
        )
    }

    #[track_caller]
    fn check(base: &str, local: &str, remote: &str, expected: &str) {
        let (here, there, agreed, conflicts) = merged(base, local, remote, &KeyRule::default());
        assert_eq!((here.as_str(), conflicts.as_str()), (expected, ""));
        assert_eq!(object(&here), object(&there));
        assert_eq!(object(&here), object(&agreed));
    }

    #[test]
    fn changes_of_one_side_are_taken() {
        check("{}", r#"{"a": 1}"#, r#"{"b": 2}"#, r#"{"a": 1, "b": 2}"#);
        check(
            r#"{"a": 1, "b": 1}"#,
            r#"{"a": 2, "b": 1}"#,
            r#"{"a": 1}"#,
            r#"{"a": 2}"#,
        );
        check(
            r#"{"a": {"x": 1, "y": [1]}}"#,
            r#"{"a": {"x": 2, "y": [1]}}"#,
            r#"{"a": {"x": 1, "y": [1, 2], "z": null}}"#,
            r#"{"a": {"x": 2, "y": [1, 2], "z": null}}"#,
        );
        // A change wins over a removal, and the same change is none.
        check(r#"{"a": 1}"#, "{}", r#"{"a": 2}"#, r#"{"a": 2}"#);
        check(
            r#"{"a": 1}"#,
            r#"{"a": NaN}"#,
            r#"{"a": NaN}"#,
            r#"{"a": NaN}"#,
        );
        check(r#"{"a": 0}"#, r#"{"a": 1}"#, r#"{"a": 1.0}"#, r#"{"a": 1}"#);
    }

    #[test]
    fn a_key_that_both_changed_is_left_and_the_others_are_merged() {
        let (base, here, there) = (
            r#"{"a": {"x": 1}, "b": 1}"#,
            r#"{"a": {"x": 2}, "b": 1, "c": 3}"#,
            r#"{"b": 5, "a": {"x": 3}}"#,
        );
        let found = merged(base, here, there, &KeyRule::default());
        assert_eq!(found.0, r#"{"a": {"x": 2}, "b": 5, "c": 3}"#);
        assert_eq!(found.1, r#"{"b": 5, "a": {"x": 3}, "c": 3}"#);
        assert_eq!(found.2, r#"{"a": {"x": 1}, "b": 5, "c": 3}"#);
        assert_eq!(found.3, "a.x");
        let rule = KeyRule {
            from_remote: Some(key_pattern("a").expect("a pattern")),
            ..KeyRule::default()
        };
        let found = merged(base, here, there, &rule);
        assert_eq!(
            (found.0.as_str(), found.3.as_str()),
            (r#"{"a": {"x": 3}, "b": 5, "c": 3}"#, "")
        );
        let rule = KeyRule {
            prefer: Some(Whose::Local),
            ..KeyRule::default()
        };
        assert_eq!(
            merged(base, here, there, &rule).1,
            r#"{"b": 5, "a": {"x": 2}, "c": 3}"#
        );
    }

    #[test]
    fn one_direction_leaves_the_other_side_as_it_is() {
        let (base, here, there) = (
            object(r#"{"a": 1}"#),
            object(r#"{"a": 2}"#),
            object(r#"{"a": 1, "b": 2}"#),
        );
        let rule = KeyRule::default();
        let found = merge(Some(&base), &here, &there, &rule, Direction::Pull);
        assert_eq!(found.local.dumps(), r#"{"a": 2, "b": 2}"#);
        assert_eq!(
            (&found.remote, found.agreed.dumps().as_str()),
            (&there, r#"{"a": 1, "b": 2}"#)
        );
        let again = merge(
            Some(&found.agreed),
            &found.local,
            &there,
            &rule,
            Direction::Both,
        );
        assert_eq!((again.remote, again.conflicts.len()), (found.local, 0));
    }

    /// With a step for each pair of keys, this would not end soon.
    #[test]
    fn documents_may_have_many_keys() {
        let many = |first: usize, text: &str| -> Object {
            let entries = (first..first + 20_000).map(|n| {
                let inner = (0..n % 3).map(|n| (PyStr::from(n.to_string().as_str()), text.into()));
                let inner: Object = inner.collect();
                (PyStr::from(n.to_string().as_str()), Value::Object(inner))
            });
            entries.collect()
        };
        let (base, here, there) = (many(0, "x"), many(7, "x"), many(5, "y"));
        let lists = |object: &Object| {
            let list = Value::List(vec![Value::Object(object.clone()), "end".into()]);
            [(PyStr::from("list"), list)]
                .into_iter()
                .collect::<Object>()
        };
        let rule = KeyRule::default();
        let found = merge(Some(&base), &here, &there, &rule, Direction::Both);
        // New ones that both have, and one that was removed here and changed there.
        assert_eq!(found.conflicts.len(), 5);
        assert_eq!((found.local.len(), found.remote.len()), (20_001, 20_001));
        let (here, there) = (lists(&here), lists(&there));
        let found = merge(None, &here, &there, &rule, Direction::Both);
        assert_eq!(found.conflicts, ["list"]);
    }

    fn any_object() -> impl Strategy<Value = Object> {
        let leaf = prop::sample::select(vec![
            "1",
            "2",
            "\"x\"",
            "[1]",
            "{}",
            r#"{"p": 1}"#,
            r#"{"p": 2, "q": 1}"#,
        ]);
        prop::collection::btree_map("[a-d]", leaf, 0..4).prop_map(|map| {
            let parts: Vec<_> = map.iter().map(|(k, v)| format!("\"{k}\": {v}")).collect();
            object(&format!("{{{}}}", parts.join(", ")))
        })
    }

    #[test]
    fn merging_is_fair_and_settles() {
        proptest!(|(base in any_object(), a in any_object(), b in any_object())| {
            let rule = KeyRule::default();
            let one = merge(Some(&base), &a, &b, &rule, Direction::Both);
            let other = merge(Some(&base), &b, &a, &rule, Direction::Both);
            prop_assert_eq!(&one.agreed, &other.agreed);
            if one.conflicts.is_empty() {
                prop_assert_eq!(&one.local, &one.remote);
                prop_assert_eq!(&one.local, &one.agreed);
            }
            let again = merge(Some(&one.agreed), &one.local, &one.remote, &rule, Direction::Both);
            prop_assert_eq!(&again.local, &one.local);
            prop_assert_eq!(&again.remote, &one.remote);
            prop_assert_eq!(again.conflicts.len(), one.conflicts.len());
            // Who changes nothing gets what the other has.
            let alone = merge(Some(&base), &a, &base, &rule, Direction::Both);
            prop_assert_eq!(&alone.remote, &a);
        });
    }
}
