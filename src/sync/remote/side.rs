//! What is done in the data space there.

use super::compact::Blocks;
use super::list::{self, BadList, Lister};
use super::words::{
    digest_of, digest_of_job, item, last_line, lock_of, lock_of_job, name_of, outcome, state,
    words_to_write,
};
use super::{RemoteSide, failed, script};
use crate::exec::quoted_bytes;
use crate::fsx;
use crate::report::{Event, Observer};
use crate::statepoint::JobId;
use crate::sync::digests::Digests;
use crate::sync::local::ARRIVING;
use crate::sync::path::{Place, RelPath};
use crate::sync::side::{
    Done, FileDigest, FoundText, Listing, NewText, Removal, Restore, Run, Side, SyncError,
};
use crate::sync::state::Stamp;
use crate::sync::tree::JobTree;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// So many files are written by one command.
const TEXTS_AT_ONCE: usize = 500;

/// And so many are given their places together.
const ITEMS_AT_ONCE: usize = 100;

/// So many texts are not worth an `rsync`.
const TEXTS_BY_SCRIPT_MAX: usize = 20;

/// And so many bytes of what they are about: xargs(1) takes 128 KiB at once, and would cut an item in two.
const WORDS_BYTES_MAX: usize = 1 << 16;

impl RemoteSide {
    /// Reads files there.
    fn read_digests(&self, places: &[Place]) -> Result<Vec<Option<FileDigest>>, SyncError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<_> = places.iter().map(name_of).collect();
        let answer = self.ask_of(script::DIGESTS, &[], names.iter().map(Vec::as_slice))?;
        let mut found = HashMap::new();
        found.extend(answer.output.split(|b| *b == b'\n').filter_map(digest_of));
        Ok(names.iter().map(|name| found.get(name).copied()).collect())
    }

    /// Returns the time there, and what files are; `None` for what is no file.
    fn stamps(
        &self,
        places: &[Place],
    ) -> Result<(fsx::TimeNs, Vec<Option<fsx::Stamp>>), SyncError> {
        let names: Vec<_> = places.iter().map(name_of).collect();
        let answer = self.ask_of(script::STAMPS, &[], names.iter().map(Vec::as_slice))?;
        let read = list::stamps(&answer.output);
        let (now, mut found) = read.map_err(|error| self.nonsense(&error))?;
        Ok((now, names.iter().map(|name| found.remove(name)).collect()))
    }

    /// Has the `sweepfs` there list the files. What it says is checked as what `find` says.
    fn list_served(&self) -> Result<Listing, SyncError> {
        let (mut lister, mut blocks) = (Lister::new(self.root()), Blocks::default());
        self.list_with(script::LIST_SERVED, |chunk| {
            blocks.push(chunk, |record| lister.add(record))
        })?;
        if blocks.is_complete() {
            lister.end();
        }
        let listing = lister.finish("");
        listing.map_err(|error| self.nonsense(&error))
    }

    fn list_by_find(&self) -> Result<Listing, SyncError> {
        let mut lister = Lister::new(self.root());
        let complaint = self.list_with(script::LIST, |chunk| lister.push(chunk))?;
        let listing = lister.finish(&complaint);
        listing.map_err(|error| self.nonsense(&error))
    }

    /// Runs a script that lists the files, and hands on what it says piece by piece. Returns what it
    /// complained of.
    fn list_with(
        &self,
        script: &str,
        mut push: impl FnMut(&[u8]) -> Result<(), BadList>,
    ) -> Result<String, SyncError> {
        let mut fault = None;
        let answer = self.connection.stream(
            script,
            &[&self.root],
            |_| Ok(()),
            |chunk| {
                push(chunk).map_err(|error| {
                    fault = Some(error);
                    io::ErrorKind::InvalidData.into()
                })
            },
        );
        if let Some(fault) = fault {
            return Err(self.nonsense(&fault));
        }
        let answer = answer.map_err(|error| failed(&error))?;
        match answer.code {
            0 => Ok(answer.complaint),
            _ => Err(failed(&self.connection.failed(&answer))),
        }
    }

    /// Runs a script that answers for each of some items, `N` texts each, and hands on its answers.
    pub(super) fn for_items(
        &self,
        run: &Run,
        script: &str,
        items: &[Vec<Vec<u8>>],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        let Some(n_texts) = items.first().map(Vec::len) else {
            return Ok(());
        };
        let sizes = items
            .iter()
            .map(|item| item.iter().map(|text| text.len() + 1).sum());
        let at_once = WORDS_BYTES_MAX / sizes.max().unwrap_or(1).max(1);
        let at_once = (n_texts * at_once.clamp(1, ITEMS_AT_ONCE)).to_string();
        // What is before the items stands in the script as its first two arguments.
        let script = [script::PRELUDE, "shift 2\n", script].concat();
        let trash = self.trash_of(run);
        let args = [&trash, OsStr::new(&at_once), OsStr::new(&script)];
        let texts = items.iter().flatten().map(Vec::as_slice);
        let answer = self.ask_of(script::WITH_ITEMS, &args, texts)?;
        let why = last_line(&answer.complaint, "no answer");
        self.take(&answer.output, items.len(), &why, done)
    }

    /// Reads answers: of each item its number and what came of it.
    fn take(
        &self,
        output: &[u8],
        n_items: usize,
        why_missing: &str,
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        let mut is_done = vec![false; n_items];
        let fields: Vec<_> = output.split(|b| *b == 0).collect();
        for pair in fields.chunks_exact(2) {
            let at = std::str::from_utf8(pair[0])
                .ok()
                .and_then(|at| at.parse::<usize>().ok());
            let place = at.and_then(|at| is_done.get_mut(at));
            match (at, place) {
                (Some(at), Some(is_done)) if !*is_done => {
                    *is_done = true;
                    done(at, outcome(&String::from_utf8_lossy(pair[1])));
                }
                _ => {
                    return Err(SyncError::Failed {
                        message: format!("`{}` answers what nobody asked", self.options.host),
                        hint: None,
                    });
                }
            }
        }
        for (at, _) in is_done.iter().enumerate().filter(|(_, is_done)| !**is_done) {
            done(at, Err(why_missing.to_owned()));
        }
        Ok(())
    }

    /// Writes files one by one, in few commands.
    fn write_by_script(
        &self,
        run: &Run,
        texts: &[(usize, &NewText)],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        for chunk in texts.chunks(TEXTS_AT_ONCE) {
            let mut script = [script::PRELUDE, script::WRITE].concat().into_bytes();
            for (n, (_, text)) in chunk.iter().enumerate() {
                script.extend_from_slice(b"w");
                for word in words_to_write(n, text) {
                    script.push(b' ');
                    script.extend(quoted_bytes(OsStr::from_bytes(&word)));
                }
                script.push(b'\n');
            }
            script.extend_from_slice(b":\n");
            let trash = self.trash_of(run);
            let answer = self
                .connection
                .ask_with(&script, &[&self.root, &trash], |input| {
                    chunk
                        .iter()
                        .try_for_each(|(_, text)| input.write_all(&text.bytes))
                });
            let answer = answer.map_err(|error| failed(&error))?;
            let why = last_line(&answer.complaint, "not written");
            let done: &Done<'_> = &|n, outcome| done(chunk[n].0, outcome);
            self.take(&answer.output, chunk.len(), &why, done)?;
        }
        Ok(())
    }
}

impl Side for RemoteSide {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn list(&self, observer: &dyn Observer) -> Result<Listing, SyncError> {
        let what = "listing jobs there";
        observer.event(Event::Progress {
            what,
            done: 0,
            total: 0,
        });
        let served = self.is_served().then(|| self.list_served());
        let listing = match served {
            Some(Ok(listing)) => Ok(listing),
            Some(Err(error)) => {
                tracing::info!(
                    "the sweepfs of `{}` is of no use: {error}",
                    self.options.host
                );
                self.is_served.store(false, Ordering::Relaxed);
                self.list_by_find()
            }
            None => self.list_by_find(),
        };
        observer.event(Event::Finished);
        listing
    }

    fn read_many(&self, places: &[Place]) -> Result<Vec<FoundText>, SyncError> {
        self.fetch_texts(places)
    }

    fn digests(&self, places: &[Place]) -> Result<Vec<Option<FileDigest>>, SyncError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let Some(path) = &self.digests else {
            return self.read_digests(places);
        };
        let known = Digests::load(path.clone());
        let (now, stamps) = self.stamps(places)?;
        let believed = places.iter().zip(&stamps);
        let mut found: Vec<_> = believed
            .map(|(place, stamp)| known.get(place, stamp.as_ref()?))
            .collect();
        let unknown: Vec<_> = (0..places.len())
            .filter(|at| found[*at].is_none())
            .collect();
        let asked: Vec<_> = unknown.iter().map(|at| places[*at].clone()).collect();
        let mut read = Vec::new();
        for (at, digest) in unknown.into_iter().zip(self.read_digests(&asked)?) {
            found[at] = digest;
            // What it was before it was read: if it has changed since, that is not believed next time.
            if let (Some(digest), Some(stamp)) = (digest, stamps[at]) {
                read.push((&places[at], stamp, digest));
            }
        }
        known.keep(places, read, now);
        Ok(found)
    }

    fn write_many(&self, run: &Run, texts: &[NewText], done: &Done<'_>) -> Result<(), SyncError> {
        let all = texts.iter().enumerate();
        let (of_jobs, others): (Vec<_>, Vec<_>) =
            all.partition(|(_, text)| text.place.job.is_some());
        match of_jobs.len() > TEXTS_BY_SCRIPT_MAX {
            true => {
                self.push_texts(run, &of_jobs, done)?;
                self.write_by_script(run, &others, done)
            }
            false => self.write_by_script(run, &[others, of_jobs].concat(), done),
        }
    }

    fn remove_many(
        &self,
        run: &Run,
        removals: &[Removal],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        // What is in a directory goes before it.
        let mut order: Vec<_> = removals.iter().enumerate().collect();
        order.sort_by_key(|(at, removal)| (removal.before.is_dir(), std::cmp::Reverse(*at)));
        let items: Vec<_> = order
            .iter()
            .map(|(at, removal)| item(*at, removal))
            .collect();
        self.for_items(run, script::REMOVE, &items, done)
    }

    fn remove_jobs(&self, run: &Run, jobs: &[JobTree], done: &Done<'_>) -> Result<(), SyncError> {
        let item = |(at, job): (usize, &JobTree)| {
            let id = job.id.to_string();
            vec![
                at.to_string().into_bytes(),
                lock_of_job(&job.id),
                format!("workspace/{id}").into_bytes(),
                digest_of_job(job).into_bytes(),
            ]
        };
        let items: Vec<_> = jobs.iter().enumerate().map(item).collect();
        self.for_items(run, script::REMOVE_JOBS, &items, done)
    }

    fn restore_many(
        &self,
        run: &Run,
        from: &str,
        restores: &[Restore],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        // A directory comes before what is in it.
        let mut order: Vec<_> = restores.iter().enumerate().collect();
        order.sort_by_key(|(at, restore)| (!restore.before.is_dir(), *at));
        let item = |(at, restore): &(usize, &Restore)| {
            vec![
                at.to_string().into_bytes(),
                name_of(&restore.place),
                state(restore.now.as_ref()),
                state(Some(&restore.before)),
                format!("{:o}", restore.before.mode).into_bytes(),
                from.as_bytes().to_vec(),
                lock_of(&restore.place),
            ]
        };
        let items: Vec<_> = order.iter().map(item).collect();
        self.for_items(run, script::RESTORE, &items, done)
    }

    fn restore_jobs(
        &self,
        run: &Run,
        from: &str,
        jobs: &[JobId],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        let item = |(at, id): (usize, &JobId)| {
            vec![
                at.to_string().into_bytes(),
                lock_of_job(id),
                format!("workspace/{id}").into_bytes(),
                from.as_bytes().to_vec(),
            ]
        };
        let items: Vec<_> = jobs.iter().enumerate().map(item).collect();
        self.for_items(run, script::RESTORE_JOBS, &items, done)
    }

    fn rename_many(
        &self,
        run: &Run,
        renames: &[(Removal, RelPath)],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        let with_new = |(at, (from, to)): (usize, &(Removal, RelPath))| {
            let to = Place {
                job: from.place.job,
                path: to.clone(),
            };
            let mut item = item(at, from);
            item.push(name_of(&to));
            item
        };
        let items: Vec<_> = renames.iter().enumerate().map(with_new).collect();
        self.for_items(run, script::RENAME, &items, done)
    }

    fn clean(&self, leftovers: &[Place]) -> Result<(), SyncError> {
        let names: Vec<_> = leftovers.iter().map(name_of).collect();
        let names = names.iter().map(Vec::as_slice);
        match leftovers.is_empty() {
            // What had not arrived goes on from there.
            true => Ok(()),
            false => self.ask_of(script::CLEAN, &[], names).map(drop),
        }
    }

    fn stamp(&self, pair: Uuid) -> Result<Option<u64>, SyncError> {
        let pair = pair.simple().to_string();
        let answer = self.ask(script::STAMP, &[OsStr::new(&pair)])?;
        let text = String::from_utf8_lossy(&answer.output);
        Ok(text.trim().parse().ok())
    }

    fn set_stamp(&self, stamp: Stamp) -> Result<(), SyncError> {
        let (pair, number) = (stamp.pair.simple().to_string(), stamp.number.to_string());
        let args = [OsStr::new(&pair), OsStr::new(&number)];
        self.ask(script::SET_STAMP, &args).map(drop)
    }

    fn settle(&self, _: &Run) {
        let _ = self.ask(script::EXPIRE, &[OsStr::new(ARRIVING), &self.trash]);
    }
}
