//! The functions of the filter language.

use super::error::{FilterError, nearest, quoted};
use super::expr::{Expr, Field};
use super::lexer::{Operator, Result};
use super::parse::{Parser, Probes};
use super::test::{Comparison, Near, Test};
use super::values::Kinds;
use crate::pyjson::{PyStr, Value};
use std::ops::Range;

/// Reads the arguments of a function, behind the opening parenthesis, up to what follows the
/// closing one.
type ReadFunction<P> = fn(&mut Parser<'_, P>) -> Result<Expr<P>>;

/// A function: name, what to write, how it is read.
pub(super) type Function<P> = (&'static str, &'static str, ReadFunction<P>);

impl<P: Probes> Parser<'_, P> {
    /// The functions that every expression has.
    const FUNCTIONS: [Function<P>; 6] = [
        ("exists", "exists(KEY)", |parser| parser.exists()),
        ("type", "type(KEY)=NAME", |parser| parser.type_of()),
        ("near", "near(KEY, NUMBER, RELATIVE, ABSOLUTE)", |parser| {
            parser.near()
        }),
        ("within", "within(KEY, TEXT)", |parser| parser.within()),
        ("all", "all()", |parser| parser.all()),
        ("none", "none()", |parser| parser.none()),
    ];

    fn functions() -> impl Iterator<Item = Function<P>> + Clone {
        Self::FUNCTIONS
            .into_iter()
            .chain(P::FUNCTIONS.iter().copied())
    }

    /// Reads a function from its name on, which is next.
    pub(super) fn function(&mut self, name: &str, span: Range<usize>) -> Result<Expr<P>> {
        let Some((_, usage, read)) = Self::functions().find(|(known, ..)| *known == name) else {
            return Err(self.unknown_function(name, span));
        };
        self.lexer.at = span.end + 1;
        let expr = read(self).map_err(|error| match error.hint() {
            Some(_) => error,
            None => error.with_hint(format!("write `{usage}`")),
        })?;
        self.refuse_chain()?;
        Ok(expr)
    }

    fn unknown_function(&self, name: &str, span: Range<usize>) -> FilterError {
        let known = Self::functions().map(|(known, ..)| known);
        let hint = match nearest(name, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the functions are {}", known.collect::<Vec<_>>().join(", ")),
        };
        let message = format!("unknown function {}", quoted(name));
        self.lexer.error(span, message).with_hint(hint)
    }

    /// Ends the arguments of a function.
    pub(super) fn close_call(&mut self) -> Result<()> {
        if self.lexer.eat(')') {
            return Ok(());
        }
        Err(self.lexer.expected("`)`"))
    }

    fn argument_field(&mut self) -> Result<Field> {
        match self.lexer.peek_token() {
            Some('"' | '\'') => self.field(),
            _ if !self.lexer.peek_word().is_empty() => self.field(),
            _ => Err(self.lexer.expected("a key")),
        }
    }

    pub(super) fn comma(&mut self) -> Result<()> {
        if self.lexer.eat(',') {
            return Ok(());
        }
        Err(self.lexer.expected("`,`"))
    }

    fn exists(&mut self) -> Result<Expr<P>> {
        let field = self.argument_field()?;
        self.close_call()?;
        Ok(Expr::Test(field, Test::Exists))
    }

    fn all(&mut self) -> Result<Expr<P>> {
        self.close_call()?;
        Ok(Expr::And(Vec::new()))
    }

    fn none(&mut self) -> Result<Expr<P>> {
        self.close_call()?;
        Ok(Expr::Or(Vec::new()))
    }

    fn within(&mut self) -> Result<Expr<P>> {
        let field = self.argument_field()?;
        self.comma()?;
        let text = self.text()?;
        self.close_call()?;
        Ok(Expr::Test(field, Test::Within(text)))
    }

    /// Reads an argument that is a text.
    pub(super) fn text(&mut self) -> Result<PyStr> {
        self.lexer.peek_token();
        let start = self.lexer.at;
        match self.lexer.literal()? {
            Value::Str(text) => Ok(text),
            other => {
                let message = format!("expected a text, found {}", other.type_name());
                Err(self.lexer.error(start..self.lexer.at, message))
            }
        }
    }

    fn near(&mut self) -> Result<Expr<P>> {
        let field = self.argument_field()?;
        self.comma()?;
        let mut near = Near {
            value: self.number()?,
            rel: Near::REL_DEFAULT,
            abs: 0.0,
        };
        if self.lexer.eat(',') {
            near.rel = self.tolerance()?;
            if self.lexer.eat(',') {
                near.abs = self.tolerance()?;
            }
        }
        self.close_call()?;
        Ok(Expr::Test(field, Test::Near(near)))
    }

    fn number(&mut self) -> Result<f64> {
        self.lexer.peek_token();
        let start = self.lexer.at;
        let value = self.lexer.literal()?;
        let number = match &value {
            Value::Float(float) => Some(*float),
            Value::Int(int) => int.to_float(),
            _ => None,
        };
        let span = start..self.lexer.at;
        number.ok_or_else(|| {
            self.lexer.error(
                span,
                format!("expected a number, found {}", value.type_name()),
            )
        })
    }

    fn tolerance(&mut self) -> Result<f64> {
        self.lexer.peek_token();
        let start = self.lexer.at;
        let number = self.number()?;
        if number < 0.0 {
            return Err(self
                .lexer
                .error(start..self.lexer.at, "a tolerance cannot be negative"));
        }
        Ok(number)
    }

    fn type_of(&mut self) -> Result<Expr<P>> {
        let field = self.argument_field()?;
        self.close_call()?;
        if !self.lexer.at_operator() {
            return Err(self.lexer.expected("`=`"));
        }
        let start = self.lexer.at;
        let is_positive = match self.lexer.operator()? {
            Operator::Compare(Comparison::Eq) => true,
            Operator::Compare(Comparison::Ne) => false,
            _ => {
                let span = start..self.lexer.at;
                return Err(self
                    .lexer
                    .error(span, "types are compared with `=` or `!=`"));
            }
        };
        let mut kinds = self.kind()?;
        while self.lexer.eat(',') {
            kinds = kinds.union(self.kind()?);
        }
        let kinds = if is_positive {
            kinds
        } else {
            kinds.complement()
        };
        Ok(Expr::Test(field, Test::Type(kinds)))
    }

    fn kind(&mut self) -> Result<Kinds> {
        self.lexer.peek_token();
        let start = self.lexer.at;
        let name = match self.lexer.peek() {
            Some('"' | '\'') => self.lexer.quoted()?.to_string(),
            _ => self.lexer.word().to_owned(),
        };
        if name.is_empty() {
            return Err(self.lexer.expected("the name of a type"));
        }
        let span = start..self.lexer.at;
        Kinds::named(&name).ok_or_else(|| {
            let message = format!("unknown type {}", quoted(&name));
            self.lexer.error(span, message).with_hint(kind_hint(&name))
        })
    }
}

/// What to say about a type that does not exist.
pub(super) fn kind_hint(name: &str) -> String {
    let known = Kinds::NAMES.iter().map(|(name, _)| *name);
    let aliased = match name {
        "string" | "text" => Some("str"),
        "dict" | "map" | "mapping" => Some("object"),
        "integer" => Some("int"),
        "boolean" => Some("bool"),
        "none" | "None" | "NoneType" => Some("null"),
        "tuple" | "array" => Some("list"),
        _ => nearest(name, known.clone()),
    };
    match aliased {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the types are {}", known.collect::<Vec<_>>().join(", ")),
    }
}
