//! What the head of a script asks for.

use serde::{Deserialize, Serialize};

/// How a line of a script begins that asks for something.
const PREFIX: &str = "#SWEEPFS ";

/// The time between the request to end and the end, unless a script says another.
const GRACE_S: u64 = 30;

/// What is limited, in the order of [`Amount`].
pub(super) const MEASURES: [&str; 3] = ["cores", "memory", "GPUs"];

/// An array has at most so many elements.
pub(super) const ELEMENTS_MAX: u32 = 10_000;

/// Cores, bytes of memory and GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Amount(pub(super) [u64; 3]);

impl Amount {
    /// Returns so many times as much.
    pub(super) fn times(self, n: u32) -> Self {
        Self(self.0.map(|of| of.saturating_mul(u64::from(n))))
    }

    /// Returns both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| {
            self.0[i].saturating_add(other.0[i])
        }))
    }

    /// Returns what is left, which is never less than nothing.
    pub(super) fn minus(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| {
            self.0[i].saturating_sub(other.0[i])
        }))
    }

    /// Returns how often it fits into what is free, and the measure that there is too little of.
    pub(super) fn fits(self, free: Self) -> (u32, usize) {
        let times = |i: usize| free.0[i].checked_div(self.0[i]).unwrap_or(u64::MAX);
        let lacks = (0..MEASURES.len())
            .min_by_key(|i| times(*i))
            .unwrap_or_default();
        (u32::try_from(times(lacks)).unwrap_or(u32::MAX), lacks)
    }
}

/// What a script asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// Its name.
    pub(super) name: String,
    /// The number of elements.
    pub(super) n_elements: u32,
    /// So many of them run at a time.
    pub(super) at_once: Option<u32>,
    /// What each needs.
    pub(super) needs: Amount,
    /// How long each may run.
    pub(super) time_s: Option<u64>,
    /// How long after the request to end it is killed.
    pub(super) grace_s: u64,
    /// The arrays that must end before.
    pub(super) after: Vec<u64>,
    /// Whether it waits until it is released.
    pub(super) is_held: bool,
}

impl Request {
    /// Reads the lines at the head of a script, up to the first command. Arrays are those of the
    /// machine of that name.
    pub(super) fn parse(script: &str, host: &str) -> Result<Self, String> {
        let mut request = Self {
            name: "batch".to_owned(),
            n_elements: 1,
            at_once: None,
            needs: Amount([1, 0, 0]),
            time_s: None,
            grace_s: GRACE_S,
            after: Vec::new(),
            is_held: false,
        };
        let is_head = |line: &&str| line.trim().is_empty() || line.starts_with('#');
        for (number, line) in (1..).zip(script.lines().take_while(is_head)) {
            let Some(text) = line.strip_prefix(PREFIX) else {
                continue;
            };
            let understood = request.set(text.trim(), host);
            understood.map_err(|reason| format!("line {number} of the script: {reason}"))?;
        }
        Ok(request)
    }

    fn set(&mut self, text: &str, host: &str) -> Result<(), String> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let wrong = |what: &str| format!("`{text}` should be {what}");
        let number = |max: u64| {
            let number = value.parse::<u64>().ok();
            let number = number.filter(|number| (1..=max).contains(number));
            number.ok_or_else(|| wrong(&format!("a number between 1 and {max}")))
        };
        match key {
            "--name" if is_name(value) => value.clone_into(&mut self.name),
            "--name" => return Err(wrong("of ASCII letters, digits, `.`, `_` and `-`")),
            "--elements" => self.n_elements = number(ELEMENTS_MAX.into())? as u32,
            "--at-once" => self.at_once = Some(number(u32::MAX.into())? as u32),
            "--cores" => self.needs.0[0] = number(u32::MAX.into())?,
            "--memory" => {
                let bytes = bytes(value).ok_or_else(|| wrong("a size such as `512M` or `4G`"))?;
                self.needs.0[1] = bytes;
            }
            "--gpus" => self.needs.0[2] = number(u32::MAX.into())?,
            "--time" => self.time_s = Some(number(u32::MAX.into())?),
            "--grace" => self.grace_s = number(u32::MAX.into())?,
            "--after" => {
                let number = |id: &str| {
                    let (number, of) = id.split_once('.').unwrap_or((id, host));
                    number.parse().ok().filter(|_| of == host)
                };
                let ids = value.split(',').map(number);
                let ids: Option<Vec<u64>> = ids.collect();
                self.after = ids.ok_or_else(|| wrong("ids of arrays of this machine"))?;
            }
            "--hold" if text == key => self.is_held = true,
            _ => return Err(format!("`{text}` is not understood")),
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty() && name.len() <= 100 && name.chars().all(is_plain)
}

/// Reads a size: `4096`, `512M`, `4G`.
fn bytes(text: &str) -> Option<u64> {
    let units = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let unit = units.iter().find(|(unit, _)| text.ends_with(*unit));
    let digits = text.strip_suffix(|c| unit.is_some_and(|(unit, _)| c == *unit));
    let number: u64 = digits.unwrap_or(text).parse().ok()?;
    number.checked_mul(1 << unit.map_or(0, |(_, bits)| *bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_script_is_understood() {
        let script = "#!/bin/bash\n#SWEEPFS --name=fly-1\n#SWEEPFS --elements=20\n\n#SWEEPFS --at-once=3\n\
            # a comment\n#SWEEPFS --cores=4\n#SWEEPFS --memory=512M\n#SWEEPFS --gpus=1\n#SWEEPFS --time=90\n\
            #SWEEPFS --after=4,17.host.org\n#SWEEPFS --hold\n#SWEEPFS --grace=5\necho\n#SWEEPFS --nothing\n";
        let request = Request::parse(script, "host.org").expect("understood");
        let expected = Request {
            name: "fly-1".into(),
            n_elements: 20,
            at_once: Some(3),
            needs: Amount([4, 512 << 20, 1]),
            time_s: Some(90),
            grace_s: 5,
            after: vec![4, 17],
            is_held: true,
        };
        assert_eq!(request, expected);
        let plain = Request::parse("sleep 1\n", "host.org").expect("nothing is needed");
        assert_eq!(
            (plain.n_elements, plain.needs.0, plain.grace_s),
            (1, [1, 0, 0], 30)
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, reason) in [
            ("--qos=high", "`--qos=high` is not understood"),
            ("--hold=no", "`--hold=no` is not understood"),
            ("--name=a/b", "`--name=a/b` should be of ASCII letters"),
            ("--elements=0", "should be a number between 1 and 10000"),
            ("--elements=10001", "should be a number between 1 and 10000"),
            ("--memory=4X", "should be a size"),
            ("--memory=99999999999T", "should be a size"),
            ("--after=", "should be ids of arrays"),
            ("--after=4.other", "should be ids of arrays of this machine"),
        ] {
            let script = format!("#!/bin/bash\n#SWEEPFS {line}\n");
            let error = Request::parse(&script, "host.org").expect_err(line);
            assert!(error.starts_with("line 2 of the script: "), "{error}");
            assert!(error.contains(reason), "{error}");
        }
    }
}
