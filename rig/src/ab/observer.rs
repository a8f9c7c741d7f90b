//! The one observer of all arms: a capture on the venue's interface, and how well it sees.
//!
//! It collects into its ring while a block runs, and is read after. Super-frames are cut into the frames
//! that they are on the wire by whoever counts them.

use std::io;
use std::thread;

use model::time::Nanos;

use super::clock::now;
use super::cpu;
use super::net::{GATEWAY_VENUE, HOST, Net};
use super::result::Resolution;
use crate::kernel::capture::{BLOCK_BYTES, Capture, CaptureError, FrameSender};
use crate::kernel::ring::Frame;
use crate::observe::seen::{Place, Seen};

/// Memory of the capture, for each second that it collects: some 60,000 frames.
const RING_BYTES_PER_S: u64 = 16 << 20;
const RING_BYTES_MIN: u64 = 32 << 20;
/// It collects for so long before a block and after it.
const AROUND: Nanos = Nanos::from_millis(500);
/// Probes of the resolution, and the time from one to the next.
const PROBES: u32 = 300;
const PROBE_EVERY: Nanos = Nanos::from_micros(50);
/// For local experiments (IEEE 802).
const PROBE_TYPE: [u8; 2] = [0x88, 0xb5];
const PROBE_BYTES: usize = 60;

/// A frame of IP that passed the venue's interface.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Captured {
    /// Its headers; its time is wall clock. What came from the gateway has [`Place::EgressOut`].
    pub seen: Seen,
    /// The first eight bytes of its payload: a datagram's number.
    pub number: Option<u64>,
}

/// A frame as it was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// Stamp, wall clock.
    pub at: Nanos,
    /// Its bytes, as many as were kept.
    pub bytes: Vec<u8>,
    /// How many it has.
    pub len: u32,
}

/// A capture under way.
#[derive(Debug)]
pub struct Observer {
    capture: Capture,
    /// How old a frame is at most when it can be read.
    retire_ms: u32,
    probes: FrameSender,
}

/// What it saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// In the order in which they passed.
    pub frames: Vec<Captured>,
    /// Number and stamp of each probe.
    pub probes: Vec<(u32, Nanos)>,
    /// All of them as they were captured, where that was asked for.
    pub raw: Vec<RawFrame>,
    /// Frames that there was no room for, or that could not be read.
    pub drops: u64,
}

impl Observer {
    /// Begins to capture, for a block of `length`, rests included.
    ///
    /// # Errors
    /// No permission, or the hosts are gone.
    pub fn open(net: &Net, length: Nanos) -> Result<Self, CaptureError> {
        let failed = |source| CaptureError::Socket { interface: HOST.to_owned(), source };
        let (bytes, retire_ms) = ring(length);
        let open = || Capture::open(HOST, bytes, retire_ms);
        let capture = net.venue.enter(open).map_err(failed)??;
        Ok(Self { capture, retire_ms, probes: FrameSender::open(GATEWAY_VENUE)? })
    }

    /// Sends frames from next to the observer, at times that a spinning thread on CPU `on` keeps, and says
    /// when each was sent.
    ///
    /// # Errors
    /// The interface takes no frames.
    pub fn probe(&self, on: usize) -> io::Result<Vec<Nanos>> {
        let probes = &self.probes;
        let spin = || -> io::Result<Vec<Nanos>> {
            cpu::take(on)?;
            let mut sent = Vec::with_capacity(PROBES as usize);
            let mut due = now().saturating_add(PROBE_EVERY);
            for number in 0..PROBES {
                while now() < due {
                    std::hint::spin_loop();
                }
                let frame = probe(number);
                sent.push(now());
                probes.send(&frame)?;
                due = due.saturating_add(PROBE_EVERY);
            }
            Ok(sent)
        };
        let done = thread::scope(|scope| scope.spawn(spin).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Ends it, and gives what it saw; `keeps_raw`: also as it was captured.
    pub fn finish(mut self, keeps_raw: bool) -> Observation {
        // What the kernel has not handed over yet.
        thread::sleep(std::time::Duration::from_millis(2 * u64::from(self.retire_ms)));
        let mut seen = Observation::default();
        self.capture.drain(|frame| {
            if keeps_raw {
                let at = Nanos(frame.at_ns);
                seen.raw.push(RawFrame { at, bytes: frame.bytes.to_vec(), len: frame.len });
            }
            match read(frame) {
                Some(Read::Probe(number)) => seen.probes.push((number, Nanos(frame.at_ns))),
                Some(Read::Ip(captured)) => seen.frames.push(captured),
                // Not IP, such as a neighbour that is looked for: no part of any workload.
                None => {}
            }
        });
        seen.drops = self.capture.drops() + self.capture.unreadable();
        seen
    }
}

/// Bytes of a ring that is read after `length`, and when its blocks are handed over that are not full: so
/// late that there is one for every moment.
fn ring(length: Nanos) -> (usize, u32) {
    let collects_ms = length.saturating_add(AROUND).0.div_ceil(1_000_000);
    let bytes = (collects_ms * RING_BYTES_PER_S / 1_000).max(RING_BYTES_MIN) as usize;
    let blocks = bytes.div_ceil(BLOCK_BYTES) as u64;
    (bytes, u32::try_from(collects_ms / blocks).map_or(u32::MAX, |ms| ms + 1))
}

enum Read {
    Probe(u32),
    Ip(Captured),
}

fn read(frame: &Frame<'_>) -> Option<Read> {
    if frame.bytes.get(12..14) == Some(&PROBE_TYPE) {
        let number = frame.bytes.get(14..18)?.first_chunk()?;
        return (!frame.is_outgoing).then_some(Read::Probe(u32::from_be_bytes(*number)));
    }
    let place = if frame.is_outgoing { Place::EgressIn } else { Place::EgressOut };
    let seen = Seen::read(frame, Nanos(frame.at_ns), place).ok()?;
    let payload = frame.bytes.get(seen.header_bytes as usize..).unwrap_or_default();
    let number = payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
    Some(Read::Ip(Captured { seen, number }))
}

fn probe(number: u32) -> [u8; PROBE_BYTES] {
    let mut frame = [0; PROBE_BYTES];
    // To everybody, from an address that nobody has.
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 0xff]);
    frame[12..14].copy_from_slice(&PROBE_TYPE);
    frame[14..18].copy_from_slice(&number.to_be_bytes());
    frame
}

/// What probes sent at `sent` were stamped with comes to.
pub fn resolution(sent: &[Nanos], stamped: &[(u32, Nanos)]) -> Option<Resolution> {
    let mut stamps = vec![None; sent.len()];
    for (number, at) in stamped {
        if let Some(stamp) = stamps.get_mut(*number as usize) {
            *stamp = Some(*at);
        }
    }
    let gap = |earlier: Nanos, later: Nanos| later.0 as i64 - earlier.0 as i64;
    let error = |(sent, stamps): (&[Nanos], &[Option<Nanos>])| {
        let seen = gap(stamps[0]?, stamps[1]?);
        Some(seen.abs_diff(gap(sent[0], sent[1])))
    };
    let mut errors: Vec<u64> = sent.windows(2).zip(stamps.windows(2)).filter_map(error).collect();
    errors.sort_unstable();
    let at =
        |q: f64| errors.get(((errors.len() as f64 * q) as usize).min(errors.len() - 1)).copied();
    (!errors.is_empty()).then(|| Resolution {
        n: errors.len() as u64,
        p50_ns: at(0.5).unwrap_or_default(),
        p99_ns: at(0.99).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every second stamp is 100 ns late, one 5 us; one probe is lost.
    #[test]
    fn the_resolution_worked_out_by_hand() {
        let sent: Vec<Nanos> = (0..200).map(|n| Nanos(1_000_000 + 50_000 * n)).collect();
        let stamp = |n: u32| {
            let late = if n == 150 { 5_000 } else { u64::from(n % 2) * 100 };
            Nanos(sent[n as usize].0 + 2_000 + late)
        };
        let stamped: Vec<_> = (0..200).filter(|n| *n != 7).map(|n| (n, stamp(n))).collect();
        let found = resolution(&sent, &stamped).expect("probes came");
        assert_eq!((found.n, found.p50_ns, found.p99_ns), (197, 100, 4_900));
        assert_eq!(resolution(&sent, &[]), None);
        assert_eq!(resolution(&[], &[(0, Nanos(1))]), None);
    }

    /// Every ms of a block has its place in the ring, by bytes and by blocks that are handed over before they
    /// are full.
    #[test]
    fn a_ring_holds_its_block() {
        for ms in [0, 300, 600, 2_300, 60_000] {
            let (bytes, retire_ms) = ring(Nanos::from_millis(ms));
            let blocks = (bytes / BLOCK_BYTES) as u64;
            assert!(blocks * u64::from(retire_ms) > ms + 500, "{ms}: {blocks} x {retire_ms} ms");
            assert!(bytes as u64 >= (ms + 500) * 16_000, "{ms}: {bytes}");
            assert!(retire_ms < 40, "{ms}: {retire_ms} ms are waited for twice");
        }
    }

    #[test]
    fn a_probe_is_read_as_one() {
        let bytes = probe(77);
        let frame = |is_outgoing| Frame {
            at_ns: 5,
            bytes: &bytes,
            len: 60,
            is_outgoing,
            vlan: None,
            segment_bytes: None,
        };
        assert!(matches!(read(&frame(false)), Some(Read::Probe(77))));
        assert!(read(&frame(true)).is_none());
    }
}
