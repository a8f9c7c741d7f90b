//! A capture reader of its own: pcap (micro- and nanosecond, either byte order) and pcapng, plain
//! or gzip.

use std::io::Read;
use std::path::Path;

/// One frame of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Time stamp, ns since the capture's epoch.
    pub t: u64,
    /// The bytes that were kept.
    pub bytes: Vec<u8>,
    /// Name of the interface, where the format has one.
    pub interface: Option<String>,
}

/// Reads every frame of a file.
///
/// # Errors
/// Anything that is not a whole capture, in words.
pub fn read_file(path: &Path) -> Result<Vec<Record>, String> {
    let raw = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    read(&raw).map_err(|e| format!("{}: {e}", path.display()))
}

/// Reads every frame of a capture in memory.
///
/// # Errors
/// Anything that is not a whole capture, in words.
pub fn read(raw: &[u8]) -> Result<Vec<Record>, String> {
    if raw.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(raw)
            .read_to_end(&mut plain)
            .map_err(|e| format!("gzip: {e}"))?;
        return read(&plain);
    }
    match raw.get(..4) {
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => read_pcapng(raw),
        Some(magic) => {
            let (big, unit_ns) = match magic {
                [0xa1, 0xb2, 0xc3, 0xd4] => (true, 1_000),
                [0xd4, 0xc3, 0xb2, 0xa1] => (false, 1_000),
                [0xa1, 0xb2, 0x3c, 0x4d] => (true, 1),
                [0x4d, 0x3c, 0xb2, 0xa1] => (false, 1),
                _ => return Err("neither pcap nor pcapng".into()),
            };
            read_pcap(Bytes { raw, big }, unit_ns)
        }
        None => Err("shorter than a magic number".into()),
    }
}

/// Bytes with a byte order. Every read is bounded.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    raw: &'a [u8],
    big: bool,
}

impl<'a> Bytes<'a> {
    fn slice(&self, at: usize, len: usize) -> Result<&'a [u8], String> {
        at.checked_add(len)
            .and_then(|end| self.raw.get(at..end))
            .ok_or_else(|| format!("cut off at byte {}", self.raw.len()))
    }

    fn u16(&self, at: usize) -> Result<u16, String> {
        let bytes = self.slice(at, 2)?;
        let bytes = [bytes[0], bytes[1]];
        Ok(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(&self, at: usize) -> Result<u32, String> {
        let (a, b) = (u32::from(self.u16(at)?), u32::from(self.u16(at + 2)?));
        Ok(if self.big { a << 16 | b } else { b << 16 | a })
    }

    fn length(&self, at: usize) -> Result<usize, String> {
        usize::try_from(self.u32(at)?).map_err(|e| e.to_string())
    }
}

fn read_pcap(file: Bytes<'_>, unit_ns: u64) -> Result<Vec<Record>, String> {
    let link_type = file.u32(20)? & 0xffff;
    if link_type != 1 {
        return Err(format!("link type {link_type} is not Ethernet"));
    }
    let (mut records, mut at) = (Vec::new(), 24);
    while at < file.raw.len() {
        let seconds = u64::from(file.u32(at)?);
        let fraction = u64::from(file.u32(at + 4)?);
        let kept = file.length(at + 8)?;
        file.u32(at + 12)?;
        records.push(Record {
            t: seconds * 1_000_000_000 + fraction * unit_ns,
            bytes: file.slice(at + 16, kept)?.to_vec(),
            interface: None,
        });
        at += 16 + kept;
    }
    Ok(records)
}

/// What an interface description block says.
struct Interface {
    name: Option<String>,
    link_type: u16,
    ticks_per_s: u128,
    offset_s: i64,
}

impl Interface {
    fn time(&self, ticks: u64) -> Result<u64, String> {
        let ns = u128::from(ticks) * 1_000_000_000 / self.ticks_per_s;
        let offset = i128::from(self.offset_s) * 1_000_000_000;
        i128::try_from(ns)
            .ok()
            .and_then(|ns| u64::try_from(ns + offset).ok())
            .ok_or_else(|| format!("time stamp {ticks} out of range"))
    }
}

fn read_pcapng(raw: &[u8]) -> Result<Vec<Record>, String> {
    let mut file = Bytes { raw, big: false };
    let (mut records, mut interfaces, mut at) = (Vec::new(), Vec::<Interface>::new(), 0);
    while at < raw.len() {
        if file.slice(at, 4)? == [0x0a, 0x0d, 0x0d, 0x0a] {
            file.big = match file.slice(at + 8, 4)? {
                [0x1a, 0x2b, 0x3c, 0x4d] => true,
                [0x4d, 0x3c, 0x2b, 0x1a] => false,
                _ => return Err("section without a byte order".into()),
            };
            interfaces.clear();
        }
        let kind = file.u32(at)?;
        let length = file.length(at + 4)?;
        if length < 12 || length % 4 != 0 || file.length(at + length.saturating_sub(4))? != length {
            return Err(format!("block at byte {at} has a wrong length"));
        }
        let body = Bytes { raw: file.slice(at + 8, length - 12)?, big: file.big };
        match kind {
            1 => interfaces.push(read_interface(body)?),
            6 | 2 => {
                let id = if kind == 6 { body.length(0)? } else { usize::from(body.u16(0)?) };
                let interface = interfaces.get(id).ok_or("packet of an unknown interface")?;
                // One that is declared and saw no packet may be of any kind.
                if interface.link_type != 1 {
                    return Err(format!("link type {} is not Ethernet", interface.link_type));
                }
                let ticks = u64::from(body.u32(4)?) << 32 | u64::from(body.u32(8)?);
                let kept = body.length(12)?;
                records.push(Record {
                    t: interface.time(ticks)?,
                    bytes: body.slice(20, kept)?.to_vec(),
                    interface: interface.name.clone(),
                });
            }
            3 => return Err("simple packet blocks carry no time".into()),
            _ => {}
        }
        at += length;
    }
    Ok(records)
}

fn read_interface(body: Bytes<'_>) -> Result<Interface, String> {
    let link_type = body.u16(0)?;
    let mut interface = Interface { name: None, link_type, ticks_per_s: 1_000_000, offset_s: 0 };
    let mut at = 8;
    while at < body.raw.len() {
        let (code, length) = (body.u16(at)?, usize::from(body.u16(at + 2)?));
        let value = body.slice(at + 4, length)?;
        match (code, value) {
            (0, _) => break,
            (2, name) => interface.name = Some(String::from_utf8_lossy(name).into_owned()),
            (9, &[power]) => {
                let (base, power) = if power & 0x80 == 0 { (10, power) } else { (2, power & 0x7f) };
                interface.ticks_per_s = u128::checked_pow(base, power.into())
                    .filter(|ticks| *ticks <= 1 << 64)
                    .ok_or("time stamp resolution out of range")?;
            }
            (14, value) if value.len() == 8 => {
                let (a, b) = (u64::from(body.u32(at + 4)?), u64::from(body.u32(at + 8)?));
                let offset = if body.big { a << 32 | b } else { b << 32 | a };
                interface.offset_s = offset.cast_signed();
            }
            _ => {}
        }
        at += 4 + length.next_multiple_of(4);
    }
    Ok(interface)
}
