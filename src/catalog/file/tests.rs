use super::*;
use crate::catalog::JobEntry;
use crate::catalog::index::{Gathered, Index, Part};
use crate::filter::Test;
use crate::pyjson::parse;
use crate::report::Problem;
use crate::statepoint::JobId;
use proptest::prelude::*;
use roaring::RoaringBitmap;
use std::fs::File;
use std::io::{Cursor, Write};

fn part_of(texts: &[String]) -> Part<JobEntry> {
    let mut jobs: Vec<_> = texts
        .iter()
        .map(|text| (JobId::of_canonical(text), text))
        .collect();
    jobs.sort();
    jobs.dedup();
    let objects = jobs.iter().map(|(_, text)| {
        parse(text)
            .expect("valid JSON")
            .into_object()
            .expect("an object")
    });
    Part {
        index: Index::of(vec![Gathered::of((0..).zip(objects))]),
        entries: jobs
            .iter()
            .map(|(id, _)| JobEntry {
                id: *id,
                modified: 7,
                inode: 8,
            })
            .collect(),
    }
}

fn written(part: &Part<JobEntry>) -> Vec<u8> {
    let problem = Problem {
        subject: "x".into(),
        path: "x/y".into(),
        reason: "wrong".into(),
        hint: Some("mend it".into()),
    };
    let mut file = Cursor::new(Vec::new());
    let contents = Contents {
        listed_at: Some(Stamp::default()),
        part,
        problems: &[problem],
    };
    write(&mut file, contents).expect("memory takes all");
    file.into_inner()
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    file
}

/// Reads everything in every way.
fn read(bytes: &[u8]) -> Result<Part<JobEntry>> {
    let file = CatalogFile::<JobEntry>::open(file_of(bytes))?;
    let part = file.read_all()?;
    let some: RoaringBitmap = (0..part.entries.len() as JobIdx).step_by(3).collect();
    let entries = file.entries(&some)?;
    assert!(
        entries
            .iter()
            .eq(some.iter().map(|job| &part.entries[job as usize]))
    );
    for (i, entry) in part.entries.iter().enumerate() {
        assert_eq!(file.position(&entry.id)?, (i as JobIdx, true));
    }
    for key in &part.index.keys {
        assert_eq!(file.key(&key.key)?.as_ref(), Some(key));
        let counts: Vec<_> = key
            .values
            .iter()
            .map(|e| (e.value.clone(), e.jobs.len()))
            .collect();
        assert_eq!(file.counts(&key.key)?, (counts, key.objects.len() as usize));
        let everything = file.passing(&key.key, &Test::Exists)?;
        let expected = key
            .values
            .iter()
            .flat_map(|e| e.jobs.iter())
            .chain(&key.objects);
        assert_eq!(everything, expected.collect());
    }
    Ok(part)
}

fn jobs() -> impl Strategy<Value = Vec<String>> {
    let value = prop_oneof![
        (0..400_u32).prop_map(|n| n.to_string()),
        "[01]\\.5",
        Just("\"\\ud800 text\"".to_owned()),
        Just("[1, {\"x\": 2}]".to_owned()),
        Just("{}".to_owned()),
        Just("{\"x\": null}".to_owned()),
    ];
    let job = prop::collection::vec(("[a-c]", value), 0..3);
    prop::collection::vec(job, 0..600).prop_map(|jobs| {
        let object = |entries: Vec<(String, String)>| {
            let entries = entries
                .into_iter()
                .map(|(key, value)| format!("\"{key}\": {value}"));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        };
        jobs.into_iter().map(object).collect()
    })
}

#[test]
fn what_was_written_is_read() {
    let config = ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(jobs in jobs())| {
        let part = part_of(&jobs);
        prop_assert_eq!(read(&written(&part)).expect("sound"), part);
    });
}

/// A small file with all kinds of parts.
fn sample() -> Vec<u8> {
    let jobs: Vec<_> = (0..300)
        .map(|i| {
            format!(
                "{{\"n\": {i}, \"k\": {}, \"o\": {{\"x\": {}}}}}",
                i % 3,
                i % 7
            )
        })
        .collect();
    written(&part_of(&jobs))
}

#[test]
fn a_truncated_file_is_damaged() {
    let bytes = sample();
    for n in 0..bytes.len() {
        assert!(
            CatalogFile::<JobEntry>::open(file_of(&bytes[..n])).is_err(),
            "{n} bytes"
        );
    }
}

#[test]
fn a_flipped_bit_is_noticed_or_does_not_matter() {
    let bytes = sample();
    let whole = read(&bytes).expect("sound");
    let config = ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(at in 0..bytes.len(), bit in 0..8_u8)| {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1_u8 << bit;
        if let Ok(part) = read(&damaged) {
            prop_assert_eq!(&part, &whole);
        }
    });
}

/// Whoever wrote the checksum: no content makes the reader panic or take memory without bound.
#[test]
fn contents_with_a_right_checksum_are_not_trusted_either() {
    let bytes = sample();
    let header = Header::decode(&bytes[..PAGE_BYTES]).expect("sound");
    let (start, end) = (header.contents_at as usize, bytes.len());
    let config = ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(at in start..end, byte in any::<u8>())| {
        let mut forged = bytes.clone();
        forged[at] = byte;
        let header = Header { contents_crc: crc32fast::hash(&forged[start..]), ..header };
        forged[..PAGE_BYTES].copy_from_slice(&header.encode());
        if let Ok(file) = CatalogFile::<JobEntry>::open(file_of(&forged)) {
            let _ = file.read_all();
            for key in file.keys().cloned().collect::<Vec<_>>() {
                let _ = (file.counts(&key), file.passing(&key, &Test::Exists));
            }
        }
    });
}

#[test]
fn other_versions_and_kinds_are_ignored() {
    let mut bytes = sample();
    assert!(CatalogFile::<JobEntry>::open(file_of(b"")).is_err());
    bytes[8] += 1;
    let error = CatalogFile::<JobEntry>::open(file_of(&bytes)).expect_err("another version");
    assert_eq!(
        error.to_string(),
        "the catalog file is damaged: it is of another version"
    );
}
