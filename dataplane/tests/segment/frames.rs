//! Super-frames to cut, and a straightforward reading of what came out: byte by byte, with nothing of
//! the product in it.

use dataplane::mbuf::Mbuf;

use crate::common::{Bench, bytes_of};

/// What the sender left in the checksum fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sums {
    Full,
    /// As Linux leaves them to a virtual device.
    Unfinished,
    /// As a driver prepares them for TSO.
    ForTso,
}

/// A TCP frame.
#[derive(Clone, Debug)]
pub struct Super {
    pub tags: usize,
    pub is_v6: bool,
    /// TCP options, a multiple of 4 bytes.
    pub options: Vec<u8>,
    pub payload_len: usize,
    pub seq: u32,
    pub flags: u8,
    pub id: u16,
    pub sums: Sums,
}

impl Default for Super {
    fn default() -> Self {
        Self {
            tags: 0,
            is_v6: false,
            options: Vec::new(),
            payload_len: 4000,
            seq: 1000,
            flags: 0x18,
            id: 7,
            sums: Sums::Full,
        }
    }
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

impl Super {
    pub fn ip_at(&self) -> usize {
        14 + 4 * self.tags
    }

    pub fn tcp_at(&self) -> usize {
        self.ip_at() + if self.is_v6 { 40 } else { 20 }
    }

    pub fn header_bytes(&self) -> usize {
        self.tcp_at() + 20 + self.options.len()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut f = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
        for tag in 0..self.tags {
            f.extend(if tag + 1 < self.tags { [0x88, 0xa8] } else { [0x81, 0x00] });
            f.extend([0x20, 5 + tag as u8]);
        }
        let tcp_len = 20 + self.options.len() + self.payload_len;
        if self.is_v6 {
            f.extend([0x86, 0xdd, 0x61, 0x20, 3, 4]);
            f.extend((tcp_len as u16).to_be_bytes());
            f.extend([6, 64]);
            f.extend((0..32).map(|i| 0x20 + i));
        } else {
            f.extend([8, 0, 0x45, 0x02]);
            f.extend((tcp_len as u16 + 20).to_be_bytes());
            f.extend(self.id.to_be_bytes());
            f.extend([0x40, 0, 64, 6, 0, 0, 10, 1, 2, 3, 10, 4, 5, 6]);
        }
        f.extend([0x9c, 0x40, 0x1f, 0x90]);
        f.extend(self.seq.to_be_bytes());
        f.extend([1, 2, 3, 4]);
        f.push((5 + self.options.len() as u8 / 4) << 4);
        f.push(self.flags);
        f.extend([0x10, 0, 0, 0, 0, 0]);
        f.extend(&self.options);
        f.extend(payload(self.payload_len));
        self.write_sums(&mut f);
        f
    }

    fn write_sums(&self, f: &mut [u8]) {
        let (ip, tcp) = (self.ip_at(), self.tcp_at());
        if !self.is_v6 {
            let sum = !sum(&[&f[ip..tcp]]);
            f[ip + 10..ip + 12].copy_from_slice(&sum.to_be_bytes());
        }
        let (frame_sum, pseudo) = (sum(&[&f[tcp..]]), pseudo(f, ip, f.len() - tcp));
        let value = match self.sums {
            Sums::Full => !add(frame_sum, pseudo),
            Sums::Unfinished => pseudo,
            Sums::ForTso => crate::frames::pseudo(f, ip, 0),
        };
        f[tcp + 16..tcp + 18].copy_from_slice(&value.to_be_bytes());
    }

    /// A packet of it in buffers of the given lengths, the last of which is used again and again.
    pub fn packet(&self, bench: &Bench, pieces: &[usize]) -> Mbuf {
        packet(bench, &self.bytes(), pieces)
    }
}

pub fn packet(bench: &Bench, bytes: &[u8], pieces: &[usize]) -> Mbuf {
    let mut pieces = pieces.iter().copied();
    let mut len = usize::from(bench.pool.segment_bytes_max());
    let mut rest = bytes;
    let mut packet: Option<Mbuf> = None;
    while packet.is_none() || !rest.is_empty() {
        len = pieces.next().unwrap_or(len);
        let (piece, after) = rest.split_at(len.min(rest.len()));
        rest = after;
        let mut part = bench.pool.alloc().unwrap();
        part.append(piece).unwrap();
        match &mut packet {
            Some(packet) => packet.chain(part).unwrap(),
            None => packet = Some(part),
        }
    }
    packet.unwrap()
}

fn add(a: u16, b: u16) -> u16 {
    let sum = u32::from(a) + u32::from(b);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The ones' complement sum of the words of each slice.
pub fn sum(slices: &[&[u8]]) -> u16 {
    let mut total = 0;
    for slice in slices {
        for word in slice.chunks(2) {
            total = add(total, u16::from(word[0]) << 8 | word.get(1).map_or(0, |b| u16::from(*b)));
        }
    }
    total
}

pub fn pseudo(f: &[u8], ip: usize, tcp_len: usize) -> u16 {
    let len = (tcp_len as u16).to_be_bytes();
    if f[ip] >> 4 == 6 {
        sum(&[&f[ip + 8..ip + 40], &[0, 6], &len])
    } else {
        sum(&[&f[ip + 12..ip + 20], &[0, 6], &len])
    }
}

/// Everything that must hold of the segments of a super-frame. `full` = bytes of a full segment.
pub fn assert_segments(of: &Super, segments: &[Vec<u8>], full: usize) {
    let whole = of.bytes();
    let (ip, tcp, data) = (of.ip_at(), of.tcp_at(), of.header_bytes());
    let mut seen = Vec::new();
    for (i, f) in segments.iter().enumerate() {
        let (first, last) = (i == 0, i + 1 == segments.len());
        assert!(f.len() == full || last && f.len() <= full && f.len() > data, "length of {i}");
        let mut expected = whole[..data].to_vec();
        if of.is_v6 {
            expected[ip + 4..ip + 6].copy_from_slice(&((f.len() - tcp) as u16).to_be_bytes());
        } else {
            expected[ip + 2..ip + 4].copy_from_slice(&((f.len() - ip) as u16).to_be_bytes());
            let id = of.id.wrapping_add(i as u16);
            expected[ip + 4..ip + 6].copy_from_slice(&id.to_be_bytes());
            assert_eq!(sum(&[&f[ip..tcp]]), 0xffff, "IPv4 checksum of {i}");
            expected[ip + 10..ip + 12].copy_from_slice(&f[ip + 10..ip + 12]);
        }
        let seq = of.seq.wrapping_add(seen.len() as u32);
        expected[tcp + 4..tcp + 8].copy_from_slice(&seq.to_be_bytes());
        let gone = if last { 0 } else { 0x09 } | if first { 0 } else { 0x80 };
        expected[tcp + 13] &= !gone;
        assert_eq!(
            add(sum(&[&f[tcp..]]), pseudo(f, ip, f.len() - tcp)),
            0xffff,
            "TCP checksum of {i}"
        );
        expected[tcp + 16..tcp + 18].copy_from_slice(&f[tcp + 16..tcp + 18]);
        assert_eq!(f[..data], expected, "headers of {i}");
        seen.extend_from_slice(&f[data..]);
    }
    assert_eq!(seen, payload(of.payload_len));
}

/// What a NIC makes of a packet that was prepared for TSO: the lengths come from the mbuf, the
/// checksums from what it finds in the frame.
pub fn cut_as_a_nic(packet: &Mbuf) -> Vec<Vec<u8>> {
    let asked = dataplane::segment::tso_request(packet).unwrap();
    let whole = bytes_of(packet);
    let ip = usize::from(asked.l2_bytes);
    let tcp = ip + usize::from(asked.l3_bytes);
    let data = tcp + usize::from(asked.l4_bytes);
    let parts: Vec<_> = whole[data..].chunks(usize::from(asked.payload_max)).collect();
    let mut at = 0;
    parts
        .iter()
        .enumerate()
        .map(|(i, part)| {
            let mut f = whole[..data].to_vec();
            f.extend_from_slice(part);
            let word = |f: &[u8], at: usize| u16::from_be_bytes([f[at], f[at + 1]]);
            if asked.is_ipv6 {
                let len = (f.len() - tcp) as u16;
                f[ip + 4..ip + 6].copy_from_slice(&len.to_be_bytes());
            } else {
                let len = (f.len() - ip) as u16;
                f[ip + 2..ip + 4].copy_from_slice(&len.to_be_bytes());
                let id = word(&f, ip + 4).wrapping_add(i as u16);
                f[ip + 4..ip + 6].copy_from_slice(&id.to_be_bytes());
                let sum = !sum(&[&f[ip..tcp]]);
                f[ip + 10..ip + 12].copy_from_slice(&sum.to_be_bytes());
            }
            let seq = [f[tcp + 4], f[tcp + 5], f[tcp + 6], f[tcp + 7]];
            let seq = u32::from_be_bytes(seq).wrapping_add(at);
            f[tcp + 4..tcp + 8].copy_from_slice(&seq.to_be_bytes());
            at += part.len() as u32;
            let last = i + 1 == parts.len();
            f[tcp + 13] &= !(if last { 0 } else { 0x09 } | if i == 0 { 0 } else { 0x80 });
            // The field holds the sum of the pseudo-header without the length.
            let sum = !add(sum(&[&f[tcp..]]), (f.len() - tcp) as u16);
            f[tcp + 16..tcp + 18].copy_from_slice(&sum.to_be_bytes());
            f
        })
        .collect()
}
