//! `wirepace status`.

use control::request::Request;

use crate::cli::Watched;

/// Runs it.
pub fn main(args: &Watched) -> u8 {
    crate::watch::show(args, &Request::Status {}, |status| status, crate::human::status)
}
