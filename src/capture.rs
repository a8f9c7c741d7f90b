//! `wirepace capture`: asks for what was caught and writes it as pcapng. The gateway writes no file.

use std::collections::BTreeMap;
use std::path::Path;
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
    match to_file(&dir.control_socket(), what, &args.out, args.duration) {
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

/// Captures for at most `duration` into `out`. Gives how many packets there are, how many more were wanted, and
/// how many nobody had the time to look at.
///
/// # Errors
/// The gateway refuses, a name that it does not know for instance, or the file cannot be written.
pub fn to_file(
    socket: &Path,
    what: CaptureWhat,
    out: &Path,
    duration: Duration,
) -> Result<Value, Failure> {
    // The gateway knows the ports; their order is that of the interfaces in the file.
    let status = client::request(socket, &Request::Status {})?;
    let mut file = File::create(out, &status)?;
    client::request(socket, &Request::CaptureStart { what })?;
    let deadline = Instant::now() + duration;
    let (mut packets, mut lost, mut unseen) = (0_u64, 0, 0);
    loop {
        let answer = client::request(socket, &Request::CaptureTake {})?;
        let caught = answer["packets"].as_array().map(Vec::as_slice).unwrap_or_default();
        for packet in caught {
            file.write(packet)?;
            packets += 1;
        }
        lost = answer["lost"].as_u64().unwrap_or(lost);
        unseen = answer["unseen"].as_u64().unwrap_or(unseen);
        if answer["done"] == true {
            break;
        }
        if Instant::now() >= deadline {
            client::request(socket, &Request::CaptureStop {})?;
            break;
        }
        if caught.len() < MANY {
            std::thread::sleep(ASK_EVERY);
        }
    }
    file.writer.finish()?;
    Ok(json!({
        "out": out.display().to_string(),
        "packets": packets,
        "lost": lost,
        "unseen": unseen,
    }))
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
