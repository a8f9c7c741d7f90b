//! Models of what distorts departures below and around a gateway.

pub mod acks;
pub mod adaptive_limit;
pub mod reactive;
pub mod rx_hold;
pub mod slots;

/// The UDP port that a frame goes to: of IPv4 without options or tags, as drills send it.
fn udp_port(frame: &[u8]) -> Option<u16> {
    frame.get(36..38).map(|port| u16::from_be_bytes([port[0], port[1]]))
}
