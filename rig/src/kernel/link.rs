//! An interface and its counters, by RTM_GETLINK.

use super::bytes::{ReadError, at_least, text, u32_at, u64_at};
use super::netlink::{Request, attributes_behind};

const RTM_GETLINK: u16 = 18;
const IFINFOMSG_BYTES: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_STATS64: u16 = 23;

/// Counters of an interface since it came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets that there was no room to send.
    pub tx_dropped: u64,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Largest packet of IP that it sends.
    pub mtu: u32,
    /// Its counters.
    pub counts: LinkCounts,
}

/// Asks for the interface with this number.
pub fn one(index: u32) -> Request {
    let mut fixed = [0; IFINFOMSG_BYTES];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    Request::new(RTM_GETLINK, false).with(&fixed)
}

impl Link {
    /// Reads the payload of a message.
    ///
    /// # Errors
    /// It is cut off.
    pub fn read(payload: &[u8]) -> Result<Self, ReadError> {
        const WHAT: &str = "ifinfomsg";
        let b = at_least(WHAT, payload, IFINFOMSG_BYTES)?;
        let mut link = Self { index: u32_at(b, 4).unwrap_or_default(), ..Self::default() };
        for attribute in attributes_behind(WHAT, payload, IFINFOMSG_BYTES)? {
            let attribute = attribute?;
            let b = attribute.payload;
            match attribute.kind {
                IFLA_IFNAME => link.name = text("name of an interface", b)?,
                IFLA_MTU => link.mtu = u32_at(at_least("MTU", b, 4)?, 0).unwrap_or_default(),
                IFLA_STATS64 => {
                    let b = at_least("rtnl_link_stats64", b, 64)?;
                    let number = |n: usize| u64_at(b, 8 * n).unwrap_or_default();
                    link.counts = LinkCounts {
                        rx_packets: number(0),
                        tx_packets: number(1),
                        tx_errors: number(5),
                        tx_dropped: number(7),
                    };
                }
                _ => {}
            }
        }
        Ok(link)
    }
}
