//! Listings, and what of them the kernel must forget after a moment.

use super::{Attributes, DirEntry, FsError, Lifetime, ViewFs, locked, real_number};
use crate::config::LeafStyle;
use crate::mount::cookie::{AT_END, After, Cookie, Position};
use crate::mount::generation::{Generation, Inode, ROOT};
use crate::mount::nodes::Above;
use crate::mount::places::{At, Listed, ListedKind};
use crate::mount::tops::Top;
use crate::view::{Node, NodeIdx, path_hash};
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// What the kernel must forget after a moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Directories whose listing is too old.
    pub listings: Vec<u64>,
    /// Entries of which there are too many.
    pub entries: Vec<(u64, Box<[u8]>)>,
}

/// Directories that were listed and that the kernel must list again after a moment.
#[derive(Debug, Default)]
pub(super) struct RecentListings {
    queue: VecDeque<(Instant, u64)>,
    queued: HashSet<u64>,
}

impl ViewFs {
    /// Lists a directory from `offset` (0, or the `next` of an entry) until `emit` says that it
    /// has enough; that entry is not counted as listed. With `with_lookups`, an entry that is
    /// listed counts as looked up.
    ///
    /// A listing shows one generation to its end, even if others have taken over meanwhile.
    pub fn list(
        &self,
        ino: u64,
        offset: u64,
        with_lookups: bool,
        mut emit: impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), FsError> {
        let cookie = match Cookie::from_offset(offset) {
            Position::End => return Ok(()),
            Position::At(cookie) => cookie,
        };
        let current = self.current();
        let passing = match self.resolve(&current, ino) {
            Ok(Inode::Passing(node)) => Some(Above::Node(node)),
            Ok(Inode::InTree(top, node)) if self.is_job_dir(&current, top, node) => {
                Some(Above::Lasting(ino))
            }
            Ok(_) => None,
            Err(error) if offset == 0 => return Err(error),
            Err(_) => None,
        };
        if let Some(above) = passing {
            let request = ListRequest {
                above: &above,
                cookie,
                with_lookups,
            };
            return self.list_passing(&current, &request, &mut emit);
        }
        let shown = match cookie.after {
            After::Nothing => Arc::clone(&current),
            _ => self.kept_generation(cookie.tag, &current),
        };
        // The kernel was told to forget what an older generation had; it must not learn it anew.
        let lifetime = if Arc::ptr_eq(&shown, &current) {
            Lifetime::UntilChanged
        } else {
            Lifetime::Over
        };
        if self.list_generation(&shown, ino, cookie.after, lifetime, with_lookups, &mut emit)? {
            locked(&self.kept).put(shown.tag(), (shown, Instant::now()));
        }
        Ok(())
    }

    pub(super) fn is_job_dir(&self, generation: &Generation, top: usize, node: NodeIdx) -> bool {
        let tree = generation.tree(top);
        tree.leaf == LeafStyle::Dir && matches!(tree.tree.node(node), Node::Leaf(_))
    }

    /// Returns the generation a listing began with or, if nobody kept it, the current one, in
    /// which the listing goes on after the same entry.
    fn kept_generation(&self, tag: u8, current: &Arc<Generation>) -> Arc<Generation> {
        if tag == current.tag() {
            return Arc::clone(current);
        }
        let mut kept = locked(&self.kept);
        kept.get(&tag).map_or_else(
            || Arc::clone(current),
            |(generation, _)| Arc::clone(generation),
        )
    }

    /// Returns whether `emit` had enough.
    fn list_generation(
        &self,
        generation: &Arc<Generation>,
        ino: u64,
        after: After,
        lifetime: Lifetime,
        with_lookups: bool,
        emit: &mut impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<bool, FsError> {
        let inode = self.resolve(generation, ino)?;
        let is_dir = match &inode {
            Inode::Root | Inode::Ids => true,
            Inode::InTree(top, node) => {
                matches!(generation.tree(*top).tree.node(*node), Node::Dir { .. })
            }
            _ => false,
        };
        if !is_dir {
            return Err(FsError::NotADirectory);
        }
        let (n_dots, first) = generation.position(&inode, after)?;
        let tag = generation.tag();
        let next = |after| Cookie { tag, after }.offset();
        let own = self.attributes_of(generation, ino, &inode)?;
        let above = self.attributes_of_parent(generation, &inode)?;
        let dots = [(".", own, After::Dot), ("..", above, After::DotDot)];
        for (name, attributes, after) in dots.into_iter().skip(n_dots) {
            if emit(DirEntry {
                name: name.as_bytes(),
                attributes,
                next: next(after),
                lifetime,
            }) {
                return Ok(true);
            }
        }
        let n_entries = generation.n_entries(&inode);
        for position in first..n_entries {
            let next = match position + 1 == n_entries {
                true => AT_END,
                false => next(generation.after(&inode, position)),
            };
            let full = match &inode {
                Inode::Root => {
                    let top = &generation.tops[position as usize];
                    self.emit_top(generation, top, (next, lifetime, with_lookups), emit)
                }
                _ => self.with_entry(generation, &inode, position, |name, attributes| {
                    emit(DirEntry {
                        name,
                        attributes,
                        next,
                        lifetime,
                    })
                }),
            };
            if full {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn emit_top(
        &self,
        generation: &Generation,
        top: &Top,
        (next, lifetime, with_lookups): (u64, Lifetime, bool),
        emit: &mut impl FnMut(DirEntry<'_>) -> bool,
    ) -> bool {
        let mut attributes = self.top_attributes(generation, top);
        let mut nodes = locked(&self.nodes);
        if !top.kind.is_lasting() {
            attributes.ino = nodes.number(ROOT, &top.name, 0);
        }
        let full = emit(DirEntry {
            name: &top.name,
            attributes,
            next,
            lifetime: match top.kind.is_lasting() {
                true => lifetime,
                false => Lifetime::Moment,
            },
        });
        if !full && with_lookups && !top.kind.is_lasting() {
            nodes.enter(&Above::Lasting(ROOT), &top.name, 0);
        }
        full
    }

    fn with_entry<T>(
        &self,
        generation: &Generation,
        dir: &Inode,
        position: u32,
        then: impl FnOnce(&[u8], Attributes) -> T,
    ) -> T {
        match dir {
            Inode::InTree(top, dir) => {
                let tree = &generation.tree(*top).tree;
                let entry = tree.entries(*dir).start + position;
                let attributes = self.node_attributes(generation, *top, entry);
                then(tree.name(entry), attributes)
            }
            _ => {
                let id = generation.snapshot.jobs()[position as usize].id.to_string();
                then(id.as_bytes(), self.id_attributes(generation, position))
            }
        }
    }

    /// Lists what stands in no tree.
    fn list_passing(
        &self,
        generation: &Arc<Generation>,
        request: &ListRequest<'_>,
        emit: &mut impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), FsError> {
        let ListRequest {
            above,
            cookie,
            with_lookups,
        } = *request;
        let ino = above.ino();
        let now = self.served_now();
        let at = self.at(generation, &now);
        let (listing, tag) = self.listing_of(&at, above, cookie)?;
        self.expire_listing(ino);
        let next = |after| Cookie { tag, after }.offset();
        let (n_dots, first) = position_in(&listing, ino, cookie.after)?;
        let own = Attributes::dir(ino, self.started);
        let parent = match above {
            Above::Node(node) => node.above.ino(),
            _ => ROOT,
        };
        let dots = [
            (".", own, After::Dot),
            ("..", Attributes::dir(parent, self.started), After::DotDot),
        ];
        for (name, attributes, after) in dots.into_iter().skip(n_dots) {
            if emit(DirEntry {
                name: name.as_bytes(),
                attributes,
                next: next(after),
                lifetime: Lifetime::Over,
            }) {
                locked(&self.listings).put((ino, tag), listing);
                return Ok(());
            }
        }
        for (i, entry) in listing.iter().enumerate().skip(first) {
            let next = match i + 1 == listing.len() {
                true => AT_END,
                false => next(After::Entry(entry_key(ino, &entry.name))),
            };
            if self.emit_listed(&at, above, entry, (next, with_lookups), emit) {
                locked(&self.listings).put((ino, tag), Arc::clone(&listing));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns the listing that is to be continued, or a new one, and its tag.
    fn listing_of(
        &self,
        at: &At<'_>,
        above: &Above,
        cookie: Cookie,
    ) -> Result<(Arc<[Listed]>, u8), FsError> {
        let key = (above.ino(), cookie.tag);
        let kept = match cookie.after {
            After::Nothing => None,
            _ => locked(&self.listings).get(&key).map(Arc::clone),
        };
        if let Some(listing) = kept {
            return Ok((listing, cookie.tag));
        }
        let place = match above {
            Above::Node(node) => at.place_of(node)?.place,
            Above::Lasting(ino) => at.lasting(*ino)?.place,
            Above::Nothing => at.place_of(&self.root)?.place,
        };
        let tag = self.finder.next_version() as u8;
        Ok((at.entries(&place)?.into(), tag))
    }

    fn emit_listed(
        &self,
        at: &At<'_>,
        above: &Above,
        entry: &Listed,
        (next, with_lookups): (u64, bool),
        emit: &mut impl FnMut(DirEntry<'_>) -> bool,
    ) -> bool {
        if let ListedKind::Link(job) = entry.is {
            return emit(DirEntry {
                name: &entry.name,
                attributes: self.id_attributes(at.generation, job),
                next,
                lifetime: Lifetime::Moment,
            });
        }
        let real = match &entry.is {
            ListedKind::Real(details) => real_number(details),
            _ => 0,
        };
        let mut nodes = locked(&self.nodes);
        let ino = nodes.number(above.ino(), &entry.name, real);
        let attributes = match &entry.is {
            ListedKind::Dir(modified) => Attributes::dir(ino, *modified),
            ListedKind::File(size_bytes) => Attributes::file(ino, self.started, *size_bytes),
            ListedKind::Real(details) => Attributes::real(ino, details),
            ListedKind::Link(job) => self.id_attributes(at.generation, *job),
        };
        let full = emit(DirEntry {
            name: &entry.name,
            attributes,
            next,
            lifetime: Lifetime::Moment,
        });
        if !full && with_lookups {
            nodes.enter(above, &entry.name, real);
        }
        full
    }

    /// Notes that the kernel must list a directory again after a moment.
    fn expire_listing(&self, ino: u64) {
        let mut listed = locked(&self.listed);
        if listed.queued.insert(ino) {
            listed.queue.push_back((Instant::now(), ino));
            self.listed_some.notify_one();
        }
    }

    /// Waits until the kernel must forget something, and returns it; nothing after `limit`.
    pub fn wait_until_due(&self, limit: Duration) -> Due {
        let moment = self.served_now().served.moment;
        let mut listed = locked(&self.listed);
        if listed.queue.is_empty() {
            listed = self
                .listed_some
                .wait_timeout(listed, limit)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        if let Some((at, _)) = listed.queue.front() {
            let left = moment.saturating_sub(at.elapsed());
            drop(listed);
            std::thread::sleep(left);
            listed = locked(&self.listed);
        }
        let mut due = Due::default();
        while listed
            .queue
            .front()
            .is_some_and(|(at, _)| at.elapsed() >= moment)
        {
            let ino = listed.queue.pop_front().map(|(_, ino)| ino);
            due.listings.extend(ino);
        }
        for ino in &due.listings {
            listed.queued.remove(ino);
        }
        drop(listed);
        due.entries = locked(&self.nodes).surplus();
        due
    }

    fn attributes_of_parent(
        &self,
        generation: &Generation,
        inode: &Inode,
    ) -> Result<Attributes, FsError> {
        Ok(match inode {
            Inode::InTree(top, node) if *node != 0 => {
                let parent = generation.tree(*top).tree.parent(*node);
                self.node_attributes(generation, *top, parent)
            }
            _ => Attributes::dir(ROOT, generation.newest),
        })
    }
}

/// What is listed of a directory that stands in no tree.
#[derive(Clone, Copy, Debug)]
struct ListRequest<'a> {
    above: &'a Above,
    cookie: Cookie,
    with_lookups: bool,
}

/// Returns how many of `.` and `..` were listed, and the position of the next entry.
fn position_in(listing: &[Listed], dir: u64, after: After) -> Result<(usize, usize), FsError> {
    Ok(match after {
        After::Nothing => (0, 0),
        After::Dot => (1, 0),
        After::DotDot => (2, 0),
        After::Entry(key) => {
            let is_last = |entry: &Listed| entry_key(dir, &entry.name) == key;
            let last = listing.iter().position(is_last);
            (2, last.ok_or(FsError::Stale)? + 1)
        }
    })
}

/// The key of an entry in a listing's cookie.
fn entry_key(dir: u64, name: &[u8]) -> u64 {
    path_hash(dir, name)
}
