//! A recorded host as one text: see `good.tree`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Its files, in a directory that is gone when this is dropped.
pub struct Tree(tempfile::TempDir);

impl Tree {
    pub fn read(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            if let Some((path, target)) = line.split_once(" -> ") {
                let path = made(dir.path(), path);
                symlink(target, path).unwrap();
            } else if let Some((path, content)) = line.split_once(" =") {
                let content = content.trim_start().replace("\\n", "\n").replace("\\t", "\t");
                fs::write(made(dir.path(), path), content).unwrap();
            } else {
                fs::create_dir_all(dir.path().join(line)).unwrap();
            }
        }
        Self(dir)
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }
}

/// The path, in directories that are there.
fn made(root: &Path, path: &str) -> std::path::PathBuf {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}
