//! What bash makes of rendered commands.

use proptest::prelude::*;
use std::path::Path;
use std::process::Command;
use sweepfs::pyjson::{Object, PyStr, Value};
use sweepfs::template::{Scope, Template};

/// Templates that print `sp.x` by a command between brackets, where line breaks cannot be quoted.
const LINES: [&str; 3] = [
    "cat <<EOF\n[{{ sp.x }}]\nEOF",
    "cat <<'EOF' | cat\n[{{ sp.x }}]\nEOF\nx={{ sp.x }}",
    "cat <<-\"EOF\"\n\t[{{ sp.x }}]\n\tEOF\ntrue {{ sp.x }}",
];

/// Templates that print `sp.x` by a command, in every place that values can be quoted for.
const PLACES: [&str; 9] = [
    "printf %s {{ sp.x }}",
    "printf %s \"{{ sp.x }}\"",
    "printf %s '{{ sp.x }}'",
    "printf %s \"$(printf %s {{ sp.x }}; echo .)\" | head -c -1",
    "printf %s \"$(printf %s \"{{ sp.x }}\"; echo .)\" | head -c -1",
    "x={{ sp.x }}; printf %s \"$x\" # it's {{ processes }} ",
    "f() { printf %s \"$1\"; } # it's\nf {{ sp.x }}",
    "a=('it''s' {{ sp.x }}); printf %s \"${a[1]}\"",
    "printf %s {{ [sp.x] | join(' ') }}",
];

fn scope(text: &str) -> Scope {
    let mut sp = Object::new();
    sp.insert(PyStr::from("x"), Value::from(text));
    Scope::new().with("sp", sp).with("processes", 1_u32)
}

fn printed(template: &str, text: &str) -> String {
    let template = Template::parse(template).unwrap();
    let command = template.render_command(&scope(text)).unwrap();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &command])
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn check(text: &str) {
    for template in PLACES {
        assert_eq!(printed(template, text), text, "{template}");
    }
}

#[test]
fn texts_that_bash_would_act_on_arrive() {
    for text in [
        "",
        "'",
        "\"",
        "$(exit 3)",
        "`exit 3`",
        "a\nexit 3\n",
        "; exit 3 #",
        "\\",
        "'\\''",
        "*",
        "~",
        "-n",
        "{a,b}",
        "!!",
        "ä\u{1F600} $x ${x} \\$x",
    ] {
        check(text);
    }
}

#[test]
fn a_number_before_a_redirection_is_no_stream() {
    assert_eq!(printed("echo {{ sp.x }}>&1", "2"), "2\n");
}

/// Tells whether bash runs no command of a value, whatever stands around it. A template that is no
/// sound command whatever the value does not count: bash goes on in the line after a mistake.
fn does_nothing(before: &str, after: &str) -> bool {
    let Ok(template) = Template::parse(&format!("{before}{{{{ sp.x | trim('') }}}}{after}")) else {
        return true;
    };
    let run = |command: &str, option: &str, dir: &Path| {
        let mut bash = Command::new("bash");
        bash.args([option, command])
            .current_dir(dir)
            .env("PATH", "/usr/bin:/bin");
        bash.output().unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let plain = template
        .render_command(&scope("v"))
        .map(|command| run(&command, "-nc", dir.path()));
    if !plain.is_ok_and(|output| output.status.success() && output.stderr.is_empty()) {
        return true;
    }
    let values = [
        "$(touch hit)",
        "`touch hit`",
        "'; touch hit; '",
        "\"; touch hit; \"",
        "\ntouch hit\n",
        "\\'; touch hit; \\'",
        "\nE\ntouch hit\n",
        ";touch hit",
    ];
    values.iter().all(|value| {
        if let Ok(command) = template.render_command(&scope(value)) {
            run(&command, "-c", dir.path());
        }
        !dir.path().join("hit").exists()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_arrives(text in "[^\0]{0,12}", place in 0..PLACES.len()) {
        prop_assert_eq!(printed(PLACES[place], &text), text);
    }

    #[test]
    fn special_characters_arrive(text in "[ \n'\"\\\\$`(){}\\[\\];&|<>#!*?~=a1-]{0,12}", place in 0..PLACES.len()) {
        prop_assert_eq!(printed(PLACES[place], &text), text);
    }

    #[test]
    fn lines_arrive_in_here_documents(text in "[ '\"\\\\$`(){}\\[\\];&|<>#!*?~=a1-]{0,12}", place in 0..LINES.len()) {
        prop_assert_eq!(printed(LINES[place], &text), format!("[{text}]\n"));
    }

    #[test]
    fn no_text_of_a_template_lets_a_value_act(
        before in "([ \n'\"\\\\$`(){}\\[;&|<>#=ac]|<<|<<-|\nE\n|E){0,12}",
        after in "([ \n'\"$`(){};#<>]|\nE\n){0,4}",
    ) {
        prop_assert!(does_nothing(&before, &after));
    }

    #[test]
    fn nor_does_a_here_document(
        before in "(cat)?<<-?[ ]?('E'|E|\"E\")( |>f|;|[|]|&& )?[ #'\"]{0,2}\n([a\n$\\\\'\"`({E\t]|\nE\n){0,6}",
        after in "([ \n'\"$`(){};#<>]|\nE\n){0,4}",
    ) {
        prop_assert!(does_nothing(&before, &after));
    }
}
