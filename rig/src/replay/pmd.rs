//! A capture through DPDK's net_pcap.
//!
//! net_pcap gives packets as fast as it is asked, so it stands one burst ahead of virtual time. It
//! has buffers of its own for that burst: what it reads ahead takes none from the gateway, and a
//! frame ends for want of a buffer exactly when it would have ended with our reader.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dataplane::batch::Batch;
use dataplane::eal::Eal;
use dataplane::locks::LockDir;
use dataplane::pool::Pool;
use dataplane::port::Rx;
use dataplane::port::device::DeviceSpec;
use dataplane::port::dpdk::{LaunchTime, RxQueue};
use dataplane::port::privileges::Privileges;
use dataplane::port::spec::PortSpec;
use dataplane::port::thread::PortThread;
use model::time::Nanos;

use super::ReplayError;
use crate::capture::{CaptureError, to_plain_pcap};

/// Frames read ahead.
const BURST: u16 = 32;
/// The longest frame, bytes: net_pcap of DPDK 22.11 keeps 16 bits of a length and cuts the rest off.
const FRAME_BYTES_MAX: u16 = u16::MAX;
/// Data room of the buffers for them, bytes, head-room included: a frame takes two at most.
const DATA_ROOM_BYTES: u16 = u16::MAX;
/// Two bursts of the longest frames.
const MBUFS: u32 = 2 * 2 * BURST as u32 - 1;
/// How long the port thread may take to close the port.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// The port thread, and a capture that net_pcap can read. Made before DPDK is started.
pub struct Pmd {
    ports: PortThread,
    plain: PathBuf,
    records: u64,
    /// The capture ended too early.
    truncated: Option<CaptureError>,
    /// Removed when the port is closed.
    _directory: tempfile::TempDir,
}

impl Pmd {
    /// Converts `input` into a directory of its own and starts the port thread.
    ///
    /// # Errors
    /// A capture that is damaged beyond a missing end or has too long a frame, no room for the
    /// copy, no thread.
    pub fn prepare(input: &Path) -> Result<Self, ReplayError> {
        let directory = tempfile::tempdir().map_err(ReplayError::Temporary)?;
        let plain = directory.path().join("input.pcap");
        let converted = to_plain_pcap(input, &plain)?;
        if converted.longest > u32::from(FRAME_BYTES_MAX) {
            return Err(ReplayError::TooLongForPmd {
                path: input.to_owned(),
                longest: converted.longest,
                allowed: FRAME_BYTES_MAX,
            });
        }
        let ports = PortThread::spawn(LockDir::of_this_user()?, "replay", Privileges::none())
            .map_err(ReplayError::PortThread)?;
        Ok(Self {
            ports,
            plain,
            records: converted.records,
            truncated: converted.truncated,
            _directory: directory,
        })
    }

    /// Opens the port `name`: its frames, and the pool of its buffers.
    ///
    /// # Errors
    /// No memory for the pool, or what DPDK says of the port.
    pub fn open(&self, eal: &Arc<Eal>, name: &str) -> Result<(PmdFrames, Pool), ReplayError> {
        let pool = Pool::create(eal, "ahead", MBUFS, DATA_ROOM_BYTES, 0)?;
        let spec = PortSpec {
            name: name.to_owned(),
            device: DeviceSpec::parse(&format!("net_pcap0,rx_pcap={}", self.plain.display()))?,
            frame_bytes_max: FRAME_BYTES_MAX,
            rx_burst: BURST,
            rx_descriptors: BURST,
            tx_descriptors: BURST,
            launch_time: LaunchTime::Off,
            timesync: false,
            cuts_frames: false,
        };
        let (_, rx, _) = self.ports.open(spec, &pool)?;
        let frames = PmdFrames { rx, ahead: Batch::new(), unread: self.records, lost: 0 };
        Ok((frames, pool))
    }

    /// Closes the port, whose frames must be gone. The error that ended the capture early, if one
    /// did.
    ///
    /// # Errors
    /// A port that does not close in time.
    pub fn close(self) -> Result<Option<CaptureError>, ReplayError> {
        self.ports.shutdown(CLOSE_WAIT)?;
        Ok(self.truncated)
    }
}

/// The frames of an open net_pcap port.
pub struct PmdFrames {
    rx: RxQueue,
    ahead: Batch,
    /// Records of the file that the driver has neither handed out nor lost.
    unread: u64,
    lost: u64,
}

impl PmdFrames {
    /// Puts the next frame into `bytes` and answers when it was captured; `None` at the end. The
    /// driver's microseconds become nanoseconds here.
    pub fn next(&mut self, bytes: &mut Vec<u8>) -> Option<Nanos> {
        while self.ahead.is_empty() && self.unread > 0 {
            let read = self.rx.rx_burst(Nanos::ZERO, &mut self.ahead) as u64;
            // A call that gives nothing has lost the record that it tried (DPDK 22.11: no buffer).
            self.lost += u64::from(read == 0);
            self.unread = self.unread.saturating_sub(read.max(1));
        }
        let packet = self.ahead.take_front(1).next()?;
        packet.segments().for_each(|segment| bytes.extend_from_slice(segment));
        Some(Nanos(packet.rx_stamp().unwrap_or(0).saturating_mul(1_000)))
    }

    /// Records that the driver did not hand out.
    pub fn lost(&self) -> u64 {
        self.lost + self.unread
    }
}
