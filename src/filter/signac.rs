//! signac's filters: JSON objects, and pairs of tokens.
//!
//! Source: signac 2.4.1, `filterparse.py` and `_search_indexer.py`.

use super::error::{FilterError, nearest, quoted};
use super::expr::{Expr, Field, Space};
use super::functions::kind_hint;
use super::pattern::Pattern;
use super::test::{Comparison, Near, Test};
use super::values::Kinds;
use crate::pyjson::{Object, PyStr, Value, cast_float, cast_number, dumps_str, parse};
use crate::statepoint::{Key, push_part};

/// `$and`, `$or`, `$not` and objects may be nested this deeply.
const DEPTH_MAX: usize = 100;

const OPERATORS: [&str; 12] = [
    "$eq", "$ne", "$lt", "$lte", "$gt", "$gte", "$in", "$nin", "$exists", "$type", "$regex",
    "$near",
];

const LOGICAL: [&str; 3] = ["$and", "$or", "$not"];

type Result<T> = std::result::Result<T, FilterError>;

/// Reads a JSON filter.
pub(super) fn parse_json(text: &str) -> Result<Expr> {
    let object = parse_argument(text)?.into_object().map_err(|other| {
        let message = format!(
            "a filter in JSON must be an object, not {}",
            other.type_name()
        );
        FilterError::new(text, message)
    })?;
    Reader { text }.filter(&object, 0)
}

/// Reads pairs of a key and a value, of which the last value may be missing. Returns what signac
/// says about them, too.
pub(super) fn parse_tokens(tokens: &[&str]) -> Result<(Expr, Vec<String>)> {
    let text = tokens.join(" ");
    let mut notes = Vec::new();
    let mut object = Object::new();
    for pair in tokens.chunks(2) {
        if is_json_like(pair[0]) {
            let message = format!("expected a key, found {}", quoted(pair[0]));
            let hint = "give a filter in JSON alone, or keys and values in pairs";
            return Err(FilterError::new(&text, message).with_hint(hint));
        }
        let value = match pair.get(1) {
            None | Some(&"!") => single("$exists", Value::Bool(true)),
            Some(value) => token_value(value, &mut notes)?,
        };
        object.insert(pair[0].into(), value);
    }
    notes.push(format!(
        "Interpreted filter arguments as '{}'.",
        object.dumps()
    ));
    let expr = Reader { text: &text }.filter(&object, 0)?;
    Ok((expr, notes))
}

fn single(key: &str, value: Value) -> Value {
    let mut object = Object::new();
    object.insert(key.into(), value);
    Value::Object(object)
}

fn is_json_like(token: &str) -> bool {
    (token.starts_with('{') && token.ends_with('}'))
        || (token.starts_with('[') && token.ends_with(']'))
}

fn token_value(token: &str, notes: &mut Vec<String>) -> Result<Value> {
    if is_json_like(token) {
        return parse_argument(token);
    }
    if let Some(rest) = token.strip_prefix('/').filter(|_| token.ends_with('/')) {
        return Ok(single(
            "$regex",
            rest.strip_suffix('/').unwrap_or_default().into(),
        ));
    }
    let meant = match token {
        "true" => return Ok(Value::Bool(true)),
        "false" => return Ok(Value::Bool(false)),
        "null" => return Ok(Value::Null),
        "True" => Some("true"),
        "False" => Some("false"),
        "None" | "none" => Some("null"),
        _ => None,
    };
    notes.extend(meant.map(|meant| format!("Did you mean {meant}?")));
    Ok(cast_number(token).unwrap_or_else(|| token.into()))
}

fn parse_argument(text: &str) -> Result<Value> {
    parse(text).map_err(|error| {
        let at = error.offset_in(text);
        let end = at + text[at..].chars().next().map_or(0, char::len_utf8);
        FilterError::new(text, format!("malformed JSON: {}", error.what)).at(at..end)
    })
}

/// Turns JSON into conditions; the text serves messages.
struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn filter(&self, object: &Object, depth: usize) -> Result<Expr> {
        self.check_depth(depth)?;
        let mut parts = Vec::new();
        for (key, value) in object.iter() {
            match key.to_str() {
                Some(name @ ("$and" | "$or")) => parts.push(self.junction(name, value, depth)?),
                Some("$not") => match value {
                    Value::Object(inner) => parts.push(self.filter(inner, depth + 1)?.negated()),
                    _ => return Err(self.wrong_argument("$not", "an object", value)),
                },
                Some(name) if name.starts_with('$') => return Err(self.no_key(name)),
                _ => self.entry(key.as_bytes(), value, depth, &mut parts)?,
            }
        }
        Ok(Expr::all(parts))
    }

    fn check_depth(&self, depth: usize) -> Result<()> {
        if depth <= DEPTH_MAX {
            return Ok(());
        }
        let message = format!("the filter is nested more than {DEPTH_MAX} levels deep");
        Err(FilterError::new(self.text, message))
    }

    fn junction(&self, name: &str, value: &Value, depth: usize) -> Result<Expr> {
        let Value::List(items) = value else {
            return Err(self.wrong_argument(name, "a list of filters", value));
        };
        if items.is_empty() {
            return Err(self.error(name, format!("the list of `{name}` is empty")));
        }
        let filter = |item: &Value| match item {
            Value::Object(inner) => self.filter(inner, depth + 1),
            _ => Err(self.wrong_argument(name, "a list of filters", item)),
        };
        let parts = items.iter().map(filter).collect::<Result<Vec<_>>>()?;
        Ok(if name == "$and" {
            Expr::all(parts)
        } else {
            Expr::any(parts)
        })
    }

    /// Reads what stands at a key: an object leads to the keys below.
    fn entry(&self, key: &[u8], value: &Value, depth: usize, parts: &mut Vec<Expr>) -> Result<()> {
        self.check_depth(depth)?;
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                for (part, value) in inner.iter() {
                    let mut below = key.to_vec();
                    below.push(b'.');
                    below.extend_from_slice(part.as_bytes());
                    self.entry(&below, value, depth + 1, parts)?;
                }
            }
            _ => parts.push(self.leaf(key, value)?),
        }
        Ok(())
    }

    fn leaf(&self, key: &[u8], value: &Value) -> Result<Expr> {
        if key.contains(&b'$') {
            return self.operation(key, value);
        }
        Ok(Expr::Test(
            field(key),
            match value {
                // An object matches in part, and every object has all keys of the empty one.
                Value::Object(_) => Test::Type(Kinds::OBJECTS),
                _ => Test::Compare(Comparison::Eq, value.clone()),
            },
        ))
    }

    fn operation(&self, dotted: &[u8], value: &Value) -> Result<Expr> {
        let n_before = dotted.iter().rposition(|&b| b == b'.').unwrap_or(0);
        let (key, last) = dotted.split_at(n_before);
        let name =
            PyStr::from_encoded(last.strip_prefix(b".").unwrap_or(last).to_vec()).to_string();
        let n_dollars = dotted.iter().filter(|&&b| b == b'$').count();
        if n_dollars > 1 || !name.starts_with('$') {
            return Err(self.misplaced(dotted));
        }
        let field = field(key);
        let test = match name.as_str() {
            "$exists" => match value {
                Value::Bool(true) => Test::Exists,
                Value::Bool(false) => return Ok(Expr::Test(field, Test::Exists).negated()),
                _ => return Err(self.wrong_argument("$exists", "true or false", value)),
            },
            "$nin" => match value {
                Value::Str(text) => {
                    let within = Expr::Test(field.clone(), Test::Within(text.clone()));
                    return Ok(Expr::And(vec![
                        Expr::Test(field, Test::Exists),
                        within.negated(),
                    ]));
                }
                _ => Test::NoneOf(self.items("$nin", value)?),
            },
            name => self.test(name, value)?,
        };
        Ok(Expr::Test(field, test))
    }

    fn test(&self, name: &str, value: &Value) -> Result<Test> {
        let compare = |comparison| Ok(Test::Compare(comparison, value.clone()));
        match name {
            "$eq" => compare(Comparison::Eq),
            "$ne" => compare(Comparison::Ne),
            "$lt" => compare(Comparison::Lt),
            "$lte" => compare(Comparison::Le),
            "$gt" => compare(Comparison::Gt),
            "$gte" => compare(Comparison::Ge),
            "$in" => match value {
                Value::Str(text) => Ok(Test::Within(text.clone())),
                _ => Ok(Test::OneOf(self.items("$in", value)?)),
            },
            "$type" => self.kind(value).map(Test::Type),
            "$regex" => self.pattern(value).map(Test::Regex),
            "$near" => self.near(value).map(Test::Near),
            _ => Err(self.unknown(name)),
        }
    }

    fn items<T: FromIterator<Value>>(&self, name: &str, value: &Value) -> Result<T> {
        match value {
            Value::List(items) => Ok(items.iter().cloned().collect()),
            _ => Err(self.wrong_argument(name, "a list or a string", value)),
        }
    }

    fn kind(&self, value: &Value) -> Result<Kinds> {
        let Value::Str(name) = value else {
            return Err(self.wrong_argument("$type", "the name of a type", value));
        };
        let name = name.to_string();
        Kinds::named_by_signac(&name).ok_or_else(|| {
            self.error(&name, format!("unknown type {}", quoted(&name)))
                .with_hint(kind_hint(&name))
        })
    }

    fn pattern(&self, value: &Value) -> Result<Pattern> {
        let Value::Str(source) = value else {
            return Err(self.wrong_argument("$regex", "a pattern", value));
        };
        let Some(text) = source.to_str() else {
            return Err(self.error("$regex", "a pattern cannot hold a lone surrogate"));
        };
        Pattern::new(text).map_err(|error| {
            // The place is known exactly where the pattern stands in the text as it is.
            let shown = match self.text.find(text).filter(|_| !text.is_empty()) {
                Some(at) => FilterError::new(self.text, error.message)
                    .at(at + error.span.start..at + error.span.end),
                None => self.error("$regex", error.message),
            };
            match error.hint {
                Some(hint) => shown.with_hint(hint),
                None => shown,
            }
        })
    }

    fn near(&self, value: &Value) -> Result<Near> {
        let numbers = match value {
            Value::List(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        let wrong = || self.wrong_argument("$near", "a number, or a list of one to three", value);
        if !(1..=3).contains(&numbers.len()) {
            return Err(wrong());
        }
        let numbers: Option<Vec<_>> = numbers.iter().map(float).collect();
        let numbers = numbers.ok_or_else(wrong)?;
        if numbers[1..].iter().any(|tolerance| *tolerance < 0.0) {
            return Err(self.error("$near", "a tolerance cannot be negative"));
        }
        Ok(Near {
            value: numbers[0],
            rel: numbers.get(1).copied().unwrap_or(Near::REL_DEFAULT),
            abs: numbers.get(2).copied().unwrap_or(0.0),
        })
    }

    /// An error about a word of the filter, which is marked where it is found in the text.
    fn error(&self, word: &str, message: impl Into<String>) -> FilterError {
        let error = FilterError::new(self.text, message);
        let in_quotes = dumps_str(&word.into());
        let found = [in_quotes.as_str(), word]
            .into_iter()
            .filter(|text| !text.is_empty())
            .find_map(|text| self.text.find(text).map(|at| at..at + text.len()));
        match found {
            Some(span) => error.at(span),
            None => error,
        }
    }

    fn wrong_argument(&self, name: &str, expected: &str, found: &Value) -> FilterError {
        self.error(
            name,
            format!("`{name}` takes {expected}, not {}", found.type_name()),
        )
    }

    fn no_key(&self, name: &str) -> FilterError {
        match OPERATORS.contains(&name) || name == "$where" {
            true => self
                .error(name, format!("`{name}` stands at no key"))
                .with_hint(format!(
                    "write it below a key, as in {{\"a\": {{\"{name}\": …}}}}"
                )),
            false => self.unknown(name),
        }
    }

    fn unknown(&self, name: &str) -> FilterError {
        if name == "$where" {
            return self
                .error(name, "`$where` is Python code and cannot be run here")
                .with_hint("most conditions can be written with comparisons, `~` and `near`");
        }
        let error = self.error(name, format!("unknown operator {}", quoted(name)));
        if LOGICAL.contains(&name) {
            return error.with_hint(format!(
                "`{name}` stands around keys, as in {{\"{name}\": …}}"
            ));
        }
        error.with_hint(match nearest(name, OPERATORS.into_iter().chain(LOGICAL)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "the operators are {} {}",
                OPERATORS.join(" "),
                LOGICAL.join(" ")
            ),
        })
    }

    fn misplaced(&self, dotted: &[u8]) -> FilterError {
        let key = PyStr::from_encoded(dotted.to_vec()).to_string();
        let word = key
            .split('.')
            .find(|part| part.contains('$'))
            .unwrap_or_default();
        let error = self.error(
            word,
            format!("{} is no key followed by one operator", quoted(&key)),
        );
        error.with_hint(if LOGICAL.contains(&word) {
            format!("`{word}` stands around keys, as in {{\"{word}\": …}}")
        } else if OPERATORS.contains(&word) {
            format!(
                "the operator stands behind the whole key, as in {{\"a.b\": {{\"{word}\": …}}}}"
            )
        } else {
            "write keys that hold a `$` in an expression, as in `\"a$b\"=1`".to_owned()
        })
    }
}

/// Python's `float()`.
fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::Int(int) => int.to_float(),
        Value::Float(float) => Some(*float),
        Value::Str(text) => cast_float(text.to_str()?),
        Value::Null | Value::List(_) | Value::Object(_) => None,
    }
}

/// Splits the prefix from a key. A dot always separates names.
fn field(dotted: &[u8]) -> Field {
    let (space, rest) = match dotted {
        b"sp" => (Space::StatePoint, None),
        b"doc" => (Space::Document, None),
        _ => match (dotted.strip_prefix(b"sp."), dotted.strip_prefix(b"doc.")) {
            (Some(rest), _) => (Space::StatePoint, Some(rest)),
            (_, Some(rest)) => (Space::Document, Some(rest)),
            (None, None) => (Space::StatePoint, Some(dotted)),
        },
    };
    Field {
        space,
        key: rest.map(|rest| Key::from_dotted(&escaped(rest))),
    }
}

/// Takes the text `%2E` literally, which stands for a dot in a [`Key`].
fn escaped(dotted: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(dotted.len());
    for (i, part) in dotted.split(|&byte| byte == b'.').enumerate() {
        if i > 0 {
            out.push(b'.');
        }
        push_part(&mut out, &PyStr::from_encoded(part.to_vec()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Filter;
    use super::*;

    /// Checks what arguments mean by how they are printed.
    #[track_caller]
    fn check(args: &[&str], expected: &str) {
        let filter = Filter::parse_args(args).unwrap_or_else(|error| panic!("{args:?}: {error}"));
        assert_eq!(filter.to_string(), expected, "{args:?}");
        let again = Filter::parse(expected).unwrap_or_else(|error| panic!("{expected}: {error}"));
        assert_eq!(again.to_string(), expected);
    }

    /// Checks the message with its column, and the hint.
    #[track_caller]
    fn check_error(args: &[&str], message: &str, hint: &str) {
        let error = Filter::parse_args(args).expect_err("no filter");
        assert_eq!(error.to_string(), message, "{args:?}");
        assert!(
            error.hint().unwrap_or_default().contains(hint),
            "{args:?}: {error:?}"
        );
        assert!(
            !hint.is_empty() || error.hint().is_none(),
            "{args:?}: {error:?}"
        );
    }

    #[test]
    fn json_filters_are_flattened() {
        check(&["{}"], "all()");
        check(
            &[r#"{"a": 1, "n": {"x": {"$gt": 1}}, "doc.k": null}"#],
            "a=1 and n.x>1 and doc.k=null",
        );
        check(
            &[r#"{"sp": {"a": 1}, "doc": {"b": {"c": 2}}}"#],
            "a=1 and doc.b.c=2",
        );
        check(&[r#"{"a": {"$gt": 0, "$lt": 3}}"#], "a>0 and a<3");
        check(&[r#"{"n": {}}"#], "type(n)=object");
        check(&[r#"{"doc": {"$exists": false}}"#], "not exists(doc)");
        check(
            &[r#"{"sp.sp.x": 1, "sp.doc": 2}"#],
            "sp.sp.x=1 and sp.doc=2",
        );
        check(&[r#"{"a%2Eb": 1}"#], "\"a%2Eb\"=1");
    }

    #[test]
    fn operators_have_their_meaning() {
        check(&[r#"{"a.$eq": 1, "b": {"$ne": "x"}}"#], "a=1 and b!=x");
        check(&[r#"{"a": {"$lte": 1, "$gte": 0.5}}"#], "a<=1 and a>=0.5");
        check(&[r#"{"a": {"$in": [2, "x", 1]}}"#], "a=1,2,x");
        check(
            &[r#"{"a": {"$in": []}, "b": {"$nin": []}}"#],
            "none() and exists(b)",
        );
        check(&[r#"{"a": {"$in": "foobar"}}"#], "within(a, \"foobar\")");
        check(
            &[r#"{"a": {"$nin": "foobar"}}"#],
            "exists(a) and not within(a, \"foobar\")",
        );
        check(
            &[r#"{"a": {"$type": "int"}, "b": {"$type": "list"}}"#],
            "type(a)=int,bool and type(b)=list",
        );
        check(&[r#"{"a": {"$regex": "it's"}}"#], r"a ~ 'it\'s'");
        check(
            &[r#"{"a": {"$near": [1, "0.5"]}, "b.$near": true}"#],
            "near(a, 1.0, 0.5, 0.0) and near(b, 1.0, 1e-09, 0.0)",
        );
        check(
            &[r#"{"a": {"$eq": {}}, "b": {"$ne": {}}}"#],
            "none() and exists(b)",
        );
    }

    #[test]
    fn conditions_are_combined() {
        check(
            &[r#"{"$or": [{"a": 1}, {"b": 2, "c": 3}]}"#],
            "a=1 or b=2 and c=3",
        );
        check(
            &[r#"{"$and": [{}, {"$not": {"a": 1, "b": 2}}]}"#],
            "all() and not (a=1 and b=2)",
        );
        check(&[r#"{"$not": {}}"#], "not all()");
    }

    #[test]
    fn tokens_are_pairs() {
        check(&["a"], "exists(a)");
        check(&["a", "5"], "a=5");
        check(&["a", "-5"], "a=-5");
        check(&["a", "!"], "exists(a)");
        check(&["a", "1_000", "b"], "a=1000 and exists(b)");
        check(&["a", "1", "a", "2"], "a=2");
        check(&["a", "/x|(y)=/"], "a ~ 'x|(y)='");
        check(&["a", "/"], "a ~ ''");
        check(&["a.$gt", "5", "b.$in", "[1,2]"], "a>5 and b=1,2");
        check(&["$or", r#"[{"a": 1}, {"a": 2}]"#], "a=1 or a=2");
        check(&["doc.k", "true"], "doc.k=true");
        check(&["a", ""], "a=\"\"");
        check(&["s", "salt and pepper"], "s=\"salt and pepper\"");
        check(&["name", "\"5\""], "name=\"\\\"5\\\"\"");
    }

    #[test]
    fn other_arguments_are_expressions() {
        check(&[], "all()");
        check(&["a=1", "b"], "a=1 and b");
        check(&["a=1 or b=2", "c"], "(a=1 or b=2) and c");
        check(&["a=1", r#"{"b": 2}"#], "a=1 and b=2");
        check(&["x=-1"], "x=-1");
        check(&["x>-1.5e-3"], "x>-0.0015");
        check(&["not a"], "not a");
        check(&["a and b"], "a and b");
        check(&["a in [1, 2]"], "a=1,2");
        check(&["a", "=", "5"], "a=5");
        check(&["a=1", "and", "not", "b"], "a=1 and not b");
    }

    #[test]
    fn notes_are_those_of_signac() {
        let notes = |args: &[&str]| Filter::parse_args(args).expect("a filter").notes().to_vec();
        assert_eq!(
            notes(&["a", "True", "b", "none"]),
            [
                "Did you mean true?",
                "Did you mean null?",
                r#"Interpreted filter arguments as '{"a": "True", "b": "none"}'."#
            ]
        );
        assert!(notes(&[r#"{"a": 1}"#]).is_empty());
        assert!(notes(&["a=1"]).is_empty());
    }

    #[test]
    fn mistakes_are_named() {
        check_error(
            &[r#"{"a": {"$gte ": 1}}"#],
            "unknown operator `$gte ` at column 8",
            "did you mean `$gte`?",
        );
        check_error(
            &[r#"{"a": {"$where": "lambda x: x"}}"#],
            "`$where` is Python code and cannot be run here at column 8",
            "comparisons",
        );
        check_error(
            &[r#"{"a": {"$exists": 1}}"#],
            "`$exists` takes true or false, not an integer at column 8",
            "",
        );
        check_error(
            &[r#"{"a": {"$in": 1}}"#],
            "`$in` takes a list or a string, not an integer at column 8",
            "",
        );
        check_error(
            &[r#"{"a": {"$near": []}}"#],
            "`$near` takes a number, or a list of one to three, not a list at column 8",
            "",
        );
        check_error(
            &[r#"{"a": {"$near": "x"}}"#],
            "`$near` takes a number, or a list of one to three, not a string at column 8",
            "",
        );
        check_error(
            &[r#"{"a": {"$near": [1, -1]}}"#],
            "a tolerance cannot be negative at column 8",
            "",
        );
        check_error(
            &[r#"{"a": {"$type": "dict"}}"#],
            "unknown type `dict` at column 17",
            "did you mean `object`?",
        );
        check_error(
            &[r#"{"a": {"$regex": "x("}}"#],
            "the pattern does not compile: unclosed group at column 19",
            "",
        );
        check_error(
            &[r#"{"$or": []}"#],
            "the list of `$or` is empty at column 2",
            "",
        );
        check_error(
            &[r#"{"$and": {"a": 1}}"#],
            "`$and` takes a list of filters, not an object at column 2",
            "",
        );
        check_error(
            &[r#"{"$not": [1]}"#],
            "`$not` takes an object, not a list at column 2",
            "",
        );
        check_error(
            &[r#"{"$gt": 1}"#],
            "`$gt` stands at no key at column 2",
            "below a key",
        );
        check_error(
            &[r#"{"$ro": 1}"#],
            "unknown operator `$ro` at column 2",
            "did you mean `$or`?",
        );
        check_error(
            &[r#"{"a": {"$not": {"$gt": 1}}}"#],
            "`a.$not.$gt` is no key followed by one operator at column 8",
            "around keys",
        );
        check_error(
            &[r#"{"a": {"$or": [1]}}"#],
            "unknown operator `$or` at column 8",
            "around keys",
        );
        check_error(
            &[r#"{"a$b": 1}"#],
            "`a$b` is no key followed by one operator at column 2",
            "\"a$b\"=1",
        );
        check_error(
            &[r#"{"a": {"$eq": {"b": 1}}}"#],
            "`a.$eq.b` is no key followed by one operator at column 8",
            "behind the whole key",
        );
    }

    #[test]
    fn malformed_arguments_are_errors() {
        check_error(
            &["{bad"],
            "malformed JSON: expected a key in double quotes at column 2",
            "",
        );
        check_error(
            &["a", "{bad}"],
            "malformed JSON: expected a key in double quotes at column 2",
            "",
        );
        check_error(&["[]"], "expected a key, found `[]`", "JSON alone");
        check_error(
            &["a", "1", r#"[1]"#],
            "expected a key, found `[1]`",
            "JSON alone",
        );
        check_error(&[""], "the filter is empty", "leave it out");
        check_error(&["a=1", ""], "the filter is empty", "leave it out");
    }

    #[test]
    fn nesting_is_limited() {
        let deep = |open: &str, close: &str, n: usize| {
            format!("{}{{}}{}", open.repeat(n), close.repeat(n))
        };
        for (open, close) in [("{\"$not\":", "}"), ("{\"$and\":[", "]}"), ("{\"a\":", "}")] {
            assert!(parse_json(&deep(open, close, 100)).is_ok());
            let error = parse_json(&deep(open, close, 102)).expect_err("too deep");
            assert_eq!(
                error.message(),
                "the filter is nested more than 100 levels deep"
            );
            let error = parse_json(&deep(open, close, 100_000)).expect_err("too deep");
            assert_eq!(error.message(), "malformed JSON: nested too deeply");
        }
    }
}
