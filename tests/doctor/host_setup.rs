//! `scripts/host-setup`: what it prints, and that it does only what it is told to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::tree::Tree;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/host-setup");

/// A `wirepace` that is this shell script.
fn program(dir: &Path, wirepace: &str) -> PathBuf {
    let program = dir.join("wirepace");
    fs::write(&program, format!("#!/bin/sh\n{wirepace}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// Runs the script with such a one.
fn host_setup(dir: &Path, wirepace: &str, arguments: &[&str]) -> Output {
    let program = program(dir, wirepace);
    Command::new(SCRIPT).args(arguments).env("WIREPACE", program).output().unwrap()
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn without_apply_it_prints_what_it_would_do() {
    for (tree, printed, told) in [
        (
            include_str!("bad.tree"),
            "echo tsc > /sys/devices/system/clocksource",
            "nothing was changed",
        ),
        (include_str!("good.tree"), "", "nothing to do"),
    ] {
        let tree = Tree::read(tree);
        let root = tree.root().display();
        let doctor = format!("exec {} \"$@\" --root {root}", env!("CARGO_BIN_EXE_wirepace"));
        let output = host_setup(tree.root(), &doctor, &[]);
        let (stdout, stderr) = said(&output);
        assert!(output.status.success(), "{stderr}");
        assert!(stdout.contains(printed) && stderr.contains(told), "{stdout}{stderr}");
        assert_eq!(stdout.is_empty(), printed.is_empty(), "{stdout}");
    }
}

#[test]
fn the_installed_wirepace_is_asked_unless_another_is_named() {
    let (installed, named) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    program(installed.path(), "echo echo installed");
    let named = program(named.path(), "echo echo named");
    let mut path = installed.path().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let mut script = Command::new(SCRIPT);
    script.env("PATH", path).env_remove("WIREPACE");
    let (printed, _) = said(&script.output().unwrap());
    assert!(printed.contains("echo installed"), "{printed}");
    let (printed, _) = said(&script.env("WIREPACE", named).output().unwrap());
    assert!(printed.contains("echo named") && !printed.contains("installed"), "{printed}");
}

#[test]
fn with_apply_every_command_is_run_and_what_fails_is_counted() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: --apply needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (first, last) = (dir.path().join("first"), dir.path().join("last"));
    let commands = format!(
        "[ $3 = now ] || exit 3\necho '# a: found'\necho touch {}\necho false\necho touch {}\nexit 3",
        first.display(),
        last.display()
    );
    let output = host_setup(dir.path(), &commands, &["--apply"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).1.contains("failed: false"), "{output:?}");
    assert!(first.exists() && last.exists());
    let broken = host_setup(dir.path(), "exit 1", &["--apply"]);
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    assert_eq!(host_setup(dir.path(), "exit 0", &["--sudo"]).status.code(), Some(2));
}
