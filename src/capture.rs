//! `wirepace capture`: asks for what was caught and writes it as pcapng. The gateway writes no file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use control::client::{self, ClientError};
use control::request::{CaptureWhat, Request};
use model::time::Nanos;
use rig::capture::{PcapngWriter, WriteError};
use serde_json::{Value, json};

use crate::cli::Capture;

/// So often the gateway is asked while little comes.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// With so many packets in an answer there are more.
const MANY: usize = 256;

/// Runs it.
pub fn main(args: &Capture) -> u8 {
    let dir = match crate::instance::find(&args.target) {
        Ok(dir) => dir,
        Err(code) => return code,
    };
    let filter = match args.filter.as_deref().map(crate::filter::compile).transpose() {
        Ok(filter) => filter,
        Err(error) => return crate::refused(error),
    };
    let what = CaptureWhat {
        filter,
        port: args.port.clone(),
        received: args.received,
        sent: args.sent,
        dropped: args.dropped,
        class: args.class.clone(),
        flow: args.flow.clone(),
        snaplen: Some(args.snaplen),
        count: Some(args.count),
    };
    let stop = match crate::interrupt::flag() {
        Ok(stop) => stop,
        Err(error) => return crate::failed(error),
    };
    match to_file(&dir.control_socket(), what, &args.out, args.duration, &stop) {
        Ok(told) if args.json => crate::print_json(&told),
        Ok(told) => out!(
            "{}: {} packets, {} more were wanted and not kept, {} passed unseen",
            args.out.display(),
            told["packets"],
            told["lost"],
            told["unseen"]
        ),
        Err(Failure::Client(error)) if error.is_bad_usage() => return crate::refused(error),
        Err(error) => return crate::failed(error),
    }
    crate::EXIT_DONE
}

/// Why there is no capture, or less of it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The gateway.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The file.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A packet.
    #[error("the gateway sent a packet that cannot be read")]
    Packet,
}

/// Captures for at most `duration`, or until `stop`, into `out`. Gives how many packets there are, how many more
/// were wanted, and how many nobody had the time to look at.
///
/// # Errors
/// The gateway refuses, a name that it does not know for instance, and `out` stays as it is; or the file cannot be
/// written.
pub fn to_file(
    socket: &Path,
    what: CaptureWhat,
    out: &Path,
    duration: Duration,
    stop: &AtomicBool,
) -> Result<Value, Failure> {
    // The gateway knows the ports; their order is that of the interfaces in the file.
    let status = client::request(socket, &Request::Status {})?;
    client::request(socket, &Request::CaptureStart { what })?;
    let deadline = Instant::now() + duration;
    let is_over = || stop.load(Ordering::Relaxed) || Instant::now() >= deadline;
    // Only now: what is refused must not cost what an earlier capture left there.
    let taken = File::create(out, &status).and_then(|mut file| take(socket, &mut file, is_over));
    if !taken.as_ref().is_ok_and(|taken| taken.done) {
        // The next capture need not wait until this one has not been read for long enough.
        let stopped = client::request(socket, &Request::CaptureStop {});
        if taken.is_ok() {
            stopped?;
        }
    }
    let Taken { packets, lost, unseen, .. } = taken?;
    Ok(json!({
        "out": out.display().to_string(),
        "packets": packets,
        "lost": lost,
        "unseen": unseen,
    }))
}

/// What came of a capture.
#[derive(Default)]
struct Taken {
    packets: u64,
    lost: u64,
    unseen: u64,
    /// The gateway has ended it: there are as many packets as were wanted.
    done: bool,
}

/// Empties the gateway's slots into `file` until there is all that was wanted or it `is_over`.
fn take(socket: &Path, file: &mut File, is_over: impl Fn() -> bool) -> Result<Taken, Failure> {
    let mut taken = Taken::default();
    loop {
        // Asked first: what was caught until then is in the answer.
        let is_last = is_over();
        let answer = client::request(socket, &Request::CaptureTake {})?;
        let caught = answer["packets"].as_array().map(Vec::as_slice).unwrap_or_default();
        for packet in caught {
            file.write(packet)?;
        }
        // Whatever ends this process now, the file is whole up to here.
        file.writer.flush()?;
        taken.packets += caught.len() as u64;
        taken.lost = answer["lost"].as_u64().unwrap_or(taken.lost);
        taken.unseen = answer["unseen"].as_u64().unwrap_or(taken.unseen);
        taken.done = answer["done"] == true;
        if taken.done || is_last {
            return Ok(taken);
        }
        if caught.len() < MANY {
            std::thread::sleep(ASK_EVERY);
        }
    }
}

struct File {
    writer: PcapngWriter<std::io::BufWriter<std::fs::File>>,
    /// Interfaces by port and direction.
    interfaces: BTreeMap<(String, String), u32>,
}

impl File {
    /// With an interface for what each port receives, sends, and never gets.
    fn create(path: &Path, status: &Value) -> Result<Self, Failure> {
        let mut writer = PcapngWriter::create(path)?;
        let mut interfaces = BTreeMap::new();
        let ports = status["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        for port in ports.iter().filter_map(|port| port["name"].as_str()) {
            for direction in ["in", "out", "dropped"] {
                let interface = writer.add_interface(&format!("{port}:{direction}"))?;
                interfaces.insert((port.to_owned(), direction.to_owned()), interface);
            }
        }
        Ok(Self { writer, interfaces })
    }

    fn write(&mut self, packet: &Value) -> Result<(), Failure> {
        let text = |key: &str| packet[key].as_str().ok_or(Failure::Packet);
        let key = (text("port")?.to_owned(), text("direction")?.to_owned());
        let interface = *self.interfaces.get(&key).ok_or(Failure::Packet)?;
        let at = Nanos(packet["at_ns"].as_u64().ok_or(Failure::Packet)?);
        let len = packet["len"].as_u64().and_then(|len| u32::try_from(len).ok());
        let len = len.ok_or(Failure::Packet)?;
        let bytes = bytes(text("bytes")?).ok_or(Failure::Packet)?;
        match comment(packet) {
            Some(comment) => {
                self.writer.write_packet_with_comment(interface, at, &[&bytes], len, &comment)?;
            }
            None => self.writer.write_packet(interface, at, &[&bytes], len)?,
        }
        Ok(())
    }
}

/// "dropped: halted; class orders".
fn comment(packet: &Value) -> Option<String> {
    let reason = packet["reason"].as_str().map(|reason| format!("dropped: {reason}"));
    let class = packet["class"].as_str().map(|class| format!("class {class}"));
    let said: Vec<_> = reason.into_iter().chain(class).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// What two digits a byte say.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|n| n as u8);
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_says_why_and_a_frame_without_a_class_says_nothing() {
        let said = |packet: Value| comment(&packet);
        let dropped = json!({"reason": "halted", "class": "orders"});
        assert_eq!(said(dropped).as_deref(), Some("dropped: halted; class orders"));
        assert_eq!(said(json!({"reason": null, "class": "a"})).as_deref(), Some("class a"));
        assert_eq!(said(json!({"reason": null, "class": null})), None);
    }

    #[test]
    fn two_digits_are_a_byte() {
        assert_eq!(bytes("00ff1a"), Some(vec![0, 255, 26]));
        assert_eq!((bytes("0"), bytes("0g"), bytes("")), (None, None, Some(vec![])));
    }
}
