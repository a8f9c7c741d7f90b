//! Numbers out of bytes that the kernel gave, and why they could not be read.

/// Why what the kernel gave could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It ends too early.
    #[error("{what}: {len} bytes, at least {needed} are needed")]
    Truncated {
        /// What was read.
        what: &'static str,
        /// Bytes that there are.
        len: usize,
        /// Bytes that there have to be.
        needed: usize,
    },
    /// A length inside says what cannot be.
    #[error("{what}: a length of {len} with {room} bytes of room")]
    Length {
        /// What was read.
        what: &'static str,
        /// The length.
        len: usize,
        /// The bytes it has to fit into.
        room: usize,
    },
    /// A text that is not what it should be.
    #[error("{what}: {found:?} is not understood")]
    Text {
        /// What was read.
        what: &'static str,
        /// What stood there, its beginning.
        found: String,
    },
}

impl ReadError {
    /// The error of a text; a long one is cut.
    pub fn text(what: &'static str, found: &str) -> Self {
        Self::Text { what, found: found.chars().take(80).collect() }
    }
}

/// `bytes`, if there are at least `needed`.
pub fn at_least<'a>(
    what: &'static str,
    bytes: &'a [u8],
    needed: usize,
) -> Result<&'a [u8], ReadError> {
    if bytes.len() < needed {
        return Err(ReadError::Truncated { what, len: bytes.len(), needed });
    }
    Ok(bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Two bytes in host order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_ne_bytes)
}

/// Two bytes in network order.
pub fn be16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// Four bytes in host order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

/// Eight bytes in host order.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_ne_bytes)
}

/// A text that ends with its first NUL, or with the bytes.
pub fn text(what: &'static str, bytes: &[u8]) -> Result<String, ReadError> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = std::str::from_utf8(&bytes[..end]);
    text.map(str::to_owned).map_err(|_| ReadError::text(what, &String::from_utf8_lossy(bytes)))
}
