//! Names: no two the same, and none that leads nowhere.

use super::error::{At, Findings};
use super::reader::Field;

/// The names of one kind of thing, in the order of the file. A table without a readable name keeps
/// its place under the empty name, which nothing refers to.
pub(super) fn collect<'a>(
    findings: &Findings,
    what: &str,
    fields: impl Iterator<Item = &'a Field<String>>,
) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for field in fields {
        if let Some((name, at)) = field.get()
            && names.contains(name)
        {
            let problem = format!("the {what} name {name:?} is used twice");
            findings.error(at, problem, format!("a name of its own for each {what}"));
        }
        names.push(field.or(String::new()));
    }
    names
}

/// The index of the name in `field`, and its place.
pub(super) fn look_up(
    findings: &Findings,
    what: &str,
    field: &Field<String>,
    names: &[String],
) -> Option<(usize, At)> {
    let (name, at) = field.get()?;
    let index = names.iter().position(|known| known == name);
    if index.is_none() {
        let problem = format!("there is no {what} {name:?}");
        findings.error(at, problem, known(names));
    }
    Some((index?, at))
}

fn known(names: &[String]) -> String {
    let named: Vec<&str> = names.iter().map(String::as_str).filter(|n| !n.is_empty()).collect();
    if named.is_empty() { "none is defined".to_owned() } else { named.join(", ") }
}
