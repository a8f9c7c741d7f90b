//! What the wire shows: tcpdump on a host, stamped by the kernel as frames arrive.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rig::capture::CaptureReader;
use rustix::process::{Pid, Signal, kill_process};

use crate::gateway::wait_for;
use crate::net::Host;
use crate::sandbox::work_dir;

/// A capture that has not grown for so long has it all.
const QUIET: Duration = Duration::from_millis(500);

/// A running capture; ended when dropped.
pub struct Capture {
    tcpdump: Child,
    file: PathBuf,
}

/// A captured frame.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When, ns.
    pub t_ns: u64,
    /// Bytes that it occupied on the wire: with padding, FCS, preamble and gap.
    pub wire_bytes: u64,
}

impl Capture {
    /// Captures what fits `filter` and arrives at `on`, from now on.
    pub fn start(on: Host, filter: &str) -> Self {
        let file = work_dir().join("wire.pcap");
        let log = work_dir().join("tcpdump.log");
        let stderr = std::fs::File::create(&log).expect("the directory is ours");
        let tcpdump = Command::new("ip")
            .args(["netns", "exec", on.namespace(), "tcpdump", "-i", "host", "-Q", "in", "-n"])
            // As root, or it could not write here; -U, so that nothing is lost in a buffer.
            .args([
                "-Z",
                "root",
                "-s",
                "96",
                "-B",
                "32768",
                "--time-stamp-precision=nano",
                "-U",
                "--immediate-mode",
            ])
            .arg("-w")
            .args([file.as_path()])
            .arg(filter)
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("ip is there");
        wait_for("tcpdump", || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            said.contains("listening on").then_some(())
        });
        Self { tcpdump, file }
    }

    /// Ends it. Gives what arrived.
    pub fn end(mut self) -> Vec<Seen> {
        // It drops what it has not read yet.
        let written = || std::fs::metadata(&self.file).map(|file| file.len()).ok();
        let mut before = None;
        wait_for("the end of the capture", || {
            let quiet = before == Some(written());
            before = Some(written());
            std::thread::sleep(QUIET);
            quiet.then_some(())
        });
        kill_process(Pid::from_child(&self.tcpdump), Signal::TERM).expect("it runs");
        let status = self.tcpdump.wait().expect("it is our child");
        assert!(status.success(), "tcpdump: {status}");
        let mut reader = CaptureReader::open(&self.file).expect("tcpdump wrote it");
        let mut seen = Vec::new();
        while let Some(record) = reader.next().expect("and ended it") {
            let wire_bytes = u64::from(record.orig_len.max(60)) + 24;
            seen.push(Seen { t_ns: record.t.0, wire_bytes });
        }
        seen
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Gone already, or it ends now.
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

/// From the first to the last, s.
pub fn span_s(seen: &[Seen]) -> f64 {
    let [first, .., last] = seen else { return 0.0 };
    (last.t_ns - first.t_ns) as f64 / 1e9
}

/// The least time that a rate with a burst leaves between the first and the last, s.
pub fn paced_span_s(seen: &[Seen], rate_bps: f64, burst_bytes: u64) -> f64 {
    let bytes: u64 = seen.iter().map(|frame| frame.wire_bytes).sum();
    bytes.saturating_sub(burst_bytes) as f64 * 8.0 / rate_bps
}

/// The most frames in any `window_ns`.
pub fn densest(seen: &[Seen], window_ns: u64) -> usize {
    let mut from = 0;
    let mut most = 0;
    for to in 0..seen.len() {
        while seen[to].t_ns - seen[from].t_ns >= window_ns {
            from += 1;
        }
        most = most.max(to + 1 - from);
    }
    most
}
