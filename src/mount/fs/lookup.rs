//! Finding an entry by its name.

use super::{ALIAS_BIT, Attributes, FsError, Lifetime, ViewFs, locked, real_number};
use crate::mount::generation::{Generation, Inode};
use crate::mount::nodes::Above;
use crate::mount::places::Found;
use crate::view::{ID_LEN, NodeIdx, other_spelling, path_hash};
use std::sync::Arc;

/// Shorter beginnings of ids are not looked up.
const ID_PREFIX_MIN: usize = 4;

/// Linux's `NAME_MAX`.
const NAME_BYTES_MAX: usize = 255;

impl ViewFs {
    /// Finds an entry of a directory. One that stands in no tree is known until it is forgotten.
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Result<(Attributes, Lifetime), FsError> {
        if name.len() > NAME_BYTES_MAX {
            return Err(FsError::NameTooLong);
        }
        let generation = self.current();
        match self.resolve(&generation, parent)? {
            Inode::Root => match generation.top(name) {
                Some(top) if top.kind.is_lasting() => Ok((
                    self.top_attributes(&generation, top),
                    Lifetime::UntilChanged,
                )),
                _ => self.lookup_passing(&generation, &Above::Lasting(parent), name),
            },
            Inode::Ids => self.lookup_id(&generation, parent, name),
            Inode::InTree(top, node) => self.lookup_in_tree(&generation, top, node, name),
            Inode::Passing(node) => self.lookup_passing(&generation, &Above::Node(node), name),
            Inode::IdLink(_) | Inode::Alias => Err(FsError::NotADirectory),
        }
    }

    fn lookup_in_tree(
        &self,
        generation: &Arc<Generation>,
        top: usize,
        dir: NodeIdx,
        name: &[u8],
    ) -> Result<(Attributes, Lifetime), FsError> {
        let shown = generation.tree(top);
        let tree = &shown.tree;
        if self.link_at(generation, top, dir).is_some() {
            return Err(FsError::NotADirectory);
        }
        if let Some(entry) = tree.entry(dir, name) {
            let attributes = self.node_attributes(generation, top, entry);
            return Ok((attributes, Lifetime::UntilChanged));
        }
        let found = self.lookup_passing(generation, &Above::Lasting(tree.hash(dir)), name);
        match found {
            // Only another spelling, of an entry that is to come, could be found some time.
            Err(FsError::NotFound(_))
                if !self.is_job_dir(generation, top, dir) && other_spelling(name).is_none() =>
            {
                Err(FsError::NotFound(Lifetime::UntilChanged))
            }
            found => found,
        }
    }

    /// Finds what stands in no tree.
    fn lookup_passing(
        &self,
        generation: &Arc<Generation>,
        above: &Above,
        name: &[u8],
    ) -> Result<(Attributes, Lifetime), FsError> {
        let now = self.served_now();
        let at = self.at(generation, &now);
        let resolved = match above {
            Above::Node(node) => at.place_of(node)?,
            Above::Lasting(ino) => at.lasting(*ino)?,
            Above::Nothing => at.place_of(&self.root)?,
        };
        let place = match at.step(&resolved.place, name)? {
            None => return Err(FsError::NotFound(Lifetime::Moment)),
            Some((Found::Link(job), _)) => {
                return Ok((self.id_attributes(generation, job), Lifetime::Moment));
            }
            Some((Found::Alias(shown), _)) => {
                let ino = ALIAS_BIT | path_hash(above.ino(), name);
                locked(&self.aliases).put(ino, shown);
                return Ok((self.alias_attributes(ino), Lifetime::Short));
            }
            Some((Found::Real(_, details), _)) => {
                let real = real_number(&details);
                let node = locked(&self.nodes).enter(above, name, real);
                return Ok((Attributes::real(node.ino, &details), Lifetime::Moment));
            }
            Some((Found::Node(place), _)) => place,
        };
        let ino = locked(&self.nodes).number(above.ino(), name, 0);
        let attributes = self.place_attributes(&at, ino, &place)?;
        let node = locked(&self.nodes).enter(above, name, 0);
        Ok((
            Attributes {
                ino: node.ino,
                ..attributes
            },
            Lifetime::Moment,
        ))
    }

    /// Finds a job by its id, or by a beginning of it that no other job has.
    fn lookup_id(
        &self,
        generation: &Arc<Generation>,
        dir: u64,
        name: &[u8],
    ) -> Result<(Attributes, Lifetime), FsError> {
        let not_found = |lifetime| Err(FsError::NotFound(lifetime));
        if name.first() == Some(&b'.') {
            return self.lookup_passing(generation, &Above::Lasting(dir), name);
        }
        let is_prefix = |text: &&str| text.len() >= ID_PREFIX_MIN;
        let Some(text) = std::str::from_utf8(name).ok().filter(is_prefix) else {
            return not_found(Lifetime::UntilChanged);
        };
        let Some(jobs) = generation.snapshot.find_prefix(text) else {
            return not_found(Lifetime::UntilChanged);
        };
        let complete = text.len() == ID_LEN;
        let lifetime = if complete {
            Lifetime::UntilChanged
        } else {
            Lifetime::Short
        };
        if jobs.len() != 1 {
            return not_found(lifetime);
        }
        Ok((self.id_attributes(generation, jobs.start), lifetime))
    }
}
