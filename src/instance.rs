//! Which running gateway a command means.

use std::path::{Path, PathBuf};

use control::client;
use control::request::Request;
use dataplane::state_dir::{self, InstanceDir, STATE_DIR_OF_ROOT};
use serde_json::Value;

use crate::cli::Target;

/// The directory of the gateway that `target` names: by config, by name, or the only one there is.
///
/// # Errors
/// The exit code, after the reason was printed.
pub fn find(target: &Target) -> Result<InstanceDir, u8> {
    let (configured, name) = match &target.config {
        Some(path) => {
            let config = crate::config::load(path)?;
            (config.gateway.state_dir, Some(config.gateway.name))
        }
        None => (None, target.instance.clone()),
    };
    let mut state_dir = state_dir::of_this_user(configured.as_deref()).map_err(crate::refused)?;
    if configured.is_none() {
        state_dir = own_or_of_root(state_dir, STATE_DIR_OF_ROOT.as_ref(), name.as_deref());
    }
    let name = match name {
        Some(name) => name,
        None => only_instance(&state_dir)?,
    };
    InstanceDir::at(&state_dir, &name).map_err(crate::refused)
}

/// Who has no gateway of its own, or none of that name, means the one of root, whose socket may let others in.
fn own_or_of_root(own: PathBuf, of_root: &Path, name: Option<&str>) -> PathBuf {
    let has = |dir: &Path, name: &str| {
        InstanceDir::at(dir, name).is_ok_and(|instance| instance.path().is_dir())
    };
    let means_root = match name {
        Some(name) => !has(&own, name) && has(of_root, name),
        None => state_dir::instances(&own).is_ok_and(|instances| instances.is_empty()),
    };
    if means_root { of_root.to_owned() } else { own }
}

fn only_instance(state_dir: &Path) -> Result<String, u8> {
    let mut names = state_dir::instances(state_dir).map_err(crate::failed)?;
    // One that ended in order took its socket along; its stop page stays.
    let has_socket = |name: &String| {
        InstanceDir::at(state_dir, name).is_ok_and(|dir| dir.control_socket().exists())
    };
    if names.iter().any(has_socket) {
        names.retain(has_socket);
    }
    match names.len() {
        1 => Ok(names.remove(0)),
        0 => Err(crate::failed(format_args!(
            "neither this user nor root has run a gateway here ({} has none); name a config with --config",
            state_dir.display()
        ))),
        _ => Err(crate::refused(format_args!(
            "several gateways: {}; choose one with --instance or --config",
            names.join(", ")
        ))),
    }
}

/// Asks the gateway that `target` names and prints its answer, as `in_words` says unless JSON is wanted.
/// What it refuses is a failure, a name that
/// there is not bad usage; gives the exit code.
pub fn ask(target: &Target, request: &Request, json: bool, in_words: fn(&Value) -> String) -> u8 {
    let dir = match find(target) {
        Ok(dir) => dir,
        Err(code) => return code,
    };
    match client::request(&dir.control_socket(), request) {
        Ok(answer) if json => crate::print_json(&answer),
        Ok(answer) => out!("{}", in_words(&answer)),
        Err(error) if error.is_bad_usage() => return crate::refused(error),
        Err(error) => return crate::failed(error),
    }
    crate::EXIT_DONE
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn who_has_no_such_gateway_means_the_one_of_root() {
        let dir = tempfile::tempdir().unwrap();
        let (own, of_root) = (dir.path().join("own"), dir.path().join("root"));
        let meant = |name| own_or_of_root(own.clone(), &of_root, name);
        assert_eq!(meant(Some("gw1")), own, "where it would be, if nobody has it");
        assert_eq!(meant(None), of_root);
        // The directory of root's may be closed: that it is there is enough.
        fs::create_dir_all(of_root.join("gw1")).unwrap();
        assert_eq!(meant(Some("gw1")), of_root);
        assert_eq!(meant(Some("gw2")), own);
        assert_eq!(meant(Some("../root/gw1")), own, "not a name");

        fs::create_dir_all(own.join("gw2")).unwrap();
        fs::write(own.join("gw2/stop"), "").unwrap();
        assert_eq!(meant(Some("gw1")), of_root, "another one of its own changes nothing");
        assert_eq!(meant(None), own);
        fs::create_dir_all(own.join("gw1")).unwrap();
        assert_eq!(meant(Some("gw1")), own, "its own comes first");
    }
}
