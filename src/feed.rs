//! `wirepace feed`.

use control::request::Request;
use model::regime::FedValue;

use crate::cli::Feed;
use crate::instance::ask;

/// Runs it. A file that cannot be read as values is bad usage.
pub fn main(args: &Feed) -> u8 {
    let path = args.file.display();
    let text = match std::fs::read(&args.file) {
        Ok(text) => text,
        Err(error) => return crate::refused(format_args!("{path}: {error}")),
    };
    let values: Vec<FedValue> = match serde_json::from_slice(&text) {
        Ok(values) => values,
        Err(error) => {
            return crate::refused(format_args!(
                "{path}: {error}; allowed: an array of {{\"kpi\": .., \"value\": .., \"number\": .., \
                 \"expires_s\": ..}}, with \"scope\" and \"n\" where they are known"
            ));
        }
    };
    ask(&args.target, &Request::Feed { values }, args.json, crate::human::feed)
}
