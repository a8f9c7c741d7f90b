//! `wirepace status`.

use control::client;
use control::request::Request;
use serde_json::Value;

use crate::cli::Status;

/// Runs it.
pub fn main(args: &Status) -> u8 {
    let dir = match crate::instance::find(&args.target) {
        Ok(dir) => dir,
        Err(code) => return code,
    };
    match client::request(&dir.control_socket(), &Request::Status {}) {
        Ok(status) if args.json => crate::print_json(&status),
        Ok(status) => print_status(&status),
        Err(error) => return crate::failed(error),
    }
    crate::EXIT_DONE
}

fn print_status(status: &Value) {
    for key in [
        "name",
        "version",
        "uptime_s",
        "clock",
        "profile",
        "stop_words",
        "regime",
        "ports",
        "cores",
    ] {
        if let Some(value) = status.get(key) {
            out!("{key:<12} {value}");
        }
    }
}
