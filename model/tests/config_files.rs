//! The configs that come with the product are good, and say what they are meant to say.

use std::path::Path;

use model::config::{Config, underlined};

fn load(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    Config::from_toml(name, &text).unwrap_or_else(|errors| panic!("{}", underlined(&errors, &text)))
}

#[test]
fn every_config_in_the_folder_is_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let config = load(&name);
        assert_eq!(config.digest.len(), 64, "{name}");
    }
}
