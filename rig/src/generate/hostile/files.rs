//! Bad files, and good ones of the rarer kinds.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use model::drop_reason::DropReason;

use super::frames::order;
use super::{HostileCase, HostileFile};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const NAME_RESOLUTION: u32 = 4;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// How a pcap file is written.
#[derive(Clone, Copy)]
pub(super) struct Pcap {
    pub(super) is_big_endian: bool,
    pub(super) is_nanos: bool,
    pub(super) link_type: u32,
    pub(super) major: u16,
}

impl Default for Pcap {
    fn default() -> Self {
        Self { is_big_endian: false, is_nanos: true, link_type: 1, major: 2 }
    }
}

/// Numbers in one of the byte orders.
#[derive(Clone, Copy)]
struct Numbers {
    is_big_endian: bool,
}

impl Numbers {
    fn u16(self, bytes: &mut Vec<u8>, value: u16) {
        bytes.extend(if self.is_big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn u32(self, bytes: &mut Vec<u8>, value: u32) {
        bytes.extend(if self.is_big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }
}

impl Pcap {
    fn numbers(self) -> Numbers {
        Numbers { is_big_endian: self.is_big_endian }
    }

    fn header(self) -> Vec<u8> {
        let (numbers, mut bytes) = (self.numbers(), Vec::new());
        numbers.u32(&mut bytes, if self.is_nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 });
        numbers.u16(&mut bytes, self.major);
        numbers.u16(&mut bytes, 4);
        for field in [0, 0, 262_144, self.link_type] {
            numbers.u32(&mut bytes, field);
        }
        bytes
    }

    /// A record with whatever lengths; `micros` after the start of the capture.
    fn record(self, bytes: &mut Vec<u8>, micros: u32, held: u32, orig_len: u32, data: &[u8]) {
        let ticks = if self.is_nanos { micros * 1_000 } else { micros };
        for field in [1_736_173_800, ticks, held, orig_len] {
            self.numbers().u32(bytes, field);
        }
        bytes.extend(data);
    }
}

/// A pcap file of these frames, 10 us apart.
pub(super) fn pcap(format: Pcap, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format.header();
    for (i, frame) in frames.iter().enumerate() {
        let len = frame.len() as u32;
        format.record(&mut bytes, 10 * i as u32, len, len, frame);
    }
    bytes
}

/// Builds pcapng blocks.
struct Pcapng {
    numbers: Numbers,
    bytes: Vec<u8>,
}

impl Pcapng {
    fn new(is_big_endian: bool) -> Self {
        let mut pcapng = Self { numbers: Numbers { is_big_endian }, bytes: Vec::new() };
        pcapng.section(is_big_endian);
        pcapng
    }

    fn section(&mut self, is_big_endian: bool) {
        self.numbers = Numbers { is_big_endian };
        let mut body = Vec::new();
        self.numbers.u32(&mut body, 0x1a2b_3c4d);
        self.numbers.u16(&mut body, 1);
        self.numbers.u16(&mut body, 0);
        body.extend([0xff; 8]);
        self.block(SECTION_HEADER, &body);
    }

    fn block(&mut self, block_type: u32, body: &[u8]) {
        let len = body.len() as u32 + 12;
        self.numbers.u32(&mut self.bytes, block_type);
        self.numbers.u32(&mut self.bytes, len);
        self.bytes.extend(body);
        self.numbers.u32(&mut self.bytes, len);
    }

    /// An interface; `options` are (code, value).
    fn interface(&mut self, link_type: u16, snap_len: u32, options: &[(u16, &[u8])]) {
        let mut body = Vec::new();
        self.numbers.u16(&mut body, link_type);
        self.numbers.u16(&mut body, 0);
        self.numbers.u32(&mut body, snap_len);
        for (code, value) in options {
            self.numbers.u16(&mut body, *code);
            self.numbers.u16(&mut body, value.len() as u16);
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(INTERFACE, &body);
    }

    fn enhanced(&mut self, interface: u32, ticks: u64, held: u32, data: &[u8]) {
        let mut body = Vec::new();
        for field in [interface, (ticks >> 32) as u32, ticks as u32, held, data.len() as u32] {
            self.numbers.u32(&mut body, field);
        }
        self.packet(ENHANCED_PACKET, body, data);
    }

    fn obsolete(&mut self, interface: u16, ticks: u64, data: &[u8]) {
        let mut body = Vec::new();
        self.numbers.u16(&mut body, interface);
        self.numbers.u16(&mut body, 0);
        let len = data.len() as u32;
        for field in [(ticks >> 32) as u32, ticks as u32, len, len] {
            self.numbers.u32(&mut body, field);
        }
        self.packet(OBSOLETE_PACKET, body, data);
    }

    fn simple(&mut self, orig_len: u32, data: &[u8]) {
        let mut body = Vec::new();
        self.numbers.u32(&mut body, orig_len);
        self.packet(SIMPLE_PACKET, body, data);
    }

    fn packet(&mut self, block_type: u32, mut body: Vec<u8>, data: &[u8]) {
        body.extend(data);
        body.resize(body.len().next_multiple_of(4), 0);
        self.block(block_type, &body);
    }
}

/// The start of every stamp in microseconds.
const MICROS: u64 = 1_736_173_800_000_000;

fn good(file: &'static str, frames: u64, bytes: Vec<u8>) -> HostileFile {
    let case = HostileCase { file, records: frames, ip: frames, ..HostileCase::default() };
    HostileFile { bytes, case }
}

/// A file that is refused when it is opened.
fn refused(file: &'static str, error: &'static str, bytes: Vec<u8>) -> HostileFile {
    let case = HostileCase { file, error: Some(error), is_refused: true, ..HostileCase::default() };
    HostileFile { bytes, case }
}

/// A file with so many good frames before the error.
fn broken(file: &'static str, frames: u64, error: &'static str, bytes: Vec<u8>) -> HostileFile {
    let case = HostileCase {
        file,
        records: frames,
        ip: frames,
        error: Some(error),
        ..HostileCase::default()
    };
    HostileFile { bytes, case }
}

const CUT_OFF: &str = "the file is cut off here";

/// A file that ends after so many good frames in the middle of one.
fn truncated(file: &'static str, frames: u64, bytes: Vec<u8>) -> HostileFile {
    let mut file = broken(file, frames, CUT_OFF, bytes);
    file.case.is_truncated = true;
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing into memory does not fail; an empty answer would fail every test of the set.
    encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default()
}

fn shortened(mut bytes: Vec<u8>, by: usize) -> Vec<u8> {
    bytes.truncate(bytes.len() - by);
    bytes
}

pub(super) fn all() -> Vec<HostileFile> {
    let three = [order(30), order(60), order(90)];
    let whole = || pcap(Pcap::default(), &three);
    let with = |change: fn(&mut Pcap)| {
        let mut format = Pcap::default();
        change(&mut format);
        pcap(format, &three)
    };
    let mut all = vec![
        refused("empty.pcap", "the file is empty", Vec::new()),
        refused("three-bytes.pcap", "not a capture: begins with a1 b2 c3,", vec![0xa1, 0xb2, 0xc3]),
        refused("garbage.pcap", "not a capture: begins with 1b fe e1 c5,", garbage()),
        refused("pcap-header-cut.pcap", CUT_OFF, shortened(Pcap::default().header(), 1)),
        refused("link-type-sll.pcap", "link type 113 (LINUX_SLL)", with(|p| p.link_type = 113)),
        refused("link-type-raw.pcap", "link type 101 (RAW)", with(|p| p.link_type = 101)),
        refused("pcap-version-3.pcap", "format version 3.4", with(|p| p.major = 3)),
        good("pcap-micros.pcap", 3, with(|p| p.is_nanos = false)),
        good("pcap-big-endian.pcap", 3, with(|p| p.is_big_endian = true)),
        good("pcap-no-records.pcap", 0, Pcap::default().header()),
        good("pcap-in-gzip.pcap", 3, gzip(&whole())),
        good("two-gzip-members.pcap.gz", 3, {
            let whole = whole();
            let (first, second) = whole.split_at(whole.len() / 2);
            [gzip(first), gzip(second)].concat()
        }),
        truncated("record-cut.pcap", 2, shortened(whole(), 1)),
        truncated("record-header-cut.pcap", 2, shortened(whole(), order(90).len() + 5)),
        truncated("gzip-cut.pcap.gz", 2, {
            // A member that is whole, then the start of one: what was delivered does not depend on
            // the compressor.
            let head = shortened(whole(), 40);
            [gzip(&head), gzip(&garbage())[..20].to_vec()].concat()
        }),
        refused("gzip-of-nothing.pcap.gz", "the file is empty", gzip(&[])),
    ];
    all.extend(odd_records());
    all.extend(pcapng_files());
    all
}

fn odd_records() -> Vec<HostileFile> {
    let format = Pcap::default();
    let order = order(90);
    let len = order.len() as u32;

    let mut snapped = format.header();
    format.record(&mut snapped, 0, 96, len, &order[..96]);
    format.record(&mut snapped, 10, len, len, &order);

    let mut backwards = format.header();
    for micros in [500_000, 400_000, 600_000, 0] {
        format.record(&mut backwards, micros, len, len, &order);
    }

    let mut empty = format.header();
    format.record(&mut empty, 0, 0, 0, &[]);
    format.record(&mut empty, 10, 0, len, &[]);
    format.record(&mut empty, 20, len, len, &order);

    let mut huge = format.header();
    format.record(&mut huge, 0, len, len, &order);
    format.record(&mut huge, 10, 0x7fff_ffff, 0x7fff_ffff, &order);

    let mut short_orig = format.header();
    format.record(&mut short_orig, 0, len, 4, &order);

    let one_of = |file, records, ip, malformed| HostileCase {
        file,
        records,
        ip,
        malformed,
        ..HostileCase::default()
    };
    let snap_case = one_of("snap-length.pcap", 2, 1, vec![(DropReason::Ipv4LengthMalformed, 1)]);
    let empty_case = one_of("zero-length-records.pcap", 3, 1, vec![(DropReason::Runt, 2)]);
    vec![
        HostileFile { bytes: snapped, case: snap_case },
        good("stamps-backwards.pcap", 4, backwards),
        HostileFile { bytes: empty, case: empty_case },
        broken("record-length-absurd.pcap", 1, "a record of 2147483647 bytes", huge),
        good("orig-below-held.pcap", 1, short_orig),
    ]
}

fn pcapng_files() -> Vec<HostileFile> {
    let (order, len) = (order(90), order(90).len() as u32);
    let one = |change: &dyn Fn(&mut Pcapng)| {
        let mut pcapng = Pcapng::new(false);
        pcapng.interface(1, 0, &[]);
        pcapng.enhanced(0, MICROS, len, &order);
        change(&mut pcapng);
        pcapng.bytes
    };

    let mut sections = Pcapng::new(true);
    sections.interface(1, 0, &[(9, &[9])]);
    sections.enhanced(0, MICROS * 1_000, len, &order);
    sections.section(false);
    // 2^-20 s, and seconds that are added to every stamp.
    sections.interface(
        1,
        0,
        &[(2, b"eth9"), (9, &[0x80 | 20]), (14, &1_736_173_800i64.to_le_bytes())],
    );
    sections.interface(1, 0, &[(9, &[3]), (0, &[])]);
    sections.enhanced(0, 1 << 20, len, &order);
    sections.enhanced(1, MICROS / 1_000 + 2_000, len, &order);
    sections.obsolete(1, MICROS / 1_000 + 3_000, &order);
    sections.simple(len, &order);

    let mut unknown = Pcapng::new(false);
    unknown.block(0x0bad_0bad, &[0xee; 40]);
    unknown.interface(1, 0, &[(9, &[6])]);
    unknown.block(NAME_RESOLUTION, &[0; 4]);
    unknown.enhanced(0, MICROS, len, &order);
    unknown.block(0x8000_0001, &[]);
    unknown.block(STATISTICS, &[0; 12]);
    unknown.enhanced(0, MICROS + 1, len, &order);

    let mut snapped = Pcapng::new(false);
    snapped.interface(1, 64, &[]);
    snapped.simple(len, &order[..64]);

    // Declared but unused: no reason to refuse the file.
    let mut unused = Pcapng::new(false);
    unused.interface(113, 0, &[]);
    unused.interface(1, 0, &[]);
    unused.enhanced(1, MICROS, len, &order);

    let snapped_case = HostileCase {
        file: "pcapng-simple-snapped.pcapng",
        records: 1,
        malformed: vec![(DropReason::Ipv4LengthMalformed, 1)],
        ..HostileCase::default()
    };
    vec![
        good("pcapng-two-sections.pcapng", 5, sections.bytes),
        good("pcapng-unknown-blocks.pcapng", 2, unknown.bytes),
        good("pcapng-unused-interface.pcapng", 1, unused.bytes),
        HostileFile { bytes: snapped.bytes, case: snapped_case },
        broken(
            "pcapng-block-absurd.pcapng",
            1,
            "a block of 4294967292 bytes",
            one(&|pcapng| {
                pcapng.numbers.u32(&mut pcapng.bytes, ENHANCED_PACKET);
                pcapng.numbers.u32(&mut pcapng.bytes, 0xffff_fffc);
                pcapng.bytes.extend([0; 64]);
            }),
        ),
        truncated(
            "pcapng-block-beyond-file.pcapng",
            1,
            one(&|pcapng| {
                // 15 MiB: believable, and not there.
                pcapng.numbers.u32(&mut pcapng.bytes, 0x0bad_0bad);
                pcapng.numbers.u32(&mut pcapng.bytes, 15 << 20);
                pcapng.bytes.extend([0; 64]);
            }),
        ),
        broken(
            "pcapng-block-odd.pcapng",
            1,
            "a block length below 12 or not a multiple of 4",
            one(&|pcapng| {
                pcapng.numbers.u32(&mut pcapng.bytes, ENHANCED_PACKET);
                pcapng.numbers.u32(&mut pcapng.bytes, 8);
                pcapng.bytes.extend([0; 8]);
            }),
        ),
        broken(
            "pcapng-lengths-differ.pcapng",
            1,
            "the two lengths of a block differ",
            one(&|pcapng| {
                pcapng.enhanced(0, MICROS, len, &order);
                let last = pcapng.bytes.len() - 4;
                pcapng.bytes[last] ^= 4;
            }),
        ),
        broken(
            "pcapng-packet-beyond-block.pcapng",
            1,
            "a packet longer than its block",
            one(&|pcapng| pcapng.enhanced(0, MICROS, len + 100, &order)),
        ),
        broken(
            "pcapng-packet-absurd.pcapng",
            1,
            "a record of 4294967295 bytes",
            one(&|pcapng| pcapng.enhanced(0, MICROS, u32::MAX, &order)),
        ),
        broken(
            "pcapng-no-interface.pcapng",
            1,
            "an interface that is not described",
            one(&|pcapng| pcapng.enhanced(7, MICROS, len, &order)),
        ),
        broken(
            "pcapng-block-too-short.pcapng",
            1,
            "a block shorter than its fields",
            one(&|pcapng| pcapng.block(ENHANCED_PACKET, &[0; 12])),
        ),
        broken(
            "pcapng-option-beyond-block.pcapng",
            1,
            "an option longer than its block",
            one(&|pcapng| {
                pcapng.block(INTERFACE, &[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 200, 0]);
            }),
        ),
        broken(
            "pcapng-link-type.pcapng",
            1,
            "link type 276 (LINUX_SLL2)",
            one(&|pcapng| {
                pcapng.interface(276, 0, &[]);
                pcapng.enhanced(1, MICROS, len, &order);
            }),
        ),
        truncated("pcapng-cut.pcapng", 0, shortened(one(&|_| {}), 10)),
        refused("pcapng-header-cut.pcapng", CUT_OFF, Pcapng::new(false).bytes[..20].to_vec()),
        refused("pcapng-version-9.pcapng", "format version 9.0", {
            let mut bytes = Pcapng::new(false).bytes;
            bytes[12] = 9;
            bytes
        }),
        refused("pcapng-no-byte-order.pcapng", "without its byte-order mark", {
            let mut bytes = Pcapng::new(false).bytes;
            bytes[8] = 0;
            bytes
        }),
    ]
}

/// Bytes without a pattern that any format has.
fn garbage() -> Vec<u8> {
    (0..4_096u32)
        .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(27 << 20) >> 20) as u8)
        .collect()
}
