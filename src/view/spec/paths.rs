//! The paths that a spec makes of jobs.

use super::super::LEAF;
use super::super::names::{Name, component, fragment, key_names, value_names};
use super::super::plan::{
    LEAF_NAME, NameIdx, NamePool, Paths, component_names, distinguishing_keys, numbered_paths,
};
use super::fields::{Cells, Rows, combined};
use super::{PathSpec, PathsError, Piece};
use crate::catalog::{Facts, KeyIndex, Snapshot};
use crate::pyjson::{PyStr, Value};
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::collections::{HashMap, HashSet};

/// So many jobs are named in an error.
const NAMED_MAX: usize = 3;

/// Gives each selected job the path that a spec makes of it.
///
/// Within a directory, entries that differ in one field only are in the order of its values, others
/// in that of their bytes. `facts` are those of the snapshot.
pub fn spec_paths(
    snapshot: &Snapshot,
    facts: &Facts<'_>,
    selection: &RoaringBitmap,
    spec: &PathSpec,
) -> Result<Paths, PathsError> {
    if selection.is_empty() {
        return Ok(Paths::default());
    }
    let rows = Rows::new(snapshot, facts, selection);
    let texts = rows.texts(spec)?;
    let mut builder = Builder {
        n_rows: rows.len(),
        texts,
        auto: Auto::new(snapshot, selection, spec),
        names: NamePool::default(),
        known: HashMap::new(),
    };
    builder.names.push(LEAF.as_bytes());
    let parts = builder.parts(spec);
    let paths = joined(builder.names, selection, &parts);
    check(&paths, snapshot, spec)?;
    Ok(paths)
}

impl PathSpec {
    fn has_auto(&self) -> bool {
        let mut pieces = self.components.iter().flatten();
        pieces.any(|piece| matches!(piece, Piece::Auto(_)))
    }
}

/// The keys and values that tell jobs apart.
struct Auto<'a> {
    keys: Vec<&'a KeyIndex>,
    /// For each job pairs of the numbers of a key and of a value.
    pairs: Paths,
}

impl<'a> Auto<'a> {
    fn new(snapshot: &'a Snapshot, selection: &RoaringBitmap, spec: &PathSpec) -> Self {
        let mut keys = match spec.has_auto() {
            true => distinguishing_keys(snapshot.keys(), selection),
            false => Vec::new(),
        };
        keys.retain(|index| {
            let dotted = index.key.dotted().to_str();
            !spec
                .field_texts
                .iter()
                .any(|text| Some(text.as_str()) == dotted)
        });
        let pairs = numbered_paths(&keys, selection);
        Self { keys, pairs }
    }

    /// Returns the names of what is numbered, as components.
    fn names_of_components(&self) -> Vec<Name> {
        let names = component_names(&self.keys, &[LEAF]);
        let names = (0..names.len() as NameIdx).map(|name| names.get(name).into());
        names.collect()
    }

    /// Returns the names of what is numbered, as parts of one component.
    fn names_in_component(&self) -> Vec<Name> {
        let keys = key_names(self.keys.iter().map(|index| &index.key), &[]);
        let values = self.keys.iter().flat_map(|index| {
            let values = || index.values.iter().map(|entry| &entry.value);
            let names = value_names(values()).into_iter();
            names.zip(values()).map(|(name, value)| match value {
                Value::Str(text) if matches!(text.as_bytes(), b"" | b"." | b"..") => {
                    text.as_bytes().into()
                }
                _ => name,
            })
        });
        let leaf: Name = LEAF.as_bytes().into();
        std::iter::once(leaf).chain(keys).chain(values).collect()
    }
}

/// A stretch of the path of each row.
enum Part {
    /// One component.
    One(Vec<NameIdx>),
    /// Any number of components: where those of each row begin, and all of them.
    Many(Vec<u32>, Vec<NameIdx>),
}

impl Part {
    fn of_row(&self, row: usize) -> &[NameIdx] {
        match self {
            Self::One(components) => &components[row..=row],
            Self::Many(starts, components) => {
                &components[starts[row] as usize..starts[row + 1] as usize]
            }
        }
    }
}

/// Makes names and numbers them.
struct Builder<'a> {
    n_rows: usize,
    texts: Vec<Cells<PyStr>>,
    auto: Auto<'a>,
    names: NamePool,
    /// The names that siblings may have, with their numbers.
    known: HashMap<Name, NameIdx>,
}

impl Builder<'_> {
    fn parts(&mut self, spec: &PathSpec) -> Vec<Part> {
        let n_components = spec.components.len();
        let mut parts = Vec::with_capacity(n_components);
        // Whether components of different origin may be siblings.
        let mut mixed = false;
        for (i, pieces) in spec.components.iter().enumerate() {
            if !mixed {
                self.known = HashMap::from([(LEAF.as_bytes().into(), LEAF_NAME)]);
            }
            let is_auto = |piece: &Piece| matches!(piece, Piece::Auto(_));
            let is_default = matches!(pieces.as_slice(), [Piece::Auto(by)] if by == "/");
            parts.push(if is_default && !mixed && i + 1 == n_components {
                self.auto_at_end()
            } else if pieces.iter().any(is_auto) {
                let splits = |piece: &Piece| matches!(piece, Piece::Auto(by) if by.contains('/'));
                mixed |= pieces.iter().any(splits) || pieces.iter().all(is_auto);
                self.row_by_row(pieces)
            } else {
                self.one(pieces)
            });
        }
        parts
    }

    /// The default path, over the keys that the spec does not have. No two keys' values can become
    /// siblings, so all names keep numbers of their own, in the order of the values.
    fn auto_at_end(&mut self) -> Part {
        let names = component_names(&self.auto.keys, &[LEAF]);
        let shift = self.names.len() as NameIdx - 1;
        for name in 1..names.len() as NameIdx {
            self.names.push(names.get(name));
        }
        let (starts, components) = self.auto.pairs.unsorted();
        let shifted = components.iter().map(|name| name + shift);
        Part::Many(starts.to_vec(), shifted.collect())
    }

    /// A component without auto, which every job has.
    fn one(&mut self, pieces: &[Piece]) -> Part {
        let fields: Vec<_> = pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Field(field) => Some(*field),
                _ => None,
            })
            .collect();
        let texts = &self.texts;
        let named = |text: &dyn Fn(usize) -> Vec<u8>| {
            let parts = pieces.iter().map(|piece| match piece {
                Piece::Text(text) | Piece::Auto(text) => text.as_bytes().to_vec(),
                Piece::Field(field) => text(*field),
            });
            component(parts.collect::<Vec<_>>().concat())
        };
        if let [field] = *fields {
            let items = texts[field].items.par_iter();
            let names = items.map(|item| named(&|_| fragment(item))).collect();
            let numbers = self.numbered(names);
            let places = &self.texts[field].places;
            return Part::One(places.iter().map(|&at| numbers[at as usize]).collect());
        }
        let columns: Vec<_> = fields
            .iter()
            .map(|&field| texts[field].places.as_slice())
            .collect();
        let (places, rows) = match columns.is_empty() {
            true => (vec![0; self.n_rows], vec![0]),
            false => combined(&columns),
        };
        let names: Vec<_> = rows
            .par_iter()
            .map(|&row| named(&|field| fragment(texts[field].get(row))))
            .collect();
        self.number_sorted(&names);
        Part::One(
            places
                .iter()
                .map(|&at| self.known[&names[at as usize]])
                .collect(),
        )
    }

    /// Components of which the number may depend on the job.
    fn row_by_row(&mut self, pieces: &[Piece]) -> Part {
        let (in_component, split) = (
            self.auto.names_in_component(),
            self.auto.names_of_components(),
        );
        let row_names = |row: usize| {
            let mut path = RowPath::default();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => path.current.extend_from_slice(text.as_bytes()),
                    Piece::Field(field) => {
                        path.push_value(&fragment(self.texts[*field].get(row as u32)));
                    }
                    Piece::Auto(by) => {
                        let names = if by.contains('/') {
                            &split
                        } else {
                            &in_component
                        };
                        let tokens = self.auto.pairs.components_at(row as u32).iter();
                        path.push_joined(tokens.map(|&token| &*names[token as usize]), by);
                    }
                }
            }
            path.end_component();
            path.components
        };
        let paths: Vec<_> = (0..self.n_rows).into_par_iter().map(row_names).collect();
        self.number_sorted(paths.iter().flatten());
        let (mut starts, mut components) = (vec![0], Vec::new());
        for name in paths {
            components.extend(name.iter().map(|name| self.known[name]));
            starts.push(components.len() as u32);
        }
        Part::Many(starts, components)
    }

    /// Numbers names in the order given, those that have a number excepted.
    fn numbered(&mut self, names: Vec<Name>) -> Vec<NameIdx> {
        let numbers = names.into_iter().map(|name| {
            let pool = &mut self.names;
            *self
                .known
                .entry(name)
                .or_insert_with_key(|name| pool.push(name))
        });
        numbers.collect()
    }

    fn number_sorted<'n>(&mut self, names: impl IntoIterator<Item = &'n Name>) {
        let new: HashSet<_> = names
            .into_iter()
            .filter(|&name| !self.known.contains_key(name))
            .collect();
        let mut new: Vec<_> = new.into_iter().cloned().collect();
        new.par_sort_unstable();
        self.numbered(new);
    }
}

/// The components of one job's path, while they are put together.
#[derive(Default)]
struct RowPath {
    components: Vec<Name>,
    current: Vec<u8>,
    /// Whether a value is in the current component.
    has_value: bool,
}

impl RowPath {
    fn push_value(&mut self, bytes: &[u8]) {
        self.current.extend_from_slice(bytes);
        self.has_value = true;
    }

    /// Appends names with a separator between them, which may end components.
    fn push_joined<'n>(&mut self, names: impl Iterator<Item = &'n [u8]>, separator: &str) {
        for (i, name) in names.enumerate() {
            let between = separator
                .split('/')
                .take(if i > 0 { usize::MAX } else { 0 });
            for (j, text) in between.enumerate() {
                if j > 0 {
                    self.end_component();
                }
                self.current.extend_from_slice(text.as_bytes());
            }
            self.push_value(name);
        }
    }

    /// Ends a component; one that is nothing without a value vanishes, as it does on disk.
    fn end_component(&mut self) {
        let bytes = std::mem::take(&mut self.current);
        let has_value = std::mem::take(&mut self.has_value);
        if has_value || !matches!(bytes.as_slice(), b"" | b".") {
            self.components.push(component(bytes));
        }
    }
}

fn joined(names: NamePool, selection: &RoaringBitmap, parts: &[Part]) -> Paths {
    let (mut starts, mut components) = (vec![0], Vec::new());
    for row in 0..selection.len() as usize {
        parts
            .iter()
            .for_each(|part| components.extend_from_slice(part.of_row(row)));
        starts.push(components.len() as u32);
    }
    Paths::new(names, selection.iter().collect(), starts, components)
}

/// Finds jobs that share a path, or the path of one that runs through the leaf of another.
fn check(paths: &Paths, snapshot: &Snapshot, spec: &PathSpec) -> Result<(), PathsError> {
    let id = |i: usize| snapshot.jobs()[paths.job(i) as usize].id;
    for i in 1..paths.len() {
        let (before, path) = (paths.components(i - 1), paths.components(i));
        if path == before {
            let is_same = |&other: &usize| paths.components(other) == path;
            let n_jobs = (i - 1..paths.len()).take_while(is_same).count();
            return Err(PathsError::Shared {
                spec: spec.to_string(),
                path: shown(paths, path),
                jobs: (i - 1..i - 1 + n_jobs.min(NAMED_MAX)).map(id).collect(),
                n_jobs,
            });
        }
        // The number of a leaf's name is the least, so a path through it comes next.
        if path
            .strip_prefix(before)
            .is_some_and(|rest| rest[0] == LEAF_NAME)
        {
            return Err(PathsError::ThroughLeaf {
                path: shown(paths, path),
                leaf: id(i - 1),
                other: id(i),
            });
        }
    }
    Ok(())
}

fn shown(paths: &Paths, components: &[NameIdx]) -> String {
    let names = components
        .iter()
        .map(|&name| String::from_utf8_lossy(paths.names.get(name)));
    names.collect::<Vec<_>>().join("/")
}
