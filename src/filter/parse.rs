//! Our own expressions: from a text to its meaning.

use super::error::{FilterError, quoted};
use super::expr::{Expr, Field, Space};
use super::functions::Function;
use super::lexer::{Lexer, Operator, Result, constant};
use super::test::{Comparison, Test};
use crate::pyjson::Value;
use crate::statepoint::{Key, push_part};
use std::convert::Infallible;
use std::marker::PhantomData;
use std::ops::Range;

/// Parentheses and `not` may be nested this deeply.
const DEPTH_MAX: usize = 200;

/// Reads an expression; also returns what should be said about it.
pub(super) fn parse<P: Probes>(text: &str) -> Result<(Expr<P>, Vec<String>)> {
    let mut parser = Parser::new(text);
    if parser.lexer.peek_token().is_none() {
        let (message, hint) = P::EMPTY;
        return Err(FilterError::new(text, message).with_hint(hint));
    }
    let expr = parser.any_of()?;
    match parser.lexer.peek_token() {
        None => Ok((expr, parser.lexer.notes)),
        Some(_) => Err(parser.left_over()),
    }
}

/// Reads a key.
pub(super) fn parse_field(text: &str) -> Result<Field> {
    let mut parser: Parser<'_> = Parser::new(text);
    if parser.lexer.peek_token().is_none() {
        return Err(FilterError::new(text, "the key is empty"));
    }
    let field = parser.field()?;
    match parser.lexer.peek_token() {
        None => Ok(field),
        Some(_) => Err(parser.lexer.expected("the end of the key")),
    }
}

pub(super) struct Parser<'a, P = Infallible> {
    pub(super) lexer: Lexer<'a>,
    depth: usize,
    probes: PhantomData<P>,
}

/// What an expression may ask besides state point and document.
pub(super) trait Probes: Sized + 'static {
    /// What is wrong with an empty text, and a hint.
    const EMPTY: (&'static str, &'static str);
    /// Functions besides those that all expressions have.
    const FUNCTIONS: &'static [Function<Self>];

    /// Returns what a word means that stands alone, unless it is a key.
    fn word(word: &str) -> Option<Self>;
}

/// A filter asks nothing else.
impl Probes for Infallible {
    const EMPTY: (&'static str, &'static str) =
        ("the filter is empty", "leave it out to select all jobs");
    const FUNCTIONS: &'static [Function<Self>] = &[];

    fn word(_: &str) -> Option<Self> {
        None
    }
}

impl<'a, P> Parser<'a, P> {
    fn new(text: &'a str) -> Self {
        Self {
            lexer: Lexer::new(text),
            depth: 0,
            probes: PhantomData,
        }
    }
}

impl<P: Probes> Parser<'_, P> {
    fn any_of(&mut self) -> Result<Expr<P>> {
        let mut parts = vec![self.all_of()?];
        while self.lexer.eat_word("or") {
            parts.push(self.all_of()?);
        }
        Ok(Expr::any(parts))
    }

    fn all_of(&mut self) -> Result<Expr<P>> {
        let mut parts = vec![self.condition()?];
        while self.lexer.eat_word("and") {
            parts.push(self.condition()?);
        }
        Ok(Expr::all(parts))
    }

    fn condition(&mut self) -> Result<Expr<P>> {
        match self.lexer.peek_token() {
            Some('(') => self.parenthesis(),
            Some('"' | '\'') => self.comparison(),
            Some('!') if !self.lexer.rest().starts_with("!=") => {
                Err(self.lexer.expected("a condition"))
            }
            _ => self.condition_of_word(),
        }
    }

    fn condition_of_word(&mut self) -> Result<Expr<P>> {
        let word = self.lexer.peek_word();
        let span = self.lexer.at..self.lexer.at + word.len();
        let is_call = self.lexer.rest()[word.len()..].starts_with('(');
        match word {
            "" => Err(self
                .lexer
                .expected("a condition")
                .with_hint("conditions are like `a=1`")),
            "not" => {
                self.lexer.word();
                self.deeper(span, Self::condition).map(Expr::negated)
            }
            "and" | "or" => Err(self
                .lexer
                .error(
                    span,
                    format!("expected a condition, found the keyword `{word}`"),
                )
                .with_hint(format!("write `\"{word}\"` for the key"))),
            _ if is_call => self.function(word, span),
            _ if constant(word).is_some() => Err(self.value_for_key(word, span)),
            _ => match P::word(word) {
                Some(probe) if self.is_alone(word) => {
                    self.lexer.word();
                    Ok(Expr::Probe(probe))
                }
                _ => self.comparison(),
            },
        }
    }

    /// Tells whether a word that is next is a condition by itself.
    fn is_alone(&self, word: &str) -> bool {
        let rest = self.lexer.rest()[word.len()..].trim_start();
        let followers = [")", "and ", "or ", "and(", "or("];
        rest.is_empty() || followers.iter().any(|follower| rest.starts_with(follower))
    }

    /// `5<a`, `true` and the like.
    fn value_for_key(&mut self, word: &str, span: Range<usize>) -> FilterError {
        let message = format!("expected a key, found the value {}", quoted(word));
        let hint = "write the key first, as in `a=1`; put a key of that name into quotes";
        self.lexer.error(span, message).with_hint(hint)
    }

    fn parenthesis(&mut self) -> Result<Expr<P>> {
        let span = self.lexer.here();
        self.lexer.eat('(');
        let expr = self.deeper(span.clone(), Self::any_of)?;
        self.close(span)?;
        Ok(expr)
    }

    fn close(&mut self, opened: Range<usize>) -> Result<()> {
        if self.lexer.eat(')') {
            return Ok(());
        }
        Err(match self.lexer.peek() {
            None => self.lexer.error(opened, "`(` is never closed"),
            Some(_) => self.left_over(),
        })
    }

    /// Reads one level deeper, if that is not too deep.
    fn deeper(
        &mut self,
        span: Range<usize>,
        read: fn(&mut Self) -> Result<Expr<P>>,
    ) -> Result<Expr<P>> {
        if self.depth == DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} levels of parentheses and `not`");
            return Err(self.lexer.error(span, message));
        }
        self.depth += 1;
        let expr = read(self)?;
        self.depth -= 1;
        Ok(expr)
    }

    /// What stands behind a complete condition and does not belong there.
    fn left_over(&mut self) -> FilterError {
        if self.lexer.peek_token() == Some(')') && self.depth == 0 {
            return self.lexer.error(self.lexer.here(), "`)` was never opened");
        }
        let error = self.lexer.expected("`and`, `or` or the end");
        match self.lexer.peek_word() {
            word @ ("AND" | "OR" | "And" | "Or") => {
                error.with_hint(format!("write `{}`", word.to_lowercase()))
            }
            _ if error.hint().is_some() => error,
            _ => error.with_hint("join conditions with `and`; put texts with spaces into quotes"),
        }
    }

    fn comparison(&mut self) -> Result<Expr<P>> {
        let field = self.field()?;
        let expr = if self.lexer.at_operator() {
            match self.lexer.operator()? {
                Operator::Compare(comparison) => self.compared(field, comparison)?,
                Operator::Match => Expr::Test(field, Test::Regex(self.lexer.pattern()?)),
                Operator::NoMatch => Expr::Test(field, Test::NotRegex(self.lexer.pattern()?)),
            }
        } else {
            self.membership(field)?
        };
        self.refuse_chain()?;
        Ok(expr)
    }

    /// `a=1`, `a=1,2` or `a<1`.
    fn compared(&mut self, field: Field, comparison: Comparison) -> Result<Expr<P>> {
        let mut values = vec![self.lexer.literal()?];
        while self.lexer.peek_token() == Some(',') {
            let span = self.lexer.here();
            if !matches!(comparison, Comparison::Eq | Comparison::Ne) {
                return Err(self
                    .lexer
                    .error(span, "only `=` and `!=` take several values")
                    .with_hint("put texts with commas into quotes"));
            }
            self.lexer.eat(',');
            values.push(self.lexer.literal()?);
        }
        let test = match comparison {
            _ if values.len() == 1 => Test::Compare(comparison, values.remove(0)),
            Comparison::Ne => Test::NoneOf(values.into_iter().collect()),
            _ => Test::OneOf(values.into_iter().collect()),
        };
        Ok(Expr::Test(field, test))
    }

    /// `a`, `a in [1, 2]` or `a not in [1, 2]`.
    fn membership(&mut self, field: Field) -> Result<Expr<P>> {
        let negative = self.lexer.eat_word("not");
        if !self.lexer.eat_word("in") {
            return match negative {
                false => Ok(Expr::Test(field, Test::Truthy)),
                true => Err(self.lexer.expected("`in`")),
            };
        }
        if self.lexer.peek_token() != Some('[') {
            return Err(self
                .lexer
                .expected("a list")
                .with_hint("write `a in [1, 2]`, or `a=1,2`"));
        }
        let Value::List(values) = self.lexer.literal()? else {
            return Ok(Expr::Or(Vec::new()));
        };
        let values = values.into_iter().collect();
        let test = if negative {
            Test::NoneOf(values)
        } else {
            Test::OneOf(values)
        };
        Ok(Expr::Test(field, test))
    }

    pub(super) fn refuse_chain(&mut self) -> Result<()> {
        if !self.lexer.at_operator() {
            return Ok(());
        }
        let span = self.lexer.here();
        self.lexer.operator()?;
        Err(self
            .lexer
            .error(span, "comparisons cannot be chained")
            .with_hint(
                "write `1<a and a<5` for `1<a<5`; put texts with special characters into quotes",
            ))
    }

    /// Reads a key with its prefix: names joined by dots, each bare or in quotes.
    pub(super) fn field(&mut self) -> Result<Field> {
        let start = self.lexer.at;
        let first = self.lexer.peek_word();
        let (space, prefix) = match first.split('.').next() {
            Some("sp") => (Space::StatePoint, "sp"),
            Some("doc") => (Space::Document, "doc"),
            _ => (Space::StatePoint, ""),
        };
        self.lexer.at += prefix.len();
        if !prefix.is_empty() {
            if !self.lexer.rest().starts_with('.') {
                return Ok(Field { space, key: None });
            }
            self.lexer.at += 1;
        }
        let mut dotted = Vec::new();
        loop {
            self.key_part(start, &mut dotted)?;
            if !self.lexer.rest().starts_with('.') {
                break;
            }
            self.lexer.at += 1;
            dotted.push(b'.');
        }
        if matches!(self.lexer.peek(), Some('"' | '\'')) || !self.lexer.peek_word().is_empty() {
            let error = self.lexer.error(
                self.lexer.here(),
                "expected a dot or an operator after the key",
            );
            return Err(error.with_hint("names in a key are joined by dots, as in `\"my key\".a`"));
        }
        let key = Some(Key::from_dotted(&dotted));
        Ok(Field { space, key })
    }

    /// Reads one name of a key.
    fn key_part(&mut self, start: usize, dotted: &mut Vec<u8>) -> Result<()> {
        if matches!(self.lexer.peek(), Some('"' | '\'')) {
            push_part(dotted, &self.lexer.quoted()?);
            return Ok(());
        }
        let part = self.lexer.name();
        let span = start..self.lexer.at;
        if part.is_empty() {
            return Err(self
                .lexer
                .error(span, "a name in the key is empty")
                .with_hint("write `\"\"` for an empty name"));
        }
        if part.starts_with('$') {
            let message = format!("{} is an operator of signac's filters", quoted(part));
            let hint = "write `a>5` for `a.$gt 5`; put names that begin with `$` into quotes";
            return Err(self.lexer.error(span, message).with_hint(hint));
        }
        dotted.extend_from_slice(part.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Filter;

    /// Checks what an expression means by how it is printed.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let filter = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(filter.to_string(), expected, "{text}");
        let again = Filter::parse(expected).unwrap_or_else(|error| panic!("{expected}: {error}"));
        assert_eq!(again.to_string(), expected);
    }

    /// Checks the message, what is marked, and the hint.
    #[track_caller]
    fn check_error(text: &str, message: &str, marked: &str, hint: &str) {
        let error = Filter::parse(text).expect_err(text);
        assert_eq!(error.message(), message, "{text}");
        let span = error.span().map_or(0..0, |span| span);
        assert_eq!(&text[span], marked, "{text}: {error:?}");
        assert!(
            error.hint().unwrap_or_default().contains(hint),
            "{text}: {error:?}"
        );
        assert!(
            !hint.is_empty() || error.hint().is_none(),
            "{text}: {error:?}"
        );
    }

    #[test]
    fn comparisons_need_no_spaces() {
        check("angle>=45", "angle>=45");
        check(" angle  >=  45 ", "angle>=45");
        check("a==1", "a=1");
        check("a!=1", "a!=1");
        check("velocity=6,8,10", "velocity=6,8,10");
        check("velocity = 8 , 6", "velocity=6,8");
        check("gas!=argon,neon", "gas!=argon,neon");
        check("name ~ '^ar'", "name ~ '^ar'");
        check("name~^ar(go|n)$", "name ~ '^ar(go|n)$'");
        check("name !~ /a.b/", "name !~ 'a.b'");
        check("(name ~ /a/)", "name ~ 'a'");
        check("dir ~ /scratch/x", "dir ~ '/scratch/x'");
        check("(name ~ ^(a|b) or x)", "name ~ '^(a|b)' or x");
        check(r"name ~ '^\d\'s+$'", r"name ~ '^\d\'s+$'");
        check("x in [1, \"a\"]", "x=1,\"a\"".replace('"', "").as_str());
        check("x not in [1]", "x!=1");
        check("x in []", "none()");
        check("x not in []", "exists(x)");
    }

    #[test]
    fn and_binds_tighter_than_or() {
        check("a=1 or b=2 and c=3", "a=1 or b=2 and c=3");
        check("(a=1 or b=2) and c.d!=0.5", "(a=1 or b=2) and c.d!=0.5");
        check("not (a=1)", "not a=1");
        check("not(a=1 and b)", "not (a=1 and b)");
        check("not not a", "not not a");
        check("((a))", "a");
        check(
            "doc.distance > 100 and not doc.failed",
            "doc.distance>100 and not doc.failed",
        );
    }

    #[test]
    fn literals_are_liberal() {
        check("a=true,false,null", "a=null,false,true");
        check("a=-1.5e-3", "a=-0.0015");
        check("a=.5", "a=0.5");
        check("a=5.", "a=5.0");
        check("a=-.5e1", "a=-5.0");
        check("a=inf", "a=inf");
        check("a=-Infinity", "a=-inf");
        check("a=nan", "a=nan");
        check("a=12345678901234567890123", "a=12345678901234567890123");
        check("a=ar-gon", "a=ar-gon");
        check("a=a/b.dat", "a=a/b.dat");
        check("a=2024-01-01", "a=\"2024-01-01\"");
        check("a=007", "a=\"007\"");
        check("a=1_000", "a=\"1_000\"");
        check("a=häß", "a=häß");
        check("a=\"\"", "a=\"\"");
        check(r#"a='it\'s "x" \n\u00e4'"#, r#"a="it's \"x\" \n\u00e4""#);
        check("a=\"5\"", "a=\"5\"");
        check("a=[1, [2.0, \"x\"]]", "a=[1, [2.0, \"x\"]]");
        check("a=[1],[2]", "a=[1],[2]");
        check("a=\"and\"", "a=\"and\"");
    }

    #[test]
    fn keys_can_have_any_name() {
        check("sp.a=1", "a=1");
        check("doc.a=1", "doc.a=1");
        check("sp.sp.x", "sp.sp.x");
        check("sp.doc=1", "sp.doc=1");
        check("\"doc\".x=1", "sp.doc.x=1");
        check("doc", "doc");
        check("exists(doc)", "exists(doc)");
        check("\"my key\".sub=1", "\"my key\".sub=1");
        check("a.'b c'.d=1", "a.\"b c\".d=1");
        check("\"a.b\"=1", "\"a.b\"=1");
        check("a%2Eb=1", "\"a.b\"=1");
        check("\"and\"=1", "sp.and=1");
        check("\"5\"=1", "sp.5=1");
        check("\"\"=1", "\"\"=1");
        check("ä-b/c=1", "ä-b/c=1");
        check("\"$gt\"=1", "\"$gt\"=1");
        check("sp.true", "sp.true");
    }

    #[test]
    fn functions_are_conditions() {
        check("exists(a.b)", "exists(a.b)");
        check("exists ( a )".replace(" (", "(").as_str(), "exists(a)");
        check("type(x)=float", "type(x)=float");
        check("type(x) = int,str", "type(x)=int,str");
        check("type(x)=number", "type(x)=int,float");
        check("type(x)!=int", "type(x)=float,bool,str,list,null,object");
        check("near(x, 0.3, 1e-6)", "near(x, 0.3, 1e-06, 0.0)");
        check("near(x,1)", "near(x, 1.0, 1e-09, 0.0)");
        check("near(x, 1, 0, .5)", "near(x, 1.0, 0.0, 0.5)");
        check("within(s, foobar)", "within(s, \"foobar\")");
        check("all() and none()", "all() and none()");
    }

    #[test]
    fn operators_of_other_languages_are_corrected() {
        check_error("angle=>45", "unknown operator `=>`", "=>", "write `>=`");
        check_error("a=<1", "unknown operator `=<`", "=<", "write `<=`");
        check_error("a<>1", "unknown operator `<>`", "<>", "write `!=`");
        check_error("a===1", "unknown operator `===`", "===", "write `=`");
        check_error("a && b", "unknown operator `&&`", "&&", "write `and`");
        check_error("a=1||b=2", "unknown operator `||`", "||", "write `or`");
        check_error("!a", "unknown operator `!`", "!", "write `not`");
        check_error(
            "a <=> 1",
            "unknown operator `<=>`",
            "<=>",
            "the operators are",
        );
        check_error(
            "a=1 AND b=2",
            "expected `and`, `or` or the end, found `AND`",
            "AND",
            "write `and`",
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        check_error("a=", "expected a value, found the end", "", "write `\"\"`");
        check_error("a>=", "expected a value, found the end", "", "write `\"\"`");
        check_error(
            "a=1,",
            "expected a value, found the end",
            "",
            "write `\"\"`",
        );
        check_error(
            "a= and b",
            "expected a value, found the keyword `and`",
            "and",
            "`\"and\"`",
        );
        check_error("a ~", "expected a pattern, found the end", "", "write `''`");
        check_error("", "the filter is empty", "", "leave it out");
        check_error(
            "a and",
            "expected a condition, found the end",
            "",
            "conditions",
        );
        check_error("=1", "expected a condition, found `=`", "=", "conditions");
        check_error(
            "a=1 b=2",
            "expected `and`, `or` or the end, found `b`",
            "b",
            "join",
        );
        check_error(
            "1<a<5",
            "expected a key, found the value `1`",
            "1",
            "write the key first",
        );
        check_error("a<5<7", "comparisons cannot be chained", "<", "1<a and a<5");
        check_error(
            "true",
            "expected a key, found the value `true`",
            "true",
            "into quotes",
        );
        check_error(
            "a<1,2",
            "only `=` and `!=` take several values",
            ",",
            "quotes",
        );
        check_error("a={\"b\": 1}", "objects cannot be compared", "{", "a.b=1");
        check_error(
            "a.$gt=5",
            "`$gt` is an operator of signac's filters",
            "a.$gt",
            "a>5",
        );
        check_error("a..b", "a name in the key is empty", "a.", "`\"\"`");
        check_error("a not 5", "expected `in`, found `5`", "5", "");
        check_error("a in 5", "expected a list, found `5`", "5", "a=1,2");
    }

    #[test]
    fn what_is_never_closed_is_shown_where_it_opens() {
        check_error("a='x", "the quote is never closed", "'", "quotes");
        check_error(
            "a=it's",
            "expected `and`, `or` or the end, found `'`",
            "'",
            "quotes",
        );
        check_error("(a=1 and (b=2)", "`(` is never closed", "(", "");
        check_error("a=1)", "`)` was never opened", ")", "");
        check_error("a=[1, [2]", "`[` is never closed", "[", "");
        check_error("a=[1 2]", "in the list: expected `,` or `]`", "2", "JSON");
        check_error(
            "a=[x]",
            "in the list: expected a value",
            "x",
            "double quotes",
        );
        check_error("exists(a", "expected `)`, found the end", "", "exists(KEY)");
        check_error(
            "a='\\q'",
            "the quoted text has an invalid escape or control character",
            "'\\q'",
            "backslash",
        );
    }

    #[test]
    fn functions_are_checked() {
        check_error(
            "exist(a)",
            "unknown function `exist`",
            "exist",
            "did you mean `exists`?",
        );
        check_error(
            "foo(a)",
            "unknown function `foo`",
            "foo",
            "the functions are exists, type",
        );
        check_error("exists()", "expected a key, found `)`", ")", "exists(KEY)");
        check_error(
            "type(a)=string",
            "unknown type `string`",
            "string",
            "did you mean `str`?",
        );
        check_error(
            "type(a)=zzz",
            "unknown type `zzz`",
            "zzz",
            "the types are int",
        );
        check_error("type(a)", "expected `=`, found the end", "", "type(KEY)");
        check_error(
            "type(a)<int",
            "types are compared with `=` or `!=`",
            "<",
            "type(KEY)",
        );
        check_error(
            "near(a, abc)",
            "expected a number, found a string",
            "abc",
            "near(KEY",
        );
        check_error(
            "near(a, 1, -1)",
            "a tolerance cannot be negative",
            "-1",
            "near(KEY",
        );
        check_error("near(a)", "expected `,`, found `)`", ")", "near(KEY");
        check_error(
            "within(a, 5)",
            "expected a text, found an integer",
            "5",
            "within(KEY",
        );
        check_error(
            "exists(a)=1",
            "comparisons cannot be chained",
            "=",
            "quotes",
        );
    }

    #[test]
    fn patterns_are_checked_where_they_stand() {
        check_error(
            "a ~ x(?=y)",
            "look-ahead cannot be used in a pattern",
            "(?=",
            "linear time",
        );
        check_error("a ~ '[b'", "`[` is never closed in the pattern", "[b", "");
    }

    #[test]
    fn nesting_is_limited() {
        let deep =
            |n: usize, open: &str, close: &str| format!("{}a{}", open.repeat(n), close.repeat(n));
        assert!(Filter::parse(&deep(200, "(", ")")).is_ok());
        for (open, close) in [("(", ")"), ("not ", ""), ("not(", ")"), ("(", "")] {
            let error = Filter::parse(&deep(100_000, open, close)).expect_err("too deep");
            assert_eq!(
                error.message(),
                "more than 200 levels of parentheses and `not`"
            );
        }
        let error = Filter::parse(&format!("a={}", deep(100_000, "[", "]"))).expect_err("too deep");
        assert_eq!(error.message(), "in the list: nested too deeply");
        let wide = vec!["a=1"; 100_000].join(" or ");
        assert!(Filter::parse(&wide).is_ok());
    }

    #[test]
    fn pythons_constants_get_a_note() {
        let filter = Filter::parse("a=True").expect("a filter");
        assert_eq!(filter.notes(), ["`True` is a text; did you mean `true`?"]);
    }
}
