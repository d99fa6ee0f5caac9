//! Finding and making projects.

use super::Workspace;
use crate::config::{self, ConfigError, SCHEMA_VERSION};
use crate::fsx::{self, Durability, FsError};
use std::path::{Path, PathBuf};

/// Why no project could be opened or made.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// Neither the directory nor one above it is a project.
    #[error("no signac project in `{}` or above it", .0.display())]
    NotFound(PathBuf),
    /// The project has another layout.
    #[error("the project `{}` has schema version {version}; only version {SCHEMA_VERSION} is understood", root.display())]
    Incompatible {
        /// The project's directory.
        root: PathBuf,
        /// Its schema version.
        version: i64,
    },
    /// Its settings cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// A directory with `.signac/config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    root: PathBuf,
}

impl Project {
    /// Finds the project that a directory belongs to: itself, or the nearest one above.
    ///
    /// `start` must be absolute. A project of an older schema is named only if no current one is
    /// found, as signac does.
    pub fn discover(start: &Path) -> Result<Self, ProjectError> {
        fsx::stamp(start)?;
        if let Some(root) = start.ancestors().find(|dir| is_project(dir)) {
            return Self::open(root);
        }
        match start
            .ancestors()
            .find(|dir| dir.join("signac.rc").is_file())
        {
            Some(root) => Err(ProjectError::Incompatible {
                root: root.to_owned(),
                version: 1,
            }),
            None => Err(ProjectError::NotFound(start.to_owned())),
        }
    }

    fn open(root: &Path) -> Result<Self, ProjectError> {
        let version = config::schema_version(&config_path(root))?;
        if version != SCHEMA_VERSION {
            return Err(ProjectError::Incompatible {
                root: root.to_owned(),
                version,
            });
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Makes a directory a project, or opens the one it is.
    pub fn init(root: &Path) -> Result<Self, ProjectError> {
        if root.join("signac.rc").is_file() && !is_project(root) {
            return Err(ProjectError::Incompatible {
                root: root.to_owned(),
                version: 1,
            });
        }
        let config = config_path(root);
        if !is_project(root) {
            fsx::create_dir_all(&root.join(".signac"))?;
            fsx::write_atomic(&config, b"schema_version = 2\n", Durability::Power)?;
        }
        let project = Self::open(root)?;
        project.workspace().ensure()?;
        Ok(project)
    }

    /// Returns the project's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the project's workspace.
    pub fn workspace(&self) -> Workspace {
        Workspace::of_project(&self.root)
    }
}

fn is_project(dir: &Path) -> bool {
    config_path(dir).is_file()
}

fn config_path(root: &Path) -> PathBuf {
    root.join(".signac").join("config")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_nearest_project_above_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let outer = Project::init(dir.path()).expect("a project");
        let below = dir.path().join("workspace/a/b");
        fs::create_dir_all(&below).expect("a directory");
        assert_eq!(Project::discover(&below).expect("found"), outer);
        let inner = Project::init(&below).expect("a project");
        assert_eq!(Project::discover(&below).expect("found"), inner);
        assert_eq!(
            fs::read(below.join(".signac/config")).expect("readable"),
            b"schema_version = 2\n"
        );
    }

    #[test]
    fn other_layouts_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let discover = || Project::discover(dir.path()).expect_err("no project");
        assert!(matches!(discover(), ProjectError::NotFound(_)));
        fs::write(dir.path().join("signac.rc"), "project = x\n").expect("written");
        assert!(matches!(
            discover(),
            ProjectError::Incompatible { version: 1, .. }
        ));
        assert!(matches!(
            Project::init(dir.path()),
            Err(ProjectError::Incompatible { version: 1, .. })
        ));
        fs::create_dir(dir.path().join(".signac")).expect("a directory");
        for (text, version) in [("schema_version = 3\n", 3), ("", 1)] {
            fs::write(dir.path().join(".signac/config"), text).expect("written");
            assert!(
                matches!(discover(), ProjectError::Incompatible { version: v, .. } if v == version)
            );
        }
        fs::write(dir.path().join(".signac/config"), "schema_version = abc\n").expect("written");
        assert!(matches!(discover(), ProjectError::Config(_)));
        assert!(matches!(
            Project::discover(&dir.path().join("gone")),
            Err(ProjectError::Fs(_))
        ));
    }
}
