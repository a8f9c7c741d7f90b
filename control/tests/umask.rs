//! What is kept on disk is private whatever the umask. A process of its own: the umask is the process's.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use control::live_config::Revisions;
use model::config::live::Sourced;
use rustix::fs::Mode;

#[test]
fn confirmed_configs_are_private_under_an_empty_umask() {
    rustix::process::umask(Mode::empty());
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    let revisions = Revisions::new(config.clone());
    let text = include_str!("../../configs/gateway.toml");
    assert_eq!(revisions.keep(&Sourced::read("gw.toml", text).unwrap()).unwrap(), 1);
    revisions.mark_unconfirmed("abc").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&config), 0o700);
    for file in fs::read_dir(&config).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}
