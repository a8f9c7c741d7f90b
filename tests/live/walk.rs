//! "A new operator's first hour" in docs/operations.md: every line of it is run, in one shell, and what it says
//! is to be seen has to be seen.

use std::fs;
use std::process::Command;

use crate::gateway::WIREPACE;
use crate::sandbox::{sandboxed, work_dir};

const PAGE: &str = include_str!("../../docs/operations.md");
const TITLE: &str = "## A new operator's first hour";
const TOOLS: [&str; 5] = ["bash", "ethtool", "script", "sysctl", "tar"];

/// A line of the page.
#[derive(Debug, PartialEq, Eq)]
struct Step<'a> {
    command: &'a str,
    /// Exit codes that are as they should be.
    codes: Vec<u8>,
    /// What is to be seen.
    seen: Option<&'a str>,
}

/// The lines of all blocks for a shell in the section.
fn steps() -> Vec<Step<'static>> {
    let (_, section) = PAGE.split_once(TITLE).expect("the section is there");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).filter(|line| !line.is_empty()).map(step).collect()
}

fn step(line: &str) -> Step<'_> {
    let (command, said) = match line.rfind(" # ") {
        Some(at) => (&line[..at], &line[at + 3..]),
        None => (line, ""),
    };
    let (codes, seen) = match said.split_once("-> ") {
        Some((codes, seen)) => (codes, Some(seen.trim())),
        None => (said, None),
    };
    let codes: Vec<u8> = codes.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let codes = if codes.is_empty() { vec![0] } else { codes };
    Step { command: command.trim_end(), codes, seen }
}

/// `text` as one word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What a person sees on a terminal and ends with q.
fn on_a_terminal(command: &str) -> String {
    let sized = format!("stty rows 24 cols 80; {command}");
    format!("{{ sleep 2; printf q; }} | script -qec {} /dev/null", quoted(&sized))
}

/// A script for bash that runs the steps one after the other in its own process, and stops at the first that is
/// not as it says.
fn script(steps: &[Step<'_>]) -> String {
    let mut script = "printed=$(mktemp)\n".to_owned();
    for step in steps {
        let command = match step.command {
            "wirepace top" => on_a_terminal(step.command),
            other => other.to_owned(),
        };
        let codes: Vec<String> = step.codes.iter().map(u8::to_string).collect();
        script += &format!(
            "echo {shown}\neval {run} >\"$printed\" 2>&1\ncode=$?\ncat \"$printed\"\n\
             case $code in {codes}) ;; *) echo \"exit code $code\"; exit 1 ;; esac\n",
            shown = quoted(&format!("$ {}", step.command)),
            run = quoted(&command),
            codes = codes.join("|"),
        );
        if let Some(seen) = step.seen {
            let seen = quoted(seen);
            script += &format!(
                "grep -qF -e {seen} \"$printed\" || {{ echo not seen: {seen}; exit 1; }}\n"
            );
        }
    }
    script + "echo 'the walk is over'\n"
}

#[test]
fn a_line_says_what_to_run_and_what_is_seen() {
    let of = |line| step(line);
    assert_eq!(of("a b"), Step { command: "a b", codes: vec![0], seen: None });
    assert_eq!(
        of("a 'b # c'   # exit 0 or 3 -> d e"),
        Step { command: "a 'b # c'", codes: vec![0, 3], seen: Some("d e") }
    );
}

#[test]
fn every_command_of_the_first_hour_does_what_the_page_says() {
    let steps = steps();
    assert!(steps.len() > 40, "{}", steps.len());
    sandboxed("walk::every_command_of_the_first_hour_does_what_the_page_says", &TOOLS, || {
        let bin = work_dir().join("bin");
        fs::create_dir_all(&bin).unwrap();
        std::os::unix::fs::symlink(WIREPACE, bin.join("wirepace")).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let run = Command::new("bash")
            .args(["-c", &script(&steps)])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PATH", format!("{}:{path}:/usr/sbin:/sbin", bin.display()))
            .env("WIREPACE", WIREPACE)
            .env("TMPDIR", work_dir())
            .env("TERM", "xterm")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        println!("{said}{}", String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success() && said.ends_with("the walk is over\n"), "{}", run.status);
    });
}
