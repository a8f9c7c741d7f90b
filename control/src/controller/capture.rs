//! `wirepace capture`: a tap on every core, read as long as somebody asks.

use dataplane::bpf::{Instruction, Program};
use dataplane::tap::{Caught, Slot, TapReader, TapSpec, tap};
use model::frame::FlowKey;
use model::time::Nanos;
use serde_json::{Value, json};

use super::{Controller, Kpis};
use crate::request::{CaptureWhat, bad_usage, refusal};

/// Slots between a core and control.
const SLOTS: usize = 4_096;
/// Longest that is kept of a packet.
const SNAPLEN_MAX: u16 = 9_216;
/// Most packets of one capture.
const PACKETS_MAX: u64 = 1_000_000;
/// Packets of one answer.
const PACKETS_PER_ANSWER: usize = 512;
/// A capture that nobody has read for so long ends.
const UNREAD_MAX: Nanos = Nanos::from_secs(5);

/// A capture under way.
pub(super) struct Capture {
    readers: Vec<TapReader>,
    left: u64,
    last_read: Nanos,
}

impl<K: Kpis> Controller<K> {
    /// Lends every core a tap.
    pub(super) fn start_capture(&mut self, what: &CaptureWhat, now: Nanos) -> Value {
        let spec = match self.tap_spec(what) {
            Ok(spec) => spec,
            Err(reply) => return reply,
        };
        if self.capture.is_some() {
            return refusal("another capture is under way; one at a time");
        }
        let mut readers = Vec::new();
        for core in self.cores.iter_mut().filter(|core| core.obeys()) {
            // The one of the capture before may have come home since the last tick.
            drop(core.link.take_tap());
            let (tap, reader) = tap(spec.clone(), SLOTS);
            if core.link.lend_tap(Box::new(tap)).is_err() {
                // It has the one of a capture that has just ended, or does not poll.
                readers.clear();
                break;
            }
            readers.push(reader);
        }
        self.capture = Some(Capture { left: spec.count, readers, last_read: now });
        if self.capture.as_ref().is_some_and(|capture| capture.readers.is_empty()) {
            self.end_capture();
            return refusal("a core does not take a tap now; ask again");
        }
        json!({ "ok": true, "count": spec.count, "snaplen": spec.snaplen })
    }

    fn tap_spec(&self, what: &CaptureWhat) -> Result<TapSpec, Value> {
        let ports = &self.settings.ports;
        let port = |name: &String| {
            let at = ports.iter().position(|(port, _)| port == name);
            let known: Vec<_> = ports.iter().map(|(port, _)| port.as_str()).collect();
            at.and_then(|at| u8::try_from(at).ok()).ok_or_else(|| {
                bad_usage(format!("no port {name:?}; there are: {}", known.join(", ")))
            })
        };
        let flow = |text: &String| text.parse::<FlowKey>().map_err(|e| bad_usage(e.to_string()));
        let filter = |code: &Vec<(u16, u8, u8, u32)>| {
            let code: Vec<_> = code.iter().map(|i| Instruction(i.0, i.1, i.2, i.3)).collect();
            Program::new(&code).map_err(|e| bad_usage(e.to_string()))
        };
        let any = !(what.received || what.sent || what.dropped);
        Ok(TapSpec {
            port: what.port.as_ref().map(port).transpose()?,
            received: what.received || any,
            sent: what.sent || any,
            dropped: what.dropped || any,
            class: what.class.as_ref().map(|name| self.class_index(name)).transpose()?,
            flow: what.flow.as_ref().map(flow).transpose()?,
            filter: what.filter.as_ref().map(filter).transpose()?,
            snaplen: what.snaplen.unwrap_or(256).clamp(14, SNAPLEN_MAX),
            count: what.count.unwrap_or(1_000).clamp(1, PACKETS_MAX),
        })
    }

    /// What has been caught since the last time.
    pub(super) fn take_captured(&mut self, now: Nanos) -> Value {
        let Some(capture) = &mut self.capture else {
            return refusal("no capture is under way");
        };
        capture.last_read = now;
        let mut packets = Vec::new();
        for reader in &capture.readers {
            while capture.left > 0 && packets.len() < PACKETS_PER_ANSWER {
                let Some(slot) = reader.take() else { break };
                packets.push(packet_json(&slot, &self.settings.ports, &self.settings.classes));
                reader.give(slot);
                capture.left -= 1;
            }
        }
        let sum = |of: fn(&TapReader) -> u64| -> u64 { capture.readers.iter().map(of).sum() };
        let (lost, unseen) = (sum(TapReader::lost), sum(TapReader::unseen));
        let done = capture.left == 0;
        if done {
            self.end_capture();
        }
        json!({ "packets": packets, "lost": lost, "unseen": unseen, "done": done })
    }

    /// Calls the taps home.
    pub(super) fn stop_capture(&mut self) -> Value {
        if self.capture.is_none() {
            return bad_usage("no capture is under way");
        }
        self.end_capture();
        json!({ "ok": true })
    }

    /// Ends what nobody reads any more.
    pub(super) fn look_at_capture(&mut self, now: Nanos) {
        let unread = |capture: &Capture| now >= capture.last_read.saturating_add(UNREAD_MAX);
        if self.capture.as_ref().is_some_and(unread) {
            tracing::warn!("a capture that nobody reads is ended");
            self.end_capture();
        }
        for core in &mut self.cores {
            // Its memory goes here, not on the core.
            drop(core.link.take_tap());
        }
    }

    pub(super) fn end_capture(&mut self) {
        if self.capture.take().is_none() {
            return;
        }
        for core in self.cores.iter_mut().filter(|core| core.obeys()) {
            if core.link.end_tap().is_err() {
                tracing::warn!("a core keeps its tap: it takes no commands");
            }
        }
    }
}

fn packet_json(slot: &Slot, ports: &[(String, &'static str)], classes: &[String]) -> Value {
    let (direction, reason) = match slot.caught {
        Caught::In => ("in", None),
        Caught::Out => ("out", None),
        Caught::Dropped(reason) => ("dropped", Some(reason.name())),
    };
    json!({
        "at_ns": slot.at.0,
        "port": ports.get(usize::from(slot.port)).map(|(name, _)| name),
        "direction": direction,
        "reason": reason,
        "class": slot.class.and_then(|class| classes.get(usize::from(class))),
        "len": slot.len,
        "bytes": hex(slot.bytes()),
    })
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
