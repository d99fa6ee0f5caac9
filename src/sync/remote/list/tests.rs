use super::*;

const ID: &str = "42b7b4f2921788ea14dac5566e6f06d0";

fn list(records: &[[&str; N_FIELDS]]) -> Result<Listing, BadList> {
    let text: String = records
        .iter()
        .flatten()
        .map(|field| format!("{field}\0"))
        .collect();
    let mut lister = Lister::new(Path::new("/p"));
    for chunk in text.as_bytes().chunks(7) {
        lister.push(chunk)?;
    }
    lister.finish("")
}

const WORKSPACE: [&str; N_FIELDS] = ["W", "4096", "0", "755", "7", "", ""];
const END: [&str; N_FIELDS] = ["E", "0", "", "", "", "", ""];

#[test]
fn files_are_read_as_they_come() {
    let file = |path| ["f", "12", "1700000000.5000000000", "640", "7", path, ""];
    let (dir, statepoint) = (ID.to_owned(), format!("{ID}/signac_statepoint.json"));
    let (link, odd) = (format!("{ID}/-l"), format!("{ID}/a\nb/c"));
    let listing = list(&[
        WORKSPACE,
        ["d", "1", "1.0", "755", "7", &dir, ""],
        ["l", "3", "1.0", "777", "7", &link, "../../x"],
        ["d", "1", "1.0", "755", "7", &format!("{ID}/a\nb"), ""],
        file(&odd),
        file(&statepoint),
        END,
    ]);
    let listing = listing.expect("sound");
    let job = &listing.tree.jobs[0];
    let names: Vec<_> = job
        .entries
        .iter()
        .map(|(path, _)| path.to_string())
        .collect();
    assert_eq!(names, ["-l", "a\nb", "a\nb/c", "signac_statepoint.json"]);
    assert_eq!(
        job.entries[0].1.content,
        Content::Link(b"../../x".as_slice().into())
    );
    assert_eq!(job.entries[2].1.modified(), Some(1_700_000_000_500_000_000));
    assert_eq!(job.entries[2].1.mode, 0o640);
    assert!(listing.has_workspace && listing.problems.is_empty());
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in [
        "/etc/passwd",
        "../x",
        "..",
        "",
        &format!("{ID}/../x"),
        &format!("{ID}//x"),
        "a/b",
    ] {
        let record = ["f", "12", "1.0", "640", "7", name, ""];
        assert!(list(&[WORKSPACE, record, END]).is_err(), "{name}");
    }
}

#[test]
fn a_path_that_is_too_long_is_named() {
    let (dir, statepoint) = (ID.to_owned(), format!("{ID}/signac_statepoint.json"));
    let above = format!("/{}", "d".repeat(254)).repeat(12);
    let long = format!("{ID}{above}/{}", "e".repeat(20));
    let (inside, below) = (
        format!("{long}/x"),
        format!("{long}{}", "/d".repeat(100_000)),
    );
    let odd = format!("{ID}/{}", "é".repeat(200));
    let listing = list(&[
        WORKSPACE,
        ["d", "1", "1.0", "755", "7", &dir, ""],
        ["f", "12", "1.0", "640", "7", &statepoint, ""],
        ["d", "12", "1.0", "640", "7", &long, ""],
        ["f", "12", "1.0", "640", "7", &inside, ""],
        ["f", "12", "1.0", "640", "7", &below, ""],
        ["f", "12", "1.0", "640", "7", &odd, ""],
        END,
    ]);
    let listing = listing.expect("sound");
    assert_eq!((listing.tree.jobs.len(), listing.hidden.len()), (1, 2));
    assert!(listing.problems[0].reason.contains("its path is too long"));
    let leads_out = format!("{ID}{}/../x", "/d".repeat(100_000));
    let record = ["f", "12", "1.0", "640", "7", &leads_out, ""];
    list(&[WORKSPACE, record, END]).expect_err("it leads out");
}

#[test]
fn nothing_is_below_a_link() {
    let below = |kind, link| {
        let (dir, statepoint) = (ID.to_owned(), format!("{ID}/signac_statepoint.json"));
        let (a, b) = (format!("{ID}/a"), format!("{ID}/a/b"));
        list(&[
            WORKSPACE,
            ["d", "1", "1.0", "755", "7", &dir, ""],
            ["f", "12", "1.0", "640", "7", &statepoint, ""],
            [kind, "1", "1.0", "755", "7", &a, link],
            ["f", "12", "1.0", "640", "7", &b, ""],
            END,
        ])
    };
    assert!(below("d", "").is_ok());
    assert!(below("l", "/etc").is_err() && below("f", "").is_err());
}

#[test]
fn what_find_never_writes_is_refused() {
    let path = format!("{ID}/x");
    let file = |size, time, mode| ["f", size, time, mode, "7", &path, ""];
    for records in [
        vec![WORKSPACE],
        vec![END, END],
        vec![file("1", "1.0", "644"), END],
        vec![WORKSPACE, file("-1", "1.0", "644"), END],
        vec![WORKSPACE, file("1", "x", "644"), END],
        vec![WORKSPACE, file("99999999999999999999", "1.0", "644"), END],
        vec![WORKSPACE, file("18446744073709551615", "1.0", "644"), END],
        vec![WORKSPACE, file("1", "1.0", "9"), END],
        vec![
            WORKSPACE,
            file("1", "1.0", "644"),
            file("1", "1.0", "644"),
            END,
        ],
    ] {
        assert!(list(&records).is_err(), "{records:?}");
    }
    let none = list(&[END]).expect("no workspace");
    assert!(!none.has_workspace);
}

#[test]
fn what_cannot_be_seen_is_not_gone() {
    let other = ID.replace("42", "43");
    let (statepoint, odd) = (
        format!("{ID}/signac_statepoint.json"),
        format!("{ID}/mounted"),
    );
    let listing = list(&[
        WORKSPACE,
        ["d", "1", "1.0", "755", "7", ID, ""],
        ["f", "12", "1.0", "640", "7", &statepoint, ""],
        ["d", "1", "1.0", "755", "8", &odd, ""],
        ["d", "1", "1.0", "755", "7", &other, ""],
        ["!", "1", "1.0", "0", "7", &ID.replace("42", "41"), ""],
        END,
    ]);
    let listing = listing.expect("sound");
    let out: Vec<_> = listing.left_out.iter().map(ToString::to_string).collect();
    assert_eq!(out, [ID.replace("42", "41"), other]);
    let hidden: Vec<_> = listing.hidden.iter().map(ToString::to_string).collect();
    assert_eq!((hidden, listing.tree.jobs.len()), (vec![odd], 1));
}

#[test]
fn a_list_that_was_cut_off_is_refused() {
    let finish = |code: &str, complaint: &str| {
        let mut lister = Lister::new(Path::new("/p"));
        let text = format!("W\x004096\x000\x00755\x007\0\0\0E\0{code}\0\0\0\0\0\0");
        lister.push(text.as_bytes()).expect("records");
        lister.finish(complaint).is_ok()
    };
    assert!(finish("0", "") && finish("1", "find: 'workspace/x': No such file or directory"));
    assert!(!finish("1", "") && !finish("137", "Killed"));
    assert!(!finish("1", "find: 'workspace': Input/output error"));
    assert!(!finish(
        "1",
        "find: failed to restore initial working directory"
    ));
    assert!(finish(
        "1",
        "find: 'workspace/views': Transport endpoint is not connected"
    ));
    let mut lister = Lister::new(Path::new("/p"));
    let text = "W\x004096\x000\x00755\x007\0\0\0E\x001\0\0\0\0\0\0";
    lister.push(text.as_bytes()).expect("records");
    let about = format!("find: 'workspace/{ID}/x': Input/output error");
    let listing = lister.finish(&about).expect("the others are sound");
    assert_eq!(listing.left_out.len(), 1);
    assert!(listing.problems[0].reason.contains("Input/output error"));
}

#[test]
fn times_are_read() {
    for (text, ns) in [
        ("0.0", 0),
        ("1.5", 1_500_000_000),
        ("12.0000000019", 12_000_000_001),
        ("-1.5", -1_500_000_000),
    ] {
        assert_eq!(time_ns(text.as_bytes()), Ok(ns));
    }
    for (text, ns) in [
        ("12.0000000010", 12_000_000_001),
        ("-2.5000000000", -1_500_000_000),
        ("-1.0000000000", -1_000_000_000),
        // What was 1.5 s and 1 ns before 1970 begins 2 s before it.
        ("-2.4999999990", -1_500_000_001),
    ] {
        assert_eq!(found_time_ns(text.as_bytes()), Ok(ns));
        assert_eq!(format!("{}0", found_time(ns)), text);
    }
    assert!(time_ns(b"99999999999999999999.0").is_err() && time_ns(b"1.x").is_err());
    assert_eq!(time_ns(b"9999999999999.5"), Ok(TimeNs::MAX));
    assert_eq!(
        found_time_ns(b"-9999999999999.5"),
        Ok(500_000_000 - TimeNs::MAX)
    );
}
