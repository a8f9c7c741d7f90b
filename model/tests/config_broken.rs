//! Each file of tests/configs-broken is refused, at the places that its `# wrong` comments mark, in
//! the words of the `.expected` file beside it.
//!
//! `WIREPACE_REGENERATE=1` writes the `.expected` files anew; the marks are checked all the same.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use model::config::{Config, ConfigError, underlined};

fn broken_configs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/configs-broken");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    files
}

fn errors_of(path: &Path) -> (String, Vec<ConfigError>) {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let errors = Config::from_toml(name, &text).expect_err(name);
    (text, errors)
}

#[test]
fn every_error_is_where_the_file_marks_it_and_every_mark_has_one() {
    for path in broken_configs() {
        let (text, errors) = errors_of(&path);
        let marked: BTreeSet<usize> = (1..)
            .zip(text.lines())
            .filter(|(_, line)| line.contains("# wrong"))
            .map(|(number, _)| number)
            .collect();
        let found: BTreeSet<usize> = errors.iter().map(|error| error.line).collect();
        assert!(!marked.is_empty(), "{path:?} marks nothing");
        assert_eq!(found, marked, "{path:?}:\n{}", underlined(&errors, &text));
    }
}

#[test]
fn every_error_reads_as_expected() {
    for path in broken_configs() {
        let (text, errors) = errors_of(&path);
        let found = underlined(&errors, &text);
        let expected_path = path.with_extension("expected");
        if std::env::var_os("WIREPACE_REGENERATE").is_some_and(|value| value == "1") {
            std::fs::write(&expected_path, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap();
        assert_eq!(found, expected, "{path:?}");
    }
}

#[test]
fn an_error_prints_as_file_line_column_and_what_is_allowed() {
    let text = "[gateway]\nname = \"a\"\n\"slöt\" = 1\n";
    let errors = Config::from_toml("some.toml", text).unwrap_err();
    let printed: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(
        printed.iter().any(|line| line
            .starts_with("some.toml:3:1: unknown key `slöt` in [gateway]; allowed: name, clock, ")),
        "{printed:#?}"
    );
}

#[test]
fn a_column_counts_characters_not_bytes() {
    let text = "gateway = { \"ü\" = 1, name = \"A\" }\n";
    let errors = Config::from_toml("f", text).unwrap_err();
    let name = errors.iter().find(|error| error.problem.contains("not a name")).unwrap();
    assert_eq!((name.line, name.column, name.width), (1, 29, 3));
}
