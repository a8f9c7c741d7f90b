//! `wirepace profile`.

use control::request::Request;

use crate::cli::{Profile, ProfileVerb};
use crate::human;
use crate::instance::ask;

/// Runs it.
pub fn main(args: &Profile) -> u8 {
    match &args.verb {
        ProfileVerb::Set { name, target, json } => {
            ask(target, &Request::ProfileSet { name: name.clone() }, *json, human::profile)
        }
        ProfileVerb::Get { target, json } => {
            ask(target, &Request::ProfileGet {}, *json, human::profile)
        }
    }
}
