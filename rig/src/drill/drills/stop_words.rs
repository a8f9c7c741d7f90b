//! Halt and passthrough under load, written while the control thread is stopped.

use std::collections::BTreeSet;

use model::stop::{StopWord, StopWords};
use model::time::Nanos;

use crate::drill::model::destination_port;
use crate::drill::outlet::Span;
use crate::drill::peer::Peer;
use crate::drill::traffic::{PORT_FIRST, Plan, Receiver, Sender, Way, datagram};
use crate::drill::wire::Wire;
use crate::drill::{Drill, Expectation, Figure, Is, Mark, START, Scene, TWIN, Watch, ms};
use crate::generate::{PacketPath, Segment, host_mac, tcp};

const SCOPE: &str = "class:orders";
const END: Nanos = ms(7_000);
/// Control does not run.
const STOPPED: Span = (ms(1_500), ms(6_000));
const HALTED: Span = (ms(2_000), ms(3_000));
const PASSTHROUGH: Span = (ms(4_000), ms(5_000));
/// Four flows of orders, twice what their cap lets go, and one of cancels.
const FLOWS: u16 = 4;
const EVERY: Nanos = Nanos::from_millis(1);
/// `max_hold` of orders, and a slot of the wheel.
const AGE_MAX_US: f64 = 10_000.0 + 2.0;
/// The TCP connection that carries cancels only.
const SESSION: u16 = 9_003;
const CANCEL_BYTES: u32 = 32;

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "stop-words",
    playbook: "safety",
    injects: "halt and passthrough under load, written while the control thread is stopped",
    must_show: "no order leaves after the halt, not even of the same moment, and every order that waits is \
        gone at the moment of passthrough; no cancel waits or is lost, by UDP or by a TCP connection \
        that carries cancels only; nothing that leaves afterwards is older than max_hold",
    config: include_str!("../../../../configs/drills/stop-words.toml"),
    usual: &[],
    watches: &[Watch { name: "completion ratio", scope: SCOPE, input: "completion_ratio.ratio" }],
    arms: &["words"],
    scene,
    expect,
    expect_of_twin,
};

/// Sends a plan, and cancels on a connection.
struct Desk {
    plan: Sender,
    next: Nanos,
    sequence: u32,
}

impl Peer for Desk {
    fn next_event(&self) -> Option<Nanos> {
        let own = (self.next < END).then_some(self.next);
        own.into_iter().chain(self.plan.next_event()).min()
    }

    fn act(&mut self, now: Nanos, to_gateway: &Wire) {
        self.plan.act(now, to_gateway);
        while self.next <= now && self.next < END {
            let path = PacketPath {
                src_mac: host_mac(1),
                dst_mac: host_mac(2),
                vlan: None,
                src: [10, 1, 0, 99],
                dst: [10, 9, 0, 1],
                dscp: 0,
                ttl: 64,
            };
            let (seq, ack, flags, window) = (self.sequence, 1, 0x18, 0xffff);
            let segment = Segment { seq, ack, flags, window };
            let payload = [0; CANCEL_BYTES as usize];
            to_gateway.send(self.next, tcp(&path, 0, (40_000, SESSION), segment, &[], &payload));
            self.sequence += CANCEL_BYTES;
            self.next = self.next.saturating_add(EVERY);
        }
    }
}

/// What a venue sees of orders and cancels.
#[derive(Default)]
struct Venue {
    cancels: Receiver,
    segments: BTreeSet<u32>,
    in_halt: u32,
    after_halt: u32,
    oldest_us: f64,
    oldest_passing_us: f64,
    cancel_wait_us: f64,
    session_wait_us: f64,
}

impl Venue {
    fn order(&mut self, at: Nanos, sent: Nanos) {
        let age_us = at.saturating_sub(sent).0 as f64 / 1e3;
        self.in_halt += u32::from(HALTED.0 <= at && at < HALTED.1);
        self.after_halt += u32::from(at >= HALTED.1);
        self.oldest_us = self.oldest_us.max(age_us);
        // All that waited left in the first turn.
        if PASSTHROUGH.0 < at && at < PASSTHROUGH.1 {
            self.oldest_passing_us = self.oldest_passing_us.max(age_us);
        }
    }
}

/// When the `number`-th frame of a flow was sent.
fn sent_at(flow: u16, number: u64) -> Nanos {
    let from = START.saturating_add(Nanos::from_micros(200 * u64::from(flow)));
    from.saturating_add(Nanos(EVERY.0 * number))
}

impl Peer for Venue {
    fn next_event(&self) -> Option<Nanos> {
        None
    }

    fn act(&mut self, _: Nanos, _: &Wire) {}

    fn receive(&mut self, at: Nanos, frame: &[u8]) {
        if destination_port(frame) == Some(SESSION) {
            let seq =
                frame.get(38..42).and_then(|b| b.first_chunk()).map(|b| u32::from_be_bytes(*b));
            let Some(seq) = seq else { return };
            self.segments.insert(seq);
            let sent = START.saturating_add(Nanos(EVERY.0 * u64::from(seq / CANCEL_BYTES)));
            let wait_us = at.saturating_sub(sent).0 as f64 / 1e3;
            self.session_wait_us = self.session_wait_us.max(wait_us);
            return;
        }
        let Some((port, number)) = datagram(frame) else { return };
        let flow = port - PORT_FIRST;
        let sent = sent_at(flow, number);
        if flow < FLOWS {
            return self.order(at, sent);
        }
        self.cancel_wait_us = self.cancel_wait_us.max(at.saturating_sub(sent).0 as f64 / 1e3);
        self.cancels.receive(at, frame);
    }

    fn facts(&self) -> Vec<(&'static str, f64)> {
        let sent = END.saturating_sub(START).0 / EVERY.0;
        let mut facts = self.cancels.facts();
        facts.extend([
            ("orders_in_halt", f64::from(self.in_halt)),
            ("orders_after_halt", f64::from(self.after_halt)),
            ("oldest_order_us", self.oldest_us),
            ("oldest_order_in_passthrough_us", self.oldest_passing_us),
            ("cancel_wait_us", self.cancel_wait_us),
            ("session_wait_us", self.session_wait_us),
            ("session_missing", sent.abs_diff(self.segments.len() as u64) as f64),
        ]);
        facts
    }
}

fn scene(arm: &'static str, _: u64) -> Scene {
    let plan = (0..=FLOWS)
        .fold(Plan::new(0), |plan, flow| plan.steady((sent_at(flow, 0), END), EVERY, flow, 120));
    let word = |all| StopWords { all, ..StopWords::default() };
    let words = match arm {
        TWIN => Vec::new(),
        _ => vec![
            (HALTED.0, word(StopWord::Halt)),
            (HALTED.1, word(StopWord::Running)),
            (PASSTHROUGH.0, word(StopWord::Passthrough)),
            (PASSTHROUGH.1, word(StopWord::Running)),
        ],
    };
    let mark = |what: &str, (from, to): Span| Mark { what: what.to_owned(), from, to };
    let mut marks = vec![mark("control stopped", STOPPED)];
    if arm != TWIN {
        marks.extend([mark("halt", HALTED), mark("passthrough", PASSTHROUGH)]);
    }
    Scene {
        marks,
        inside: Box::new(Desk { plan: Sender::new(Way::ToVenue, plan), next: START, sequence: 0 }),
        venue: Box::new(Venue::default()),
        words,
        control_stopped: vec![STOPPED],
        ..Scene::until(END)
    }
}

/// With words or without: cancels leave at once, and control does not run.
fn of_both(arm: &'static str) -> Vec<Expectation> {
    let figure = |figure, is| Expectation::Figure { arm, figure, is };
    let fact = |name, is| figure(Figure::Fact(name), is);
    // Ticks stand from the moment on at which control runs again.
    let seen_by_control = Figure::Highest("completion ratio", ms(1_600), ms(5_900));
    vec![
        figure(seen_by_control, Is::Absent),
        fact("received_missing", Is::Exactly(0.0)),
        fact("received_out_of_order", Is::Exactly(0.0)),
        fact("session_missing", Is::Exactly(0.0)),
        fact("cancel_wait_us", Is::Exactly(0.0)),
        fact("session_wait_us", Is::Exactly(0.0)),
        fact("oldest_order_us", Is::AtMost(AGE_MAX_US)),
        fact("orders_after_halt", Is::AtLeast(1_000.0)),
    ]
}

fn expect() -> Vec<Expectation> {
    let arm = "words";
    let fact = |name, is| Expectation::Figure { arm, figure: Figure::Fact(name), is };
    let mut all = vec![
        fact("orders_in_halt", Is::Exactly(0.0)),
        fact("oldest_order_in_passthrough_us", Is::Exactly(0.0)),
    ];
    all.extend(of_both(arm));
    all
}

fn expect_of_twin() -> Vec<Expectation> {
    let fact = |name, is| Expectation::Figure { arm: TWIN, figure: Figure::Fact(name), is };
    let mut all = vec![
        fact("orders_in_halt", Is::AtLeast(1_000.0)),
        fact("oldest_order_in_passthrough_us", Is::AtLeast(1_000.0)),
        fact("dropped", Is::Exactly(0.0)),
    ];
    all.extend(of_both(TWIN));
    all
}
