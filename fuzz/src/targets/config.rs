//! The config, and what `check` prints of one that is good.

use model::config::Config;

/// The configs that are shipped, and those that are wrong in one way each.
pub(super) fn corpus() -> Vec<Vec<u8>> {
    let all = super::files(&["configs", "configs/drills", "tests/configs-broken"]);
    all.into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|(_, bytes)| bytes)
        .collect()
}

pub(super) fn run(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match Config::from_toml("fuzz.toml", &text) {
        Ok(config) => {
            let report = model::config::report(&config);
            assert!(!report.is_empty());
            "good".to_owned()
        }
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a word");
            let lines = text.lines().count().max(1);
            for error in &errors {
                assert!(error.line >= 1 && error.line <= lines + 1, "{error} in {lines} lines");
            }
            let said = errors.iter().map(|error| super::words(&error.problem));
            said.take(2).collect::<Vec<_>>().join("; ")
        }
    }
}
