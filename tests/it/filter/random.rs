//! Random values, jobs and filters.

pub(super) use crate::support::random::Random;

impl Random {
    fn join(&mut self, n_max: usize, mut item: impl FnMut(&mut Self) -> String) -> String {
        let n = self.below(n_max + 1);
        let items: Vec<_> = (0..n).map(|_| item(self)).collect();
        items.join(", ")
    }

    /// A value that is often equal to another one.
    pub(super) fn scalar(&mut self) -> String {
        let common = [
            "0",
            "1",
            "2",
            "3",
            "-1",
            "0.0",
            "1.0",
            "0.5",
            "2.0",
            "-1.5",
            "true",
            "false",
            "null",
            "\"\"",
            "\"a\"",
            "\"foo\"",
            "\"foobar\"",
            "\"1\"",
            "\"bar\"",
        ];
        let rare = [
            "-0.0",
            "1e-5",
            "0.3",
            "0.30000000000000004",
            "\"true\"",
            "\"a\\n\"",
            "\"\\u00e4 b\"",
            "\"\\ud800x\"",
            "\"B\"",
            "9007199254740992",
            "9007199254740993",
            "9007199254740992.0",
            "12345678901234567890123",
            "1.2345678901234568e+22",
            "-9223372036854775809",
            "1e300",
        ];
        let rarest = ["NaN", "Infinity", "-Infinity"];
        match self.below(40) {
            0 => self.pick(&rarest).to_owned(),
            1 if self.one_in(4) => format!("1{}", "0".repeat(400)),
            1..8 => self.pick(&rare).to_owned(),
            _ => self.pick(&common).to_owned(),
        }
    }

    fn list(&mut self) -> String {
        let items = [
            "0",
            "1",
            "1.0",
            "true",
            "2",
            "\"a\"",
            "null",
            "[1]",
            "[]",
            "{\"q\": 1}",
            "{\"q\": true}",
            "0.5",
        ];
        format!(
            "[{}]",
            self.join(3, |random| random.pick(&items).to_owned())
        )
    }

    fn value(&mut self, depth: usize) -> String {
        match self.below(12) {
            0 | 1 => self.list(),
            2 if self.one_in(8) => "[NaN]".to_owned(),
            2 | 3 if depth > 0 => self.object(depth - 1),
            _ => self.scalar(),
        }
    }

    fn object(&mut self, depth: usize) -> String {
        let keys = ["x", "y", "a", "a", ""];
        let entry =
            |random: &mut Self| format!("\"{}\": {}", random.pick(&keys), random.value(depth));
        format!("{{{}}}", self.join(3, entry))
    }

    /// A state point or document.
    pub(super) fn parameters(&mut self) -> String {
        let keys = [
            "a", "a", "b", "c", "n", "n", "s", "sp", "doc", "a%2Eb", "zz",
        ];
        let mut entries = Vec::new();
        for _ in 0..1 + self.below(6) {
            let key = self.pick(&keys);
            let value = if key == "n" {
                self.object(1)
            } else {
                self.value(1)
            };
            entries.push(format!("\"{key}\": {value}"));
        }
        format!("{{{}}}", entries.join(", "))
    }

    fn key(&mut self) -> &'static str {
        let common = [
            "a", "b", "c", "n", "n.x", "n.y", "s", "doc.a", "doc.b", "doc.n.x", "sp.a", "sp.n.a",
        ];
        let rare = [
            "doc", "sp", "zzz", "a.x", "n.", ".a", "n..", "", "sp.sp", "doc.doc", "a%2Eb", "doc.n",
            "sp.",
        ];
        if self.one_in(6) {
            self.pick(&rare)
        } else {
            self.pick(&common)
        }
    }

    /// An operator with an argument, which is rarely a wrong one.
    fn operation(&mut self) -> (&'static str, String) {
        let operators = [
            "$eq", "$ne", "$lt", "$lte", "$gt", "$gte", "$lt", "$gt", "$in", "$in", "$nin",
            "$exists", "$type", "$type", "$regex", "$near",
        ];
        let operator = self.pick(&operators);
        if self.one_in(25) {
            let odd = ["$bogus", "$or", "$not", "$where", "a$b", "$gte"];
            let operator = if self.one_in(2) {
                self.pick(&odd)
            } else {
                operator
            };
            let value = if self.one_in(4) {
                "{}".to_owned()
            } else {
                self.value(0)
            };
            return (operator, value);
        }
        (operator, self.argument(operator))
    }

    fn argument(&mut self, operator: &str) -> String {
        match operator {
            "$in" | "$nin" if self.one_in(6) => {
                self.pick(&["\"foobar\"", "\"\"", "\"a\""]).to_owned()
            }
            "$in" | "$nin" => format!("[{}]", self.join(4, |random| random.filter_value())),
            "$exists" => self.pick(&["true", "false"]).to_owned(),
            "$type" => {
                let names = ["int", "float", "bool", "str", "list", "null", "int", "bool"];
                format!("\"{}\"", self.pick(&names))
            }
            "$regex" => format!("\"{}\"", self.pick(PATTERNS)),
            "$near" => self.near(),
            _ => self.filter_value(),
        }
    }

    fn near(&mut self) -> String {
        let numbers = [
            "1",
            "0.5",
            "0",
            "2.0",
            "true",
            "\"1\"",
            "Infinity",
            "9007199254740993",
        ];
        let tolerances = [
            "0", "0.1", "1e-9", "0.5", "1", "2", "\"0.1\"", "1e300", "-1",
        ];
        let number = self.pick(&numbers).to_owned();
        match self.below(4) {
            0 => number,
            1 => format!("[{number}]"),
            2 => format!("[{number}, {}]", self.pick(&tolerances)),
            _ => format!(
                "[{number}, {}, {}]",
                self.pick(&tolerances),
                self.pick(&tolerances)
            ),
        }
    }

    /// A scalar, or a list without NaN, which Python compares by identity.
    fn filter_value(&mut self) -> String {
        if self.one_in(6) {
            self.list()
        } else {
            self.scalar()
        }
    }

    fn entry(&mut self) -> String {
        let key = self.key();
        let value = match self.below(8) {
            0..3 => self.filter_value(),
            3 => format!(
                "{{{}}}",
                self.join(2, |random| {
                    let key = random.pick(&["x", "y", "a", "y.z", "$gt", "$exists"]);
                    let value = random.filter_value();
                    format!("\"{key}\": {value}")
                })
            ),
            4 => {
                let (operator, argument) = self.operation();
                return format!("\"{key}.{operator}\": {argument}");
            }
            _ => {
                let n = 1 + self.below(2);
                let operations: Vec<_> = (0..n)
                    .map(|_| self.operation())
                    .map(|(operator, argument)| format!("\"{operator}\": {argument}"))
                    .collect();
                format!("{{{}}}", operations.join(", "))
            }
        };
        format!("\"{key}\": {value}")
    }

    /// A JSON filter.
    pub(super) fn filter(&mut self, depth: usize) -> String {
        let n = if self.one_in(3) { 2 } else { 1 };
        let mut entries = Vec::new();
        for _ in 0..n {
            entries.push(match self.below(9) {
                0 if depth > 0 => format!("\"$not\": {}", self.filter(depth - 1)),
                1 | 2 if depth > 0 => {
                    let operator = self.pick(&["$and", "$or"]);
                    let n = if self.one_in(20) {
                        0
                    } else {
                        1 + self.below(3)
                    };
                    let items: Vec<_> = (0..n).map(|_| self.filter(depth - 1)).collect();
                    format!("\"{operator}\": [{}]", items.join(", "))
                }
                3 if self.one_in(20) => "\"$or\": {}".to_owned(),
                _ => self.entry(),
            });
        }
        if self.one_in(30) {
            entries.clear();
        }
        format!("{{{}}}", entries.join(", "))
    }

    /// Arguments as on a command line, none of which is an expression of ours.
    pub(super) fn tokens(&mut self) -> Vec<String> {
        let values = [
            "1",
            "0",
            "2",
            "true",
            "false",
            "null",
            "True",
            "none",
            "foo",
            "foobar",
            "0.5",
            "1e0",
            "+1",
            " 1 ",
            "007",
            "1_0",
            "٣",
            "-1",
            "-1.5",
            ".5",
            "inf",
            "nan",
            "9007199254740993",
            "!",
            "/o/",
            "/^f/",
            "[1]",
            "[]",
            "{\"$gt\": 0}",
            "{\"x\": 1}",
            "\"1\"",
            "[bad",
            "{bad}",
            "a b",
            "1__0",
        ];
        let mut tokens = Vec::new();
        for _ in 0..1 + self.below(2) {
            let mut key = self.key().to_owned();
            if key.is_empty() {
                key.push('a');
            }
            let value = if self.one_in(4) {
                let operator =
                    self.pick(&["$gt", "$lte", "$ne", "$in", "$exists", "$type", "$near"]);
                key = format!("{key}.{operator}");
                self.argument(operator)
                    .replace("\\ud800", "")
                    .replace('"', "")
            } else {
                self.pick(&values).to_owned()
            };
            tokens.extend([key, value]);
        }
        if self.one_in(4) {
            tokens.pop();
        }
        tokens.retain(|token| !token.is_empty());
        tokens
    }
}

/// What Python's `re` and we understand alike, what both refuse, and what only we refuse.
const PATTERNS: &[&str] = &[
    "",
    "o",
    "^fo",
    "foo$",
    "a$",
    "^a.?$",
    "(?i)FOO",
    "[a-f]o+",
    "\\\\d",
    "^\\\\w+$",
    "\\\\s",
    "(foo|a)(bar)?$",
    "^.x$",
    "\\\\Z",
    "x*",
    "[^o]$",
    "\\u00e4",
    "(?P<n>o)o",
    "o{2}",
    "o{,1}$",
    "a(?#c)",
    "[[]",
    "[",
    "(",
    "a**",
    "\\\\y",
    "(o)\\\\1",
    "f(?=o)",
    "(?<!f)o",
    "o++",
];

/// The patterns of these that we alone refuse.
pub(super) const REFUSED: &[&str] = &["(o)\\\\1", "f(?=o)", "(?<!f)o", "o++"];
