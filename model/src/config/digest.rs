//! A digest of the checked values.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::Config;

/// SHA-256 of the config's canonical JSON, as hex.
///
/// The JSON has the fields in the order of their declaration and every value in its base unit, so
/// comments, white space, defaults written out and `1ms` for `1000us` change nothing.
///
/// # Errors
/// The values cannot be written as JSON, which no value of these types brings about.
pub(super) fn digest(config: &Config) -> Result<String, serde_json::Error> {
    let canonical = serde_json::to_vec(config)?;
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(&canonical) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}
