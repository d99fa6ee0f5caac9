//! What templates print.

use super::*;
use crate::pyjson::{Object, parse};

fn object(json: &str) -> Object {
    let value = parse(json).expect("JSON");
    value.into_object().expect("an object")
}

fn scope() -> Scope {
    let sp = object(
        r#"{"angle": 45, "x": 1.0, "big": 1e22, "huge": 123456789012345678901234567890123456789012345,
            "gas": "argon", "note": "it's $(two) words", "none": null, "yes": true, "lines": "a\nb", "empty": "",
            "l": [1, "a b", 2.50], "d": {"k": "v"}, "a b": 1, "half": "\ud800", "nul": "a\u0000b"}"#,
    );
    let job = |dir: &str| Scope::new().with("id", "0123").with("dir", dir);
    Scope::new()
        .with("sp", sp.clone())
        .with("job", job("/w/0123").with("sp", sp))
        .with("jobs", vec![job("/w/a b"), job("/w/c")])
        .with("processes", 4_u32)
        .with("exit_code", crate::pyjson::Value::Null)
}

#[track_caller]
fn check(template: &str, command: &str, text: &str) {
    let template = Template::parse(template).unwrap_or_else(|error| panic!("{template}: {error}"));
    assert_eq!(template.render_command(&scope()).as_deref(), Ok(command));
    assert_eq!(template.render_text(&scope()).as_deref(), Ok(text));
}

#[track_caller]
fn check_same(template: &str, expected: &str) {
    check(template, expected, expected);
}

#[track_caller]
fn check_error(template: &str, message: &str, hint: &str) {
    let error = Template::parse(template).and_then(|template| template.render_command(&scope()));
    let error = error.expect_err(template);
    assert_eq!(error.to_string(), message, "{template}");
    assert!(error.hint().unwrap_or_default().contains(hint), "{error:?}");
    assert_eq!(hint.is_empty(), error.hint().is_none(), "{error:?}");
}

#[test]
fn values_print_as_python_writes_them() {
    check_same("{{ sp.angle }} {{ sp.x }} {{ sp.big }}", "45 1.0 1e+22");
    check_same(
        "{{ sp.huge }}",
        "123456789012345678901234567890123456789012345",
    );
    check_same(
        "{{ sp.none }} {{ sp.yes }} {{ exit_code }}",
        "null true null",
    );
    check("{{ sp.l }}", r#"'[1, "a b", 2.5]'"#, r#"[1, "a b", 2.5]"#);
    check(
        "{{ sp.d }} {{ sp.d.k }}",
        r#"'{"k": "v"}' v"#,
        r#"{"k": "v"} v"#,
    );
    check(
        "{{ sp['a b'] }}{{ job.sp.gas | upper }}",
        "1ARGON",
        "1ARGON",
    );
    check("[{{ sp.empty }}]", "['']", "[]");
    check_same(
        "{{ 0.5 * sp.angle }}h {{ sp.angle // 2 + 1 }} {{ processes * 2 }}",
        "22.5h 23 8",
    );
    check_same(
        "{% if sp.none is none %}a{% endif %}{{ sp.zzz | default(3) }}",
        "a3",
    );
    check_same("{{ 'x' if sp.zzz is defined }}", "");
    check_same(
        "{% for k in sp.d %}{{ k }}={{ sp.d[k] }}{% endfor %}",
        "k=v",
    );
}

#[test]
fn values_are_quoted_for_their_place() {
    check(
        "{{ sp.note }}",
        r"'it'\''s $(two) words'",
        "it's $(two) words",
    );
    check(
        r#""{{ sp.note }}""#,
        r#""it's \$(two) words""#,
        r#""it's $(two) words""#,
    );
    check(
        "'{{ sp.note }}'",
        r"'it'\''s $(two) words'",
        "'it's $(two) words'",
    );
    check(
        "\"$(f {{ sp.note }})\"",
        "\"$(f 'it'\\''s $(two) words')\"",
        "\"$(f it's $(two) words)\"",
    );
    check(
        "{{ sp.note | raw }}",
        "it's $(two) words",
        "it's $(two) words",
    );
    check("{{ sp.angle }}>f", "'45'>f", "45>f");
    check_same(
        "# it's\n{{ sp.gas }} # it's {{ sp.gas }}",
        "# it's\nargon # it's argon",
    );
    check_same(
        "$(( {{ sp.angle }} + 1 )) ${x:-{{ sp.gas }}} `f {{ sp.gas }}`",
        "$(( 45 + 1 )) ${x:-argon} `f argon`",
    );
    check_same("cat <<EOF\n{{ sp.angle }}\nEOF", "cat <<EOF\n45\nEOF");
    check(
        "cat <<EOF > {{ sp.note }} &&\n\t{{ sp.note }} \\$(\n{{ sp.gas }}\nEOF\nf {{ sp.note }}",
        "cat <<EOF > 'it'\\''s $(two) words' &&\n\tit's \\$(two) words \\$(\nargon\nEOF\nf 'it'\\''s $(two) words'",
        "cat <<EOF > it's $(two) words &&\n\tit's $(two) words \\$(\nargon\nEOF\nf it's $(two) words",
    );
    check(
        "cat <<-'E'\n{{ sp.note }} $(\n\tE\nf {{ sp.note }}",
        "cat <<-'E'\nit's $(two) words $(\n\tE\nf 'it'\\''s $(two) words'",
        "cat <<-'E'\nit's $(two) words $(\n\tE\nf it's $(two) words",
    );
    check("a#{{ sp.empty }} <<<{{ sp.empty }}", "a#'' <<<''", "a# <<<");
}

#[test]
fn lists_are_joined_by_element() {
    let dirs = "{{ jobs | map(attribute='dir') | join(' ') }}";
    check(dirs, "'/w/a b' /w/c", "/w/a b /w/c");
    check(
        "{{ jobs | join(':', attribute='dir') }}",
        "'/w/a b':/w/c",
        "/w/a b:/w/c",
    );
    check(
        "\"{{ jobs | join(' ', attribute='dir') }}\"",
        "\"/w/a b /w/c\"",
        "\"/w/a b /w/c\"",
    );
    check(
        "{% set d = jobs | map(attribute='dir') | join(' ') %}{{ d }}",
        "'/w/a b' /w/c",
        "/w/a b /w/c",
    );
    check(
        "{% set d %}-o {{ sp.note }}{% endset %}{{ d }}",
        r"-o 'it'\''s $(two) words'",
        "-o it's $(two) words",
    );
    check(
        "{{ sp.l | join(' && ' | raw) }}",
        "1 && 'a b' && 2.5",
        "1 && a b && 2.5",
    );
    check(
        "{% for job in jobs %}{{ job.dir }} {% endfor %}",
        "'/w/a b' /w/c ",
        "/w/a b /w/c ",
    );
}

#[test]
fn what_is_undefined_is_named() {
    check_error(
        "{{ sp.angel }}",
        "`sp.angel` is undefined",
        "did you mean `sp.angle`?",
    );
    check_error(
        "{{ spp.angle }}",
        "`spp` is undefined",
        "did you mean `sp`?",
    );
    check_error(
        "{{ job.sp.d.zzz }}",
        "`job.sp.d.zzz` is undefined",
        "there are `job.sp.d.k`",
    );
    check_error(
        "a\n{{ job.di }}",
        "`job.di` is undefined, in line 2 of the template",
        "`job.id`",
    );
    check_error(
        "{{ 2 * sp.angel }}",
        "`sp.angel` is undefined",
        "`sp.angle`",
    );
    check_error(
        "{{ jobs | map(attribute='dri') | join(' ') }}",
        "`jobs[1].dri` is undefined",
        "`jobs[1].dir`",
    );
    check_error(
        "{{ job }}",
        "`job` is no value; it has `job.id`, `job.dir`, `job.sp`",
        "",
    );
    check_error("{{ sp.angle.x }}", "a value is undefined", "");
}

#[test]
fn mistakes_are_told() {
    check_error(
        "{{ sp.",
        "unexpected end of input, expected identifier or integer",
        "",
    );
    check_error(
        "x\n{% if %}",
        "unexpected end of block, in line 2 of the template",
        "",
    );
    check_error(
        "{{ sp.angle | frob }}",
        "unknown filter: filter frob is unknown",
        "",
    );
    check_error(
        "{{ sp.half }}",
        "a text has half a surrogate pair in it",
        "",
    );
    check_error(
        "{{ sp.nul }}",
        "a value holds NUL, which no command can",
        "",
    );
    check_error("a\0", "the template holds NUL", "");
    check_error(
        "{{ sp.l | join(' && ') }}",
        "`join` by ` && `, which bash would act on; append `| raw` to it if it should",
        "",
    );
    check_error(
        "{{ sp.gas | join(' ') }}",
        "`join` joins lists, not a text",
        "",
    );
}

#[test]
fn what_cannot_be_quoted_is_refused() {
    for template in [
        "$'{{ sp.note }}'",
        "`f {{ sp.note }}`",
        "${x:-{{ sp.note }}}",
        "(cat <<EOF\n{{ sp.note }}\nEOF\n)",
        "(cat <<EOF\n{{ sp.gas }}\nEOF\n)",
        "cat <<EOF\n$(f {{ sp.note }})\nEOF",
        "cat <<EOF\n{{ sp.lines }}\nEOF\n",
        "cat <<argon\n{{ sp.gas }}\n{{ sp.gas }}\nargon",
        "\"${{ sp.empty }}($x {{ sp.note }})\"",
        "cat <<'argon'\nar{{ 'gon' }}\n{{ sp.gas }}\nargon",
        "${{ sp.note }}",
        "\\{{ sp.note }}",
        "\"$(case a in a) f {{ sp.note }} ;; esac)\"",
        "${x:-\"}\"} {{ sp.note }}",
        "{% set x %}{{ sp.note }}{% endset %}{{ x[1:] }}",
    ] {
        let template = Template::parse(template).expect("sound");
        template.render_command(&scope()).expect_err("refused");
    }
}
