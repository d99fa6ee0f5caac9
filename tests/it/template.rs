//! What bash makes of rendered commands.

use proptest::prelude::*;
use std::process::Command;
use sweepfs::pyjson::{Object, PyStr, Value};
use sweepfs::template::{Scope, Template};

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

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_global_rejects: 1_000_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_arrives(text in "[^\0]{0,12}", place in 0..PLACES.len()) {
        prop_assert_eq!(printed(PLACES[place], &text), text);
    }

    #[test]
    fn special_characters_arrive(text in "[ \n'\"\\\\$`(){}\\[\\];&|<>#!*?~=a1-]{0,12}", place in 0..PLACES.len()) {
        prop_assert_eq!(printed(PLACES[place], &text), text);
    }

    #[test]
    fn no_text_of_a_template_lets_a_value_act(
        before in "[ \n'\"\\\\$`(){}\\[;&|<>#=ac]{0,12}",
        after in "[ \n'\"$`(){};#<>]{0,4}",
    ) {
        // Whatever stands around it, bash runs no command of a value. A command that is no sound
        // one whatever the value does not count: bash goes on in the line after a mistake.
        let template = Template::parse(&format!("{before}{{{{ sp.x | trim('') }}}}{after}"));
        let plain = template.as_ref().ok().and_then(|template| template.render_command(&scope("v")).ok());
        let is_sound = |command: &str| {
            let output = Command::new("bash").args(["-nc", command]).output().unwrap();
            output.status.success() && output.stderr.is_empty()
        };
        prop_assume!(plain.is_some_and(|command| is_sound(&command)));
        let dir = tempfile::tempdir().unwrap();
        for value in ["$(touch hit)", "`touch hit`", "'; touch hit; '", "\"; touch hit; \"", "\ntouch hit\n", "\\'; touch hit; \\'"] {
            let command = template.as_ref().ok().and_then(|template| template.render_command(&scope(value)).ok());
            if let Some(command) = command {
                let mut bash = Command::new("bash");
                bash.args(["-c", &command]).current_dir(dir.path()).env("PATH", "/usr/bin:/bin");
                let _ = bash.output().unwrap();
                prop_assert!(!dir.path().join("hit").exists(), "{}", command);
            }
        }
    }
}
