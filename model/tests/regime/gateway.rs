//! The smallest gateway in virtual time: a port on either side, and whatever a test names besides.
#![allow(dead_code)] // each test file uses its share

use model::config::Config;

/// Its config with `more` in it: classes from inside, `inside` among them for what no rule matches, rules,
/// `[regime]`. The class of what comes from the venue stands behind all others.
pub fn text(inside: &str, more: &str) -> String {
    text_of("", inside, more)
}

/// The same, `port` in its port to the venue.
pub fn text_of(port: &str, inside: &str, more: &str) -> String {
    format!(
        r#"
[gateway]
name = "gw"
clock = "virtual"
[[port]]
name = "in"
side = "inside"
device = "capture"
[[port]]
name = "out"
side = "venue"
device = "capture"
rate = "1G"
{port}
[[pair]]
inside = "in"
venue = "out"
[default_class]
inside = "{inside}"
venue = "back"
{more}
[[class]]
name = "back"
from = "venue"
"#
    )
}

/// The same, checked.
pub fn config(inside: &str, more: &str) -> Config {
    Config::from_toml("t.toml", &text(inside, more)).unwrap_or_else(|errors| panic!("{errors:#?}"))
}
