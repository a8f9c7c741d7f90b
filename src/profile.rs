//! `wirepace profile`.

use control::client;
use control::request::Request;

use crate::cli::{Profile, ProfileVerb, Target};

/// Runs it.
pub fn main(args: &Profile) -> u8 {
    match &args.verb {
        ProfileVerb::Set { name, target, json } => {
            ask(target, &Request::ProfileSet { name: name.clone() }, *json)
        }
        ProfileVerb::Get { target, json } => ask(target, &Request::ProfileGet {}, *json),
    }
}

fn ask(target: &Target, request: &Request, json: bool) -> u8 {
    let dir = match crate::instance::find(target) {
        Ok(dir) => dir,
        Err(code) => return code,
    };
    match client::request(&dir.control_socket(), request) {
        Ok(answer) if json => crate::print_json(&answer),
        Ok(answer) => out!("{answer}"),
        Err(error) => return crate::failed(error),
    }
    crate::EXIT_DONE
}
