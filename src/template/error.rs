//! What is wrong with a template.

use minijinja::ErrorKind;

/// Why a template cannot be read or rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", self.place())]
pub struct TemplateError {
    message: String,
    hint: Option<String>,
    line: Option<usize>,
    n_lines: usize,
}

impl TemplateError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            line: None,
            n_lines: 1,
        }
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    pub(super) fn at(self, line: usize, n_lines: usize) -> Self {
        Self {
            line: Some(line),
            n_lines,
            ..self
        }
    }

    /// Takes the message of an error of minijinja.
    pub(super) fn of(error: &minijinja::Error, n_lines: usize) -> Self {
        let kind = error.kind();
        let message = match (kind, error.detail()) {
            (ErrorKind::UndefinedError, None) => "a value is undefined".to_owned(),
            (ErrorKind::InvalidOperation | ErrorKind::SyntaxError, Some(detail)) => {
                detail.to_owned()
            }
            (_, Some(detail)) => format!("{kind}: {detail}"),
            (_, None) => kind.to_string(),
        };
        let told = Self::new(message);
        match error.line() {
            Some(line) => told.at(line, n_lines),
            None => told,
        }
    }

    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the line of the template, from 1, if it is known.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The line, where there are several.
    fn place(&self) -> String {
        match self.line {
            Some(line) if self.n_lines > 1 => format!(", in line {line} of the template"),
            _ => String::new(),
        }
    }
}
