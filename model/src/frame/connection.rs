//! Which TCP connection a segment belongs to, whichever way it goes.

use super::FlowKey;
use crate::draw::mix;

impl FlowKey {
    /// The same for both directions. The VLAN is not part of it: a tag may differ by direction.
    pub fn connection(&self) -> u64 {
        let (a, b) = ((self.src, self.src_port), (self.dst, self.dst_port));
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        let mut hash = u64::from(self.ip_version);
        for (address, port) in [low, high] {
            let (first, second) = address.split_at(8);
            for bytes in [first, second] {
                let word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
                hash = mix(hash ^ word);
            }
            hash = mix(hash ^ u64::from(port));
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_one_connection_and_others_are_not() {
        let key = |src: u8, src_port, dst: u8, dst_port| {
            let mut key = FlowKey { src_port, dst_port, ip_version: 4, ..FlowKey::default() };
            (key.src[3], key.dst[3]) = (src, dst);
            key
        };
        let there = key(1, 40_000, 2, 7_000).connection();
        assert_eq!(there, key(2, 7_000, 1, 40_000).connection());
        assert_eq!(there, FlowKey { vlan: 7, ..key(1, 40_000, 2, 7_000) }.connection());
        for other in [key(1, 7_000, 2, 40_000), key(2, 40_000, 1, 7_000), key(1, 40_000, 2, 7_001)]
        {
            assert_ne!(there, other.connection());
        }
    }
}
