//! What is answered from memory, whatever becomes of the disk.

use super::ViewFs;
use crate::config::LeafStyle;
use crate::mount::generation::{Generation, Inode, ROOT};
use crate::mount::nodes::{Above, PassingNode};
use crate::mount::places::is_plain;
use crate::mount::tops::{Top, TopKind};

impl ViewFs {
    /// Tells whether nothing on disk is looked at for what `stat`, `readlink` or a listing shows of
    /// an inode or, with a name, for finding that entry.
    pub fn is_in_memory(&self, ino: u64, name: Option<&[u8]>) -> bool {
        let generation = self.current();
        match (self.resolve(&generation, ino), name) {
            (Ok(Inode::Passing(node)), name) => self.is_plain_by(&generation, &node, name),
            (Ok(Inode::InTree(top, node)), None) => !self.is_job_dir(&generation, top, node),
            (Ok(Inode::InTree(top, node)), Some(name)) => {
                generation.tree(top).tree.entry(node, name).is_some()
            }
            (Ok(Inode::Root), Some(name)) => generation
                .top(name)
                .is_some_and(|top| top.kind.is_lasting() || is_by(top)),
            (Ok(Inode::Ids), Some(name)) => name.first() != Some(&b'.'),
            _ => true,
        }
    }

    /// Tells whether a node, or an entry of it, is in `by` and neither below a filter nor a file
    /// nor in a job's directory.
    fn is_plain_by(
        &self,
        generation: &Generation,
        node: &PassingNode,
        name: Option<&[u8]>,
    ) -> bool {
        let job_is_dir = self.served_now().served.shown.leaf == LeafStyle::Dir;
        if !name.is_none_or(|name| is_plain(name, job_is_dir)) {
            return false;
        }
        let mut node = node;
        loop {
            match &node.above {
                Above::Node(above) if is_plain(&node.name, job_is_dir) => node = above,
                Above::Lasting(ROOT) => return generation.top(&node.name).is_some_and(is_by),
                Above::Nothing => {
                    let only = generation.only.map(|top| &generation.tops[top]);
                    return only.is_some_and(is_by);
                }
                _ => return false,
            }
        }
    }
}

fn is_by(top: &Top) -> bool {
    matches!(top.kind, TopKind::By)
}
