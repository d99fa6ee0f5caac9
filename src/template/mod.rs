//! Templates of commands and texts, in the language of Jinja.
//!
//! What a command prints of a job arrives as one word of plain text, wherever in the command it
//! stands: [`shell`] quotes it for its place.

mod error;
mod scope;
mod shell;
mod values;

pub use error::TemplateError;
pub use scope::{Item, Scope};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior, Value};
use scope::{Dict, Missing};
use std::sync::Arc;
use values::{Joined, Raw, text_of};

/// Stands before and after what was printed of a value; no text of a template holds it.
const MARK: char = '\0';

/// What a template calls the one that it extends.
const BASE: &str = "base.sh";

/// A template that was read, and can be rendered many times.
#[derive(Clone, Debug)]
pub struct Template {
    environment: Environment<'static>,
    n_lines: usize,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// Fails if the syntax is wrong.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::add(environment(), text)
    }

    /// Reads a template of several lines that may extend another one, which it calls `base.sh`. A
    /// line of its own for a block leaves no empty line.
    ///
    /// # Errors
    ///
    /// Fails if the syntax of one of them is wrong.
    pub fn parse_extending(text: &str, base: &str) -> Result<Self, TemplateError> {
        let mut environment = environment();
        environment.set_syntax(whole_lines());
        environment
            .add_template_owned(BASE, base.to_owned())
            .map_err(|error| TemplateError::of(&error, base.lines().count()))?;
        Self::add(environment, text)
    }

    fn add(mut environment: Environment<'static>, text: &str) -> Result<Self, TemplateError> {
        let n_lines = text.lines().count();
        if let Some(at) = text.find(MARK) {
            let line = 1 + text[..at].matches('\n').count();
            return Err(TemplateError::new("the template holds NUL").at(line, n_lines));
        }
        environment
            .add_template_owned("", text.to_owned())
            .map_err(|error| TemplateError::of(&error, n_lines))?;
        Ok(Self {
            environment,
            n_lines,
        })
    }

    /// Renders a text for `bash`. Each value that is printed is quoted, unless it went through the
    /// filter `raw`; `join` quotes each element.
    ///
    /// # Errors
    ///
    /// Fails if something is undefined, a filter too, or cannot be printed: NUL, lone surrogates, or
    /// special characters where they cannot be quoted.
    pub fn render_command(&self, scope: &Scope) -> Result<String, TemplateError> {
        shell::quoted(&self.render(scope)?)
    }

    /// Renders a text that no shell reads.
    ///
    /// # Errors
    ///
    /// Fails if something is undefined or cannot be printed.
    pub fn render_text(&self, scope: &Scope) -> Result<String, TemplateError> {
        Ok(self.render(scope)?.replace(MARK, ""))
    }

    /// Renders with marks around values.
    fn render(&self, scope: &Scope) -> Result<String, TemplateError> {
        let missing = Arc::new(Missing::default());
        let root = Dict::root(scope.clone(), Arc::clone(&missing));
        let template = self.environment.get_template("");
        let rendered = template.and_then(|template| template.render(Value::from_object(root)));
        rendered.map_err(|error| {
            let is_undefined = error.kind() == ErrorKind::UndefinedError
                || error
                    .detail()
                    .is_some_and(|detail| detail.contains("undefined"));
            let told = if is_undefined {
                missing.to_error()
            } else {
                None
            };
            match (told, error.line()) {
                (Some(told), Some(line)) => told.at(line, self.n_lines),
                (Some(told), None) => told,
                (None, _) => TemplateError::of(&error, self.n_lines),
            }
        })
    }
}

/// Blocks that stand on lines of their own leave no empty ones.
fn whole_lines() -> SyntaxConfig {
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    syntax.build().unwrap_or_default()
}

/// Returns what all templates know.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    // The texts of blocks (`{% set x %}…{% endset %}`) hold marks already: with some kind of
    // escaping they are "safe" values, which are printed as they are.
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("marks".into()));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_formatter(print);
    for name in ["safe", "escape", "e", "pprint", "indent"] {
        environment.remove_filter(name);
    }
    environment.remove_global("debug");
    environment.add_filter("raw", raw);
    environment.add_filter("join", join);
    environment
}

/// Prints a value, between marks.
fn print(
    out: &mut Output<'_>,
    _: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    if value.is_safe() {
        out.write_str(value.as_str().unwrap_or_default())?;
    } else if let Some(raw) = value.downcast_object_ref::<Raw>() {
        out.write_str(&raw.0)?;
    } else if let Some(joined) = value.downcast_object_ref::<Joined>() {
        for (i, item) in joined.items.iter().enumerate() {
            let joiner = if i == 0 { "" } else { &joined.joiner };
            write!(out, "{joiner}{MARK}{item}{MARK}")?;
        }
    } else if !value.is_undefined() {
        let text = text_of(value)?;
        write!(out, "{MARK}{text}{MARK}")?;
    }
    Ok(())
}

/// `TEXT | raw`: printed as it is.
fn raw(value: &Value) -> Result<Value, minijinja::Error> {
    Ok(Value::from_object(Raw(text_of(value)?)))
}

/// `LIST | join(' ', attribute='dir')`: each element is printed as a value, and what joins them as
/// it is.
#[expect(
    clippy::needless_pass_by_value,
    reason = "filters are given their options so"
)]
fn join(
    value: &Value,
    joiner: Option<&Value>,
    attribute: Option<String>,
    kwargs: Kwargs,
) -> Result<Value, minijinja::Error> {
    let attribute = match attribute {
        None => kwargs.get::<Option<String>>("attribute")?,
        attribute => attribute,
    };
    kwargs.assert_all_used()?;
    let invalid = |message: String| minijinja::Error::new(ErrorKind::InvalidOperation, message);
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    if value.kind() == ValueKind::String {
        return Err(invalid("`join` joins lists, not a text".to_owned()));
    }
    let joiner = match joiner {
        None => String::new(),
        Some(joiner) => {
            let text = text_of(joiner)?;
            let is_raw = joiner.downcast_object_ref::<Raw>().is_some();
            if !is_raw
                && !text
                    .chars()
                    .all(|c| matches!(c, ' ' | '\t') || shell::is_plain(c))
            {
                let message = format!(
                    "`join` by `{text}`, which bash would act on; append `| raw` to it if it should"
                );
                return Err(invalid(message));
            }
            text
        }
    };
    let item = |item: Value| {
        let item = match &attribute {
            None => item,
            Some(path) => path
                .split('.')
                .try_fold(item, |item, part| item.get_attr(part))?,
        };
        text_of(&item)
    };
    let items = value.try_iter()?.map(item).collect::<Result<_, _>>()?;
    Ok(Value::from_object(Joined { items, joiner }))
}

#[cfg(test)]
mod tests;
