//! Conditions of operations: filters, and what they cannot ask.

use super::error::FilterError;
use super::expr::{Expr, Field};
use super::functions::Function;
use super::lexer::{Operator, Result};
use super::parse::{self, Parser, Probes};
use super::print::symbol;
use super::signac;
use super::test::Comparison;
use crate::pyjson::{PyStr, Value, dumps_str};
use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

/// When an operation may be executed on a job, or what it leaves there.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    expr: Expr<Probe>,
}

/// What is neither in a state point nor in a document. File names are relative to the job's
/// directory, which they do not leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// There is a regular file that matches a pattern of the shell, links followed.
    File(String),
    /// Both files are there, and the first is not older than the second.
    Newer(String, String),
    /// The file is there, and its size in bytes compares so with a number.
    Size(String, Comparison, u64),
    /// The operation is completed, in so far as it concerns the job.
    After(String),
    /// A command of the shell says so.
    Test {
        /// What is run, by `bash`.
        command: String,
        /// One process is asked about many jobs: it reads ids, a line each, and prints those for
        /// which the condition holds. Otherwise it is run per job, and its exit status is the
        /// answer.
        batch: bool,
    },
    /// It never holds.
    Never,
}

impl Condition {
    /// Reads a condition: the filter language, with more functions.
    ///
    /// # Errors
    ///
    /// Fails if the text is empty or no condition.
    pub fn parse(text: &str) -> std::result::Result<Self, FilterError> {
        let expr = match text.trim_start().starts_with('{') {
            true => signac::parse_json(text)?.widened(),
            false => parse::parse(text)?.0,
        };
        Ok(Self { expr })
    }

    /// Returns the condition.
    pub fn expr(&self) -> &Expr<Probe> {
        &self.expr
    }

    /// Returns what it asks besides filters.
    pub fn probes(&self) -> Vec<&Probe> {
        let mut probes = Vec::new();
        self.expr.push_probes(&mut probes);
        probes
    }

    /// Returns the fields that are tested, sorted, each once.
    pub fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        self.expr.push_fields(&mut fields);
        fields.sort();
        fields.dedup();
        fields
    }

    /// Returns the operations that it waits for.
    pub fn after(&self) -> BTreeSet<&str> {
        let names = self.probes().into_iter().filter_map(|probe| match probe {
            Probe::After(name) => Some(name.as_str()),
            _ => None,
        });
        names.collect()
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}

impl Expr<Probe> {
    /// Returns the same as a filter, if it asks nothing else.
    pub fn to_filter(&self) -> Option<Expr> {
        let all = |parts: &[Self]| {
            parts
                .iter()
                .map(Self::to_filter)
                .collect::<Option<Vec<_>>>()
        };
        Some(match self {
            Self::And(parts) => Expr::And(all(parts)?),
            Self::Or(parts) => Expr::Or(all(parts)?),
            Self::Not(part) => part.to_filter()?.negated(),
            Self::Test(field, test) => Expr::Test(field.clone(), test.clone()),
            Self::Probe(_) => return None,
        })
    }

    fn push_probes<'a>(&'a self, probes: &mut Vec<&'a Probe>) {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().for_each(|part| part.push_probes(probes));
            }
            Self::Not(part) => part.push_probes(probes),
            Self::Test(..) => {}
            Self::Probe(probe) => probes.push(probe),
        }
    }
}

impl Expr {
    fn widened(self) -> Expr<Probe> {
        let all = |parts: Vec<Self>| parts.into_iter().map(Self::widened).collect();
        match self {
            Self::And(parts) => Expr::And(all(parts)),
            Self::Or(parts) => Expr::Or(all(parts)),
            Self::Not(part) => part.widened().negated(),
            Self::Test(field, test) => Expr::Test(field, test),
            Self::Probe(never) => match never {},
        }
    }
}

impl Display for Probe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = |text: &str| dumps_str(&PyStr::from(text));
        match self {
            Self::File(name) => write!(f, "file({})", text(name)),
            Self::Newer(out, input) => write!(f, "newer({}, {})", text(out), text(input)),
            Self::Size(name, comparison, size_bytes) => {
                let symbol = symbol(*comparison);
                write!(f, "size({}){symbol}{size_bytes}", text(name))
            }
            Self::After(name) => write!(f, "after({})", text(name)),
            Self::Test { command, batch } => {
                let batch = if *batch { ", batch=true" } else { "" };
                write!(f, "test({}{batch})", text(command))
            }
            Self::Never => f.write_str("never"),
        }
    }
}

impl Probes for Probe {
    const EMPTY: (&'static str, &'static str) = (
        "the condition is empty",
        "leave it out if nothing is to be asked",
    );

    const FUNCTIONS: &'static [Function<Self>] = &[
        ("file", "file(\"NAME\")", |parser| parser.file()),
        ("newer", "newer(\"OUTPUT\", \"INPUT\")", |parser| {
            parser.newer()
        }),
        ("size", "size(\"NAME\") > BYTES", |parser| parser.size()),
        ("after", "after(\"OPERATION\")", |parser| parser.after()),
        ("test", "test(\"COMMAND\")", |parser| parser.test()),
        ("never", "never", |parser| parser.never()),
    ];

    fn word(word: &str) -> Option<Self> {
        (word == "never").then_some(Self::Never)
    }
}

impl Parser<'_, Probe> {
    fn file(&mut self) -> Result<Expr<Probe>> {
        let name = self.file_name()?;
        self.close_call()?;
        Ok(Expr::Probe(Probe::File(name)))
    }

    fn newer(&mut self) -> Result<Expr<Probe>> {
        let output = self.file_name()?;
        self.comma()?;
        let input = self.file_name()?;
        self.close_call()?;
        Ok(Expr::Probe(Probe::Newer(output, input)))
    }

    fn size(&mut self) -> Result<Expr<Probe>> {
        let name = self.file_name()?;
        self.close_call()?;
        if !self.lexer.at_operator() {
            return Err(self.lexer.expected("a comparison"));
        }
        let start = self.lexer.at;
        let Operator::Compare(comparison) = self.lexer.operator()? else {
            let span = start..self.lexer.at;
            return Err(self.lexer.error(span, "sizes are compared with numbers"));
        };
        self.lexer.peek_token();
        let start = self.lexer.at;
        let size_bytes = match self.lexer.literal()? {
            Value::Int(int) => int.to_string().parse().ok(),
            _ => None,
        };
        let Some(size_bytes) = size_bytes else {
            let span = start..self.lexer.at;
            return Err(self.lexer.error(span, "expected a number of bytes"));
        };
        Ok(Expr::Probe(Probe::Size(name, comparison, size_bytes)))
    }

    fn after(&mut self) -> Result<Expr<Probe>> {
        let name = self.utf8()?;
        self.close_call()?;
        Ok(Expr::Probe(Probe::After(name)))
    }

    fn test(&mut self) -> Result<Expr<Probe>> {
        let command = self.utf8()?;
        let batch = self.lexer.eat(',');
        if batch && !(self.lexer.eat_word("batch") && self.is_set()?) {
            return Err(self.lexer.expected("`batch=true`"));
        }
        self.close_call()?;
        Ok(Expr::Probe(Probe::Test { command, batch }))
    }

    /// Reads `=true`, which may be left out.
    fn is_set(&mut self) -> Result<bool> {
        if !self.lexer.at_operator() {
            return Ok(true);
        }
        let is_equal = matches!(self.lexer.operator()?, Operator::Compare(Comparison::Eq));
        Ok(is_equal && self.lexer.literal()? == Value::Bool(true))
    }

    fn never(&mut self) -> Result<Expr<Probe>> {
        self.close_call()?;
        Ok(Expr::Probe(Probe::Never))
    }

    fn utf8(&mut self) -> Result<String> {
        self.lexer.peek_token();
        let start = self.lexer.at;
        let text = self.text()?;
        let span = start..self.lexer.at;
        let text = text.to_str().filter(|text| !text.contains('\0'));
        text.map(ToOwned::to_owned).ok_or_else(|| {
            self.lexer
                .error(span, "the text holds what no file name can")
        })
    }

    /// Reads the name of a file in the job's directory.
    fn file_name(&mut self) -> Result<String> {
        self.lexer.peek_token();
        let start = self.lexer.at;
        let name = self.utf8()?;
        let fault = match name.as_str() {
            "" => "the name of a file is empty",
            _ if name.starts_with('/') => "the name of a file is relative to the job's directory",
            _ if name.split('/').any(|part| matches!(part, "" | "." | "..")) => {
                "the name of a file has no `.`, `..` or empty part"
            }
            _ => return Ok(name),
        };
        Err(self.lexer.error(start..self.lexer.at, fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let condition = Condition::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(condition.to_string(), expected, "{text}");
        assert_eq!(Condition::parse(expected), Ok(condition));
    }

    #[track_caller]
    fn check_error(text: &str, message: &str, hint: &str) {
        let error = Condition::parse(text).expect_err(text);
        assert_eq!(error.to_string(), message, "{text}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{error:?}");
    }

    #[test]
    fn conditions_are_filters_and_more() {
        check("doc.distance", "doc.distance");
        check("file('a b/*.csv')", r#"file("a b/*.csv")"#);
        check(
            "file(out.dat) and not a=1",
            r#"file("out.dat") and not a=1"#,
        );
        check(r#"newer("out", 'in')"#, r#"newer("out", "in")"#);
        check(
            "size(f)>0 or size('g') == 12",
            r#"size("f")>0 or size("g")=12"#,
        );
        check("not (after(x) or never)", r#"not (after("x") or never)"#);
        check("never()", "never");
        check("never=1 or \"never\"", "sp.never=1 or sp.never");
        check(r#"test("grep -q 'x' f")"#, r#"test("grep -q 'x' f")"#);
        check("test('x', batch = true)", r#"test("x", batch=true)"#);
        check(r#"{"a": {"$gt": 1}}"#, "a>1");
    }

    #[test]
    fn mistakes_are_told() {
        check_error("", "the condition is empty", "leave it out");
        check_error("fiel('x')", "unknown function `fiel` at column 1", "`file`");
        check_error(
            "file()",
            "expected a value, found `)` at column 6",
            "empty text",
        );
        check_error(
            "file('/x')",
            "the name of a file is relative to the job's directory at column 6",
            "file(",
        );
        check_error(
            "file('a/../b')",
            "the name of a file has no `.`, `..` or empty part at column 6",
            "",
        );
        check_error(
            "size('f')",
            "expected a comparison, found the end at column 10",
            "size(",
        );
        check_error("size('f')>x", "expected a number of bytes at column 11", "");
        check_error(
            "size('f')>-1",
            "expected a number of bytes at column 11",
            "",
        );
        check_error(
            "test('x', batch=false)",
            "expected `batch=true`, found `)` at column 22",
            "",
        );
        check_error(
            "after(x) = 3",
            "comparisons cannot be chained at column 10",
            "",
        );
    }

    #[test]
    fn what_is_asked_can_be_listed() {
        let condition =
            Condition::parse("after(b) and (after(a) or not after(b)) and c").expect("sound");
        assert_eq!(condition.after(), BTreeSet::from(["a", "b"]));
        assert_eq!(condition.probes().len(), 3);
        assert_eq!(condition.expr().to_filter(), None);
        let filter = Condition::parse("a=1 and not b").expect("sound");
        assert!(filter.expr().to_filter().is_some());
    }
}
