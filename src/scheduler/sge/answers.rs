//! What `qstat` and `qacct` print.

/// What the queue says of an array, or of some of its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) array: String,
    pub(super) name: String,
    /// One or more letters.
    pub(super) state: String,
    /// Elements, which count from 1.
    pub(super) tasks: Vec<u32>,
}

/// Reads what `qstat -xml` prints. It is no XML for strict readers: `<` in a name becomes `%lt;`, and
/// bytes that no XML may hold stand as they are. But no tag can stand in a text. `None` if the end
/// is missing.
pub(super) fn queue(text: &str) -> Option<Vec<Line>> {
    if !text.trim_end().ends_with("</job_info>") {
        return None;
    }
    let lists = text.split("<job_list").skip(1);
    let line = |list: &str| {
        Some(Line {
            array: element(list, "JB_job_number")?.to_owned(),
            name: element(list, "JB_name")?.to_owned(),
            state: element(list, "state")?.to_owned(),
            tasks: element(list, "tasks").map(tasks).unwrap_or_default(),
        })
    };
    Some(lists.filter_map(line).collect())
}

/// Finds the id of the batch job of that name in what `qstat -j NAME` prints.
pub(super) fn described(text: &str, name: &str) -> Option<String> {
    let mut blocks = text.split("\n====");
    blocks.find_map(|block| {
        let field = |name: &str| {
            let mut values = block.lines().filter_map(|line| line.strip_prefix(name));
            values.next().map(str::trim)
        };
        let is_it = field("job_name:") == Some(name);
        field("job_number:").filter(|_| is_it).map(str::to_owned)
    })
}

/// Returns the text of the first element of that name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let begin = format!("<{name}>");
    let (_, rest) = text.split_once(&begin)?;
    rest.split_once("</").map(|(text, _)| text.trim())
}

/// Reads `1`, `1,3`, `1-9:2` or several of these.
fn tasks(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (range, step) = part.split_once(':').unwrap_or((part, "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        let step = step.parse().ok().filter(|step| *step > 0)?;
        Some((first..=last).step_by(step))
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// What the accounting says of an element that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Accounted {
    pub(super) array: String,
    pub(super) name: String,
    /// Counts from 1.
    pub(super) task: u32,
    /// What went wrong with the batch job itself; 0 is nothing.
    pub(super) failed: i32,
    /// That, in words.
    pub(super) why: String,
    /// What its script ended with.
    pub(super) exit_status: i32,
    /// Whether somebody deleted it, which only some Grid Engines say.
    pub(super) was_deleted: bool,
    /// Whether it used as much memory as it may.
    pub(super) is_over_memory: bool,
}

/// Reads what `qacct -j` prints.
pub(super) fn accounting(text: &str) -> Vec<Accounted> {
    let mut records = Vec::new();
    for block in text
        .split("\n====")
        .map(|block| block.trim_start_matches('='))
    {
        let field = |name: &str| {
            let values = block.lines().filter_map(|line| line.strip_prefix(name));
            let mut values = values.filter(|value| value.starts_with([' ', '\t']));
            values.next().map_or("", str::trim)
        };
        let number = |text: &str| {
            let digits = text.split_whitespace().next();
            digits.and_then(|digits| digits.parse().ok())
        };
        let Some(task) = number(field("taskid")).and_then(|task: i32| u32::try_from(task).ok())
        else {
            continue;
        };
        let failed = field("failed");
        let deleted_by = field("deleted_by");
        let slots = number(field("slots")).map_or(1.0, f64::from);
        let limit = asked_for(field("category"), "h_vmem").map(|limit| limit * slots);
        let used = size_bytes(field("maxvmem"));
        records.push(Accounted {
            array: field("jobnumber").to_owned(),
            name: field("jobname").to_owned(),
            task,
            failed: number(failed).unwrap_or_default(),
            why: failed
                .split_once(':')
                .map_or(failed, |(_, why)| why)
                .trim()
                .to_owned(),
            exit_status: number(field("exit_status")).unwrap_or_default(),
            was_deleted: !matches!(deleted_by, "" | "NONE"),
            is_over_memory: limit.zip(used).is_some_and(|(limit, used)| used >= limit),
        });
    }
    records
}

/// Finds a size that was asked for, as `-l h_rt=60,h_vmem=2G`, in bytes.
fn asked_for(category: &str, name: &str) -> Option<f64> {
    let mut items = category.split([' ', ',']);
    items.find_map(|item| size_bytes(item.strip_prefix(name)?.strip_prefix('=')?))
}

/// Reads a size such as `2G`, `27.031MB` or `4096`, in bytes.
fn size_bytes(text: &str) -> Option<f64> {
    let end = text.find(|c: char| c.is_ascii_alphabetic());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let scale = match unit.chars().next() {
        Some('K') => 1024.0,
        Some('M') => 1024.0 * 1024.0,
        Some('G') => 1024.0 * 1024.0 * 1024.0,
        Some('T') => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        Some('k') => 1e3,
        Some('m') => 1e6,
        Some('g') => 1e9,
        Some('t') => 1e12,
        _ => 1.0,
    };
    number.trim().parse().ok().map(|number: f64| number * scale)
}
