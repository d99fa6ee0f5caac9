//! signac's `.signac/config`, of which only the schema version concerns us.

use super::ConfigError;
use crate::fsx;
use std::path::Path;

/// The only layout we read and write, that of signac 2.
pub const SCHEMA_VERSION: i64 = 2;

/// Reads the schema version from a signac config file; 1 if it has none, as signac takes it.
pub fn schema_version(path: &Path) -> Result<i64, ConfigError> {
    let bytes = fsx::read(path)?;
    let text = String::from_utf8(bytes).map_err(|_| ConfigError::NotText(path.to_owned()))?;
    let Some(value) = top_level_value(&text, "schema_version") else {
        return Ok(1);
    };
    value.trim().parse().map_err(|_| ConfigError::BadVersion {
        path: path.to_owned(),
        text: value,
    })
}

/// Finds `name = value` before the first section of a ConfigObj file.
fn top_level_value(text: &str, name: &str) -> Option<String> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| unquote(key) == name)
        .map(|(_, value)| unquote(value))
}

/// Returns the text in quotes, or else what stands before a comment.
fn unquote(text: &str) -> String {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some((inside, _)) = text
            .strip_prefix(quote)
            .and_then(|rest| rest.split_once(quote))
        {
            return inside.to_owned();
        }
    }
    text.split('#').next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(top_level_value(text, "schema_version").as_deref(), expected);
    }

    #[test]
    fn the_version_is_found_as_configobj_finds_it() {
        check("schema_version = 2\n", Some("2"));
        check(
            "\u{feff}# comment\r\n  schema_version=\"2\"  # why\r\n",
            Some("2"),
        );
        check("'schema_version' = 02 # x", Some("02"));
        check("[section]\nschema_version = 2", None);
        check("", None);
        check("schema_version =", Some(""));
    }
}
