//! Explicit congestion notification (RFC 3168) on a frame that is about to leave.
//!
//! [`mark_ce`] is called at release for a packet that the pacer has marked (`Released::mark_ce`).
//! Only an ECN-capable transport is marked: to others the mark would mean nothing, and dropping in
//! its place is not done here.

use super::headers::{Ip, Version, be16, put16};

/// The ECN field: not capable 0, ECT(1) 1, ECT(0) 2, congestion experienced 3.
const ECN_MASK: u8 = 0b11;
const CE: u8 = 0b11;

/// Sets "congestion experienced" in an IPv4 or IPv6 packet under at most two VLAN tags. `frame`
/// begins at the Ethernet header and holds the IP header at least. Returns whether it was set now:
/// `false` where the sender is not ECN-capable, where the mark stands already, and for all that is
/// not IP.
///
/// The IPv4 header checksum is updated, not made anew: one that was wrong stays wrong.
pub fn mark_ce(frame: &mut [u8]) -> bool {
    let Some(ip) = Ip::read(frame) else { return false };
    // IPv4: the low bits of the second byte. IPv6: the low bits of the traffic class, whose lower
    // half stands in the upper half of the second byte.
    let (byte, shift) = match ip.version {
        Version::V4 => (ip.at + 1, 0),
        Version::V6 => (ip.at + 1, 4),
    };
    let ecn = (frame[byte] >> shift) & ECN_MASK;
    if ecn == 0 || ecn == CE {
        return false;
    }
    let before = be16(frame, ip.at);
    frame[byte] |= CE << shift;
    if ip.version == Version::V4 {
        let after = be16(frame, ip.at);
        let at = ip.at + super::checksum::IPV4_CHECKSUM_AT;
        put16(frame, at, updated(be16(frame, at), before, after));
    }
    true
}

/// The checksum after one word has changed: RFC 1624, equation 3.
const fn updated(checksum: u16, before: u16, after: u16) -> u16 {
    let sum = !checksum as u32 + !before as u32 + after as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::checksum;
    use super::*;

    /// A frame with `tags` VLAN tags and an IP header whose second byte carries `ecn`.
    fn frame(tags: usize, is_v6: bool, second: u8, rest: &[u8]) -> (Vec<u8>, usize) {
        let mut f = vec![2; 12];
        for _ in 0..tags {
            f.extend([0x81, 0, 0, 7]);
        }
        f.extend(if is_v6 { [0x86, 0xdd, 0x6a] } else { [8, 0, 0x45] });
        let at = f.len() - 1;
        f.push(second);
        f.extend(rest);
        f.truncate(at + if is_v6 { 40 } else { 20 });
        if !is_v6 {
            f[at + 2..at + 4].copy_from_slice(&[0, 20]);
            let sum = checksum::ipv4_header(&f[at..]);
            put16(&mut f, at + 10, sum);
        }
        (f, at)
    }

    proptest! {
        #[test]
        fn only_capable_senders_are_marked_and_the_header_stays_right(
            tags in 0usize..=2,
            is_v6: bool,
            second: u8,
            rest: [u8; 38],
            damage: u16,
        ) {
            let (mut f, at) = frame(tags, is_v6, second, &rest);
            if !is_v6 {
                // A checksum that is wrong must stay wrong, by as much.
                let stored = be16(&f, at + 10);
                put16(&mut f, at + 10, stored ^ damage);
            }
            let right_before = is_v6 || checksum::ipv4_header_is_intact(&f[at..]);
            let before = f.clone();
            let shift = if is_v6 { 4 } else { 0 };
            let ecn = second >> shift & 3;
            prop_assert_eq!(mark_ce(&mut f), ecn == 1 || ecn == 2);
            if ecn == 0 || ecn == 3 {
                prop_assert_eq!(&f, &before);
                return Ok(());
            }
            prop_assert_eq!(f[at + 1], second | 3 << shift);
            prop_assert_eq!(is_v6 || checksum::ipv4_header_is_intact(&f[at..]), right_before);
            prop_assert!(!mark_ce(&mut f), "once is enough");
            // Nothing else has changed.
            f[at + 1] = second;
            if !is_v6 {
                let checksum = be16(&before, at + 10);
                put16(&mut f, at + 10, checksum);
            }
            prop_assert_eq!(f, before);
        }

        #[test]
        fn bytes_that_are_no_ip_are_left_alone(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut frame = bytes.clone();
            if !mark_ce(&mut frame) {
                prop_assert_eq!(frame, bytes);
            }
        }
    }

    #[test]
    fn a_third_tag_is_not_looked_behind() {
        let (mut f, _) = frame(3, false, 1, &[9; 38]);
        assert!(!mark_ce(&mut f));
    }
}
