//! What can be wrong with bytes, each with a name.

use std::fmt;

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Fewer bytes than the format has.
    Truncated {
        /// Bytes that are there.
        have: usize,
        /// Bytes of the format.
        need: usize,
    },
    /// Another EtherType stands where the shim's should.
    EtherType(u16),
    /// The magic number is another one: something else uses the same EtherType or port.
    Magic(u16),
    /// A version that this reader does not know.
    Version(u8),
    /// The length that the record states is not the one of its version.
    Length(u8),
    /// Bits of `flags` that this version does not define.
    Flags(u16),
    /// A kind that does not exist.
    Kind(u8),
    /// Neither 4 nor 6.
    IpVersion(u8),
    /// Neither TCP nor UDP.
    Protocol(u8),
    /// A way to say the position that does not exist, or that the protocol does not have.
    Position(u8),
}

impl DecodeError {
    /// The name used in counters and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::EtherType(_) => "ether_type",
            Self::Magic(_) => "magic",
            Self::Version(_) => "version",
            Self::Length(_) => "length",
            Self::Flags(_) => "flags",
            Self::Kind(_) => "kind",
            Self::IpVersion(_) => "ip_version",
            Self::Protocol(_) => "protocol",
            Self::Position(_) => "position",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { have, need } => write!(f, "{have} bytes, and a record has {need}"),
            Self::EtherType(found) => write!(f, "EtherType {found:#06x}, and a shim has 0x88b5"),
            Self::Magic(found) => write!(f, "magic number {found:#06x} is not one of ours"),
            Self::Version(found) => write!(f, "version {found}, and this reader knows 1"),
            Self::Length(found) => write!(f, "a stated length of {found} bytes"),
            Self::Flags(unknown) => write!(f, "flags {unknown:#06x} are not defined in version 1"),
            Self::Kind(found) => write!(f, "there is no kind {found}"),
            Self::IpVersion(found) => write!(f, "IP version {found} is neither 4 nor 6"),
            Self::Protocol(found) => write!(f, "protocol {found} is neither TCP (6) nor UDP (17)"),
            Self::Position(found) => write!(f, "position {found} does not exist for the protocol"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// A buffer that is too short for what should be written into it. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// Bytes that are needed.
    pub need: usize,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the buffer is shorter than {} bytes", self.need)
    }
}

impl std::error::Error for NoRoom {}
