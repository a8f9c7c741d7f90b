//! Everything that reads bytes of others.
//!
//! | target | who may send it |
//! |---|---|
//! | `frame` | anybody on the wire |
//! | `capture` | whoever makes a capture that is replayed |
//! | `config` | the operator |
//! | `control` | whoever may open the control socket |
//! | `netlink` | the kernel |
//! | `intent` | a sender on the inside, by tag, datagram or ring |

mod capture;
mod config;
mod control;
mod frame;
mod intent;
mod netlink;

use std::fs;
use std::path::{Path, PathBuf};

use crate::Target;

/// All of them.
pub static ALL: [Target; 6] = [
    Target { name: "frame", corpus: frame::corpus, run: frame::run },
    Target { name: "capture", corpus: capture::corpus, run: capture::run },
    Target { name: "config", corpus: config::corpus, run: config::run },
    Target { name: "control", corpus: control::corpus, run: control::run },
    Target { name: "netlink", corpus: netlink::corpus, run: netlink::run },
    Target { name: "intent", corpus: intent::corpus, run: intent::run },
];

/// The target of that name.
pub fn find(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}

/// The words of a message up to what it quotes: what another input of the same kind would be told.
fn words(message: &str) -> String {
    let said = message.split(['"', '`', '[']).next().unwrap_or_default();
    let is_word = |word: &&str| word.len() > 2 && word.chars().all(char::is_alphabetic);
    said.split_whitespace().filter(is_word).take(10).collect::<Vec<_>>().join(" ")
}

/// A path inside the workspace.
fn in_workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The files of these directories in the order of their names; a directory that is not there has none.
fn files(directories: &[&str]) -> Vec<(PathBuf, Vec<u8>)> {
    let listed =
        directories.iter().filter_map(|directory| fs::read_dir(in_workspace(directory)).ok());
    let mut paths: Vec<_> = listed.flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let read = |path: PathBuf| Some((path.clone(), fs::read(path).ok()?));
    paths.into_iter().filter_map(read).collect()
}
