//! `wirepace manual`: man pages and shell completions, made of the one definition of the command line.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::{Shell, generate_to};

use crate::cli::{Cli, Manual};

/// Shells, and the directories of their completions.
const SHELLS: [(Shell, &str); 3] =
    [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")];

/// Runs it.
pub fn main(args: &Manual) -> u8 {
    match write(&args.out) {
        Ok(()) => crate::EXIT_DONE,
        Err(error) => crate::failed(format_args!("{}: {error}", args.out.display())),
    }
}

fn write(out: &Path) -> std::io::Result<()> {
    for (shell, dir) in SHELLS {
        let dir = out.join(dir);
        fs::create_dir_all(&dir)?;
        generate_to(shell, &mut Cli::command(), "wirepace", &dir)?;
    }
    let pages = out.join("man1");
    fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(Cli::command(), &pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path()).unwrap();
        let completions = fs::read_to_string(dir.path().join("bash/wirepace.bash")).unwrap();
        let mut commands = 0;
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(dir.path().join(format!("man1/wirepace-{name}.1")).is_file(), "{name}");
            assert!(completions.contains(name), "{name}");
            commands += 1;
        }
        assert!(commands > 15 && dir.path().join("man1/wirepace.1").is_file());
    }
}
