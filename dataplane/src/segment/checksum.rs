//! Internet checksums (RFC 1071): verify and fill, over frames in one piece and over chains.
//!
//! [`Sum`] adds up pieces of any length in turn. [`state`] says what a frame's transport checksum is
//! worth, [`fill`] writes the checksums of a frame anew.
//!
//! A frame that a Linux host sends through veth, tap or a virtual device carries an *unfinished*
//! checksum, because the host leaves the rest to the device: the field holds the folded sum of the
//! pseudo-header, not inverted, with the length of the segment in it. Drivers that prepare TSO
//! leave the length out. Both read as [`State::Unfinished`]: nothing is known about the payload, and
//! the sender trusts its path as it would trust its own NIC.

use super::headers::{Ip, PROTOCOL_TCP, PROTOCOL_UDP, Version, be16, put16};

/// Where the checksum stands in an IPv4 header.
pub(super) const IPV4_CHECKSUM_AT: usize = 10;
/// Where the checksum stands in a TCP header.
pub(super) const TCP_CHECKSUM_AT: usize = 16;
const UDP_CHECKSUM_AT: usize = 6;

/// A ones' complement sum of bytes as 16-bit words in network order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    folded: u16,
    /// The next byte is the low half of a word.
    is_odd: bool,
}

impl Sum {
    /// Adds the bytes that follow those added before.
    pub fn add(&mut self, bytes: &[u8]) {
        // Any word order gives the same sum up to a swap of its bytes (RFC 1071, 2 B), so it is
        // taken in the machine's order and four bytes at once. 2^32 words fit the accumulator.
        let words = bytes.chunks_exact(4);
        let mut rest = [0; 4];
        rest[..words.remainder().len()].copy_from_slice(words.remainder());
        let sum = words.map(ne32).sum::<u64>() + ne32(&rest);
        let part = u16::from_be(fold(sum));
        self.add_word(if self.is_odd { part.swap_bytes() } else { part });
        self.is_odd ^= bytes.len() % 2 == 1;
    }

    /// Adds a number of 16 bits, whatever the place in the sequence of bytes.
    pub const fn add_word(&mut self, word: u16) {
        let (sum, carry) = self.folded.overflowing_add(word);
        self.folded = sum + carry as u16;
    }

    /// The sum itself: what an unfinished checksum holds.
    pub const fn folded(self) -> u16 {
        self.folded
    }

    /// What goes into a checksum field that counted as zero here.
    pub const fn checksum(self) -> u16 {
        !self.folded
    }

    /// Whether bytes that include their own checksum are intact.
    pub const fn is_intact(self) -> bool {
        self.folded == u16::MAX
    }
}

fn ne32(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |b| u64::from(u32::from_ne_bytes(*b)))
}

/// End-around carry, down to 16 bits.
const fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The checksum that belongs into this IPv4 header (20 bytes or more), whatever its field holds.
pub fn ipv4_header(header: &[u8]) -> u16 {
    let mut sum = Sum::default();
    sum.add(header);
    // To take a word away is to add its complement (RFC 1624).
    sum.add_word(!be16(header, IPV4_CHECKSUM_AT));
    sum.checksum()
}

/// Whether an IPv4 header's checksum is right.
pub fn ipv4_header_is_intact(header: &[u8]) -> bool {
    let mut sum = Sum::default();
    sum.add(header);
    sum.is_intact()
}

/// The sum of the pseudo-header for `transport_bytes` of a transport (RFC 9293 3.1, RFC 8200 8.1);
/// 0 bytes is what TSO wants.
pub(super) fn pseudo_header(bytes: &[u8], ip: &Ip, transport_bytes: usize) -> Sum {
    let addresses = match ip.version {
        Version::V4 => ip.at + 12..ip.at + 20,
        Version::V6 => ip.at + 8..ip.at + 40,
    };
    let mut sum = Sum::default();
    sum.add(bytes.get(addresses).unwrap_or_default());
    sum.add_word(u16::from(ip.protocol));
    // At most 65,535: a length field of 16 bits, or less than that.
    sum.add_word(transport_bytes as u16);
    sum
}

/// What a transport checksum is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Right.
    Intact,
    /// Left to a device: the sum of the pseudo-header only.
    Unfinished,
    /// UDP over IPv4 without one.
    Absent,
    /// Wrong.
    Wrong,
}

/// Where the transport checksum stands in the frame that begins with these bytes. `None` where there
/// is none, or where its reach is not known: a UDP length below IP's.
fn checksum_at(bytes: &[u8], ip: &Ip) -> Option<usize> {
    let at = ip.transport_at();
    let field = match ip.protocol {
        PROTOCOL_TCP => at + TCP_CHECKSUM_AT,
        PROTOCOL_UDP if usize::from(be16(bytes, at + 4)) == ip.payload_bytes => {
            at + UDP_CHECKSUM_AT
        }
        _ => return None,
    };
    (!ip.is_fragment && field + 2 <= ip.end()).then_some(field)
}

/// What the TCP or UDP checksum of a frame is worth. `None` where there is none to look at: other
/// protocols, IPv4 fragments, IPv6 extension headers, a frame cut off.
///
/// Reads the whole packet unless the checksum looks unfinished. One intact frame in 32,768 looks so
/// by chance.
pub fn state(frame: &[u8]) -> Option<State> {
    let ip = Ip::read(frame)?;
    frame.get(..ip.end())?;
    state_of(std::iter::once(frame), &ip)
}

/// As [`state`], over the pieces of a frame whose headers up to the checksum lie in the first one.
pub(super) fn state_of<'a>(mut pieces: impl Iterator<Item = &'a [u8]>, ip: &Ip) -> Option<State> {
    let first = pieces.next()?;
    let field = checksum_at(first, ip)?;
    let stored = u16::from_be_bytes(*first.get(field..)?.first_chunk()?);
    if ip.protocol == PROTOCOL_UDP && stored == 0 {
        // Not allowed over IPv6 (RFC 8200, 8.1).
        let is_v4 = ip.version == Version::V4;
        return Some(if is_v4 { State::Absent } else { State::Wrong });
    }
    let mut sum = pseudo_header(first, ip, ip.payload_bytes);
    if stored == sum.folded() || stored == pseudo_header(first, ip, 0).folded() {
        return Some(State::Unfinished);
    }
    let mut left = ip.payload_bytes;
    for piece in std::iter::once(&first[ip.transport_at()..]).chain(pieces) {
        let piece = &piece[..piece.len().min(left)];
        left -= piece.len();
        sum.add(piece);
    }
    let intact = left == 0 && sum.is_intact();
    Some(if intact { State::Intact } else { State::Wrong })
}

/// Writes the IPv4 header checksum and the TCP or UDP checksum of a frame in one piece. Returns
/// whether it has any; where it has none (see [`state`]) nothing is written.
///
/// UDP over IPv4 without a checksum gets one.
pub fn fill(frame: &mut [u8]) -> bool {
    let Some(ip) = Ip::read(frame) else { return false };
    let (at, end) = (ip.transport_at(), ip.end());
    let Some(field) = checksum_at(frame, &ip) else { return false };
    if end > frame.len() {
        return false;
    }
    if ip.version == Version::V4 {
        let checksum = ipv4_header(&frame[ip.at..at]);
        put16(frame, ip.at + IPV4_CHECKSUM_AT, checksum);
    }
    put16(frame, field, 0);
    let mut sum = pseudo_header(frame, &ip, ip.payload_bytes);
    sum.add(&frame[at..end]);
    let checksum = match sum.checksum() {
        // 0 would say that there is none (RFC 768).
        0 if ip.protocol == PROTOCOL_UDP => u16::MAX,
        checksum => checksum,
    };
    put16(frame, field, checksum);
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(pieces: &[&[u8]]) -> u16 {
        let mut sum = Sum::default();
        for piece in pieces {
            sum.add(piece);
        }
        sum.folded()
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(folded(&[&bytes]), 0xddf2);
        assert_eq!(folded(&[&bytes[..1], &bytes[1..4], &bytes[4..]]), 0xddf2);
        assert_eq!(folded(&[&bytes[..7]]), 0xddf2 - 0xf7, "a byte of padding");
    }

    #[test]
    fn a_known_ipv4_header() {
        let mut header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert!(ipv4_header_is_intact(&header));
        assert_eq!(ipv4_header(&header), 0xb861);
        header[8] = 0x3f;
        assert!(!ipv4_header_is_intact(&header));
        assert_eq!(ipv4_header(&header), 0xb961);
    }

    proptest! {
        #[test]
        fn pieces_add_up_to_the_whole(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut at: Vec<_> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<_> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            // Word by word, the rest padded with zero.
            let mut sum = 0u64;
            for word in bytes.chunks(2) {
                sum += u64::from(word[0]) << 8 | word.get(1).map_or(0, |b| u64::from(*b));
            }
            while sum > 0xffff {
                sum = (sum >> 16) + (sum & 0xffff);
            }
            prop_assert_eq!(u64::from(folded(&pieces)), sum);
        }
    }

    /// 10.0.0.1:1 -> 10.0.0.2:2, UDP, "abc"; both checksums worked out on paper.
    const DATAGRAM: [u8; 45] = [
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0x66, 0xcc,
        10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2, 0, 11, 0x27, 0x70, b'a', b'b', b'c',
    ];

    #[test]
    fn a_datagram_is_filled_and_its_state_is_told() {
        let mut frame = DATAGRAM;
        assert_eq!(state(&frame), Some(State::Intact));
        frame[24..26].fill(0);
        frame[40..42].fill(0);
        assert_eq!(state(&frame), Some(State::Absent));
        assert!(fill(&mut frame));
        assert_eq!(frame, DATAGRAM);
        // What the kernel leaves: addresses, protocol and length, not inverted.
        frame[40..42].copy_from_slice(&[0x14, 0x1f]);
        assert_eq!(state(&frame), Some(State::Unfinished));
        assert!(fill(&mut frame));
        assert_eq!(frame, DATAGRAM);
        frame[44] ^= 1;
        assert_eq!(state(&frame), Some(State::Wrong));
    }

    #[test]
    fn a_datagram_that_sums_up_to_zero_says_all_ones() {
        let mut frame = DATAGRAM;
        // Two bytes of payload that bring the sum of all else to 0xffff.
        frame[42..45].fill(0);
        let mut sum = Sum::default();
        sum.add(&frame[26..40]);
        sum.add_word(17);
        sum.add_word(11);
        frame[42..44].copy_from_slice(&sum.checksum().to_be_bytes());
        assert!(fill(&mut frame));
        assert_eq!(frame[40..42], [0xff, 0xff]);
        assert_eq!(state(&frame), Some(State::Intact));
    }

    #[test]
    fn what_has_no_checksum_is_left_alone() {
        let of = |change: &dyn Fn(&mut [u8])| {
            let mut frame = DATAGRAM;
            change(&mut frame);
            let before = frame;
            assert_eq!(state(&frame), None);
            assert!(!fill(&mut frame));
            assert_eq!(frame, before);
        };
        of(&|f| f[12] = 9); // not IP
        of(&|f| f[23] = 1); // ICMP
        of(&|f| f[20] = 0x20); // a fragment
        of(&|f| f[21] = 1); // a later fragment
        of(&|f| f[17] = 32); // longer than the frame
        of(&|f| f[39] = 10); // a UDP length below IP's
        of(&|f| f[17] = 26); // ends inside the UDP header
        of(&|f| f[14] = 0x44); // an IPv4 header of 16 bytes
        assert_eq!(state(&DATAGRAM[..20]), None);
    }
}
