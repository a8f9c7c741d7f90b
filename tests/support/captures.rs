//! Captures, byte by byte.

use std::io::Write;

/// How a pcap file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pcap {
    /// Big-endian.
    pub big: bool,
    /// Nanosecond stamps instead of microseconds.
    pub nanoseconds: bool,
}

/// A pcap file of `(t_ns, frame)`.
pub fn pcap<F: AsRef<[u8]>>(style: Pcap, frames: &[(u64, F)]) -> Vec<u8> {
    let u32 = |n: u64| order(u32::try_from(n).expect("fits").to_be_bytes(), style.big);
    let magic: u32 = if style.nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let mut file = Vec::new();
    file.extend(u32(magic.into()));
    file.extend(order([0, 2], style.big));
    file.extend(order([0, 4], style.big));
    for field in [0, 0, 262_144, 1] {
        file.extend(u32(field));
    }
    for (t, frame) in frames {
        let frame = frame.as_ref();
        let unit = if style.nanoseconds { 1 } else { 1_000 };
        file.extend(u32(t / 1_000_000_000));
        file.extend(u32(t % 1_000_000_000 / unit));
        file.extend(u32(frame.len() as u64));
        file.extend(u32(frame.len() as u64));
        file.extend(frame);
    }
    file
}

/// A pcapng file of `(t, interface, frame)`; `t` counts units of `resolution` (the option byte of
/// the format: 9 = nanoseconds, 6 = microseconds, 0x80 + n = 2^-n s).
pub fn pcapng<F: AsRef<[u8]>>(
    big: bool,
    resolution: u8,
    interfaces: &[&str],
    frames: &[(u64, u32, F)],
) -> Vec<u8> {
    let u32 = |n: u32| order(n.to_be_bytes(), big);
    let mut file = Vec::new();
    let mut section = u32(0x1a2b_3c4d).to_vec();
    section.extend(order([0, 1], big));
    section.extend([0; 2]);
    section.extend([0xff; 8]);
    block(&mut file, big, 0x0a0d_0d0a, &section);
    for name in interfaces {
        let mut body = order([0, 1], big).to_vec();
        body.extend([0; 2]);
        body.extend(u32(0));
        option(&mut body, big, 2, name.as_bytes());
        option(&mut body, big, 9, &[resolution]);
        body.extend([0; 4]);
        block(&mut file, big, 1, &body);
    }
    for (t, interface, frame) in frames {
        let frame = frame.as_ref();
        let len = u32::try_from(frame.len()).expect("fits");
        let (high, low) = ((t >> 32) as u32, *t as u32);
        let mut body = Vec::new();
        for field in [*interface, high, low, len, len] {
            body.extend(order(field.to_be_bytes(), big));
        }
        body.extend(frame);
        body.resize(body.len().next_multiple_of(4), 0);
        block(&mut file, big, 6, &body);
    }
    file
}

/// `bytes` as a gzip file.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

fn block(file: &mut Vec<u8>, big: bool, kind: u32, body: &[u8]) {
    let length = u32::try_from(body.len() + 12).expect("fits");
    for field in [kind, length] {
        file.extend(order(field.to_be_bytes(), big));
    }
    file.extend(body);
    file.extend(order(length.to_be_bytes(), big));
}

fn option(body: &mut Vec<u8>, big: bool, code: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).expect("fits");
    for field in [code, length] {
        body.extend(order(field.to_be_bytes(), big));
    }
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Big-endian bytes in the order asked for.
fn order<const N: usize>(mut bytes: [u8; N], big: bool) -> [u8; N] {
    if !big {
        bytes.reverse();
    }
    bytes
}
