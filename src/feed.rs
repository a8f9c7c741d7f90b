//! `wirepace feed`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use control::request::Request;
use model::regime::FedValue;

use crate::cli::Feed;
use crate::instance::ask;

/// Longest file. A request may be 64 KiB long, without the spaces between its words.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Runs it. A file that cannot be read as values is bad usage.
pub fn main(args: &Feed) -> u8 {
    let path = args.file.display();
    let text = match read(&args.file) {
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

/// A file that may be a device without an end.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("longer than 1 MiB"));
    }
    Ok(text)
}
