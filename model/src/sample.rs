//! The row that is kept of a packet: one type for live samples, replay and timelines.
//!
//! It carries every field of the timeline schema (docs/timeline.md), intent fields included, so that a
//! later source fills a field instead of widening the row. What is not known is `None`, never 0.
//! Two columns of a timeline, `host` and `env_digest`, are the same in every row of a process: who
//! writes rows to a file adds them.

use crate::drop_reason::DropReason;
use crate::kind::{Kind, Side};
use crate::meta::{IntentSource, StampSource};
use crate::time::Nanos;

/// How a packet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Accepted by the egress port.
    Sent(Release),
    /// Ended under a named reason.
    Dropped(DropReason),
}

/// Why a packet was released when it was. Only `Governed` releases are bound by the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Release {
    /// Every level conformed.
    Governed = 0,
    /// An exempt kind.
    Exempt = 1,
    /// Ahead of an exempt packet in its own group.
    Forward = 2,
    /// Held for `max_hold`.
    MaxHold = 3,
    /// The scope's stop word says passthrough.
    Passthrough = 4,
    /// Shutdown.
    Drain = 5,
    /// Late, in a class whose lateness policy is to send now.
    Late = 6,
}

impl Release {
    /// Every way to be released.
    pub const ALL: [Self; 7] = [
        Self::Governed,
        Self::Exempt,
        Self::Forward,
        Self::MaxHold,
        Self::Passthrough,
        Self::Drain,
        Self::Late,
    ];

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Governed => "governed",
            Self::Exempt => "exempt",
            Self::Forward => "forward",
            Self::MaxHold => "max_hold",
            Self::Passthrough => "passthrough",
            Self::Drain => "drain",
            Self::Late => "late",
        }
    }
}

/// How the departure time was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum DepartureSource {
    /// TSC after the accepting burst call.
    #[default]
    Tsc = 0,
    /// The NIC's TX stamp.
    Nic = 1,
    /// The modelled serializer on top of the acceptance time.
    Modelled = 2,
    /// The virtual clock.
    Virtual = 3,
    /// The kernel's stamp in front of the driver.
    Kernel = 4,
}

impl DepartureSource {
    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tsc => "tsc",
            Self::Nic => "nic",
            Self::Modelled => "modelled",
            Self::Virtual => "virtual",
            Self::Kernel => "kernel",
        }
    }
}

/// The mode of the control loop when the packet was handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// KPIs only.
    #[default]
    Observe = 0,
    /// Decide and log.
    Shadow = 1,
    /// A share of the groups is governed.
    Canary = 2,
    /// All allowed classes are governed.
    Active = 3,
}

impl Mode {
    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Active => "active",
        }
    }
}

/// What a row says of the TCP segment that the packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSeen {
    /// Key of the connection, the same in both directions.
    pub connection: u64,
    /// Next sequence number that its sender waits for; `None` without the ACK flag.
    pub ack: Option<u32>,
    /// Payload bytes.
    pub payload_bytes: u16,
}

/// One row. Times are gateway time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Sequence number of the packet on its core.
    pub packet_id: u64,
    /// The sender's id of the child order.
    pub correlation_id: Option<u64>,
    /// Flow (ordering group) on its core.
    pub flow: u32,
    /// TCP sequence number after the last payload byte.
    pub tcp_end_seq: Option<u32>,
    /// What else is known of the TCP segment.
    pub tcp: Option<TcpSeen>,
    /// Index of the class in the config.
    pub class: u8,
    /// Index of the label in the label table.
    pub label: u16,
    /// Declared or tagged kind.
    pub kind: Kind,
    /// 0 to 255.
    pub urgency: u8,
    /// Frame bytes.
    pub len: u16,
    /// Order-entry messages in it.
    pub messages: u16,
    /// The strategy decided.
    pub t_decision: Option<Nanos>,
    /// The strategy handed over: intent, else arrival.
    pub t_dispatch: Nanos,
    /// The sender's wish.
    pub t_due: Nanos,
    /// The pacer's deadline under the caps in force.
    pub t_sched: Option<Nanos>,
    /// The same under the operator-confirmed caps, without jitter and windows.
    pub t_normal: Option<Nanos>,
    /// First ns at which every level conformed, given every earlier departure.
    pub t_eligible: Option<Nanos>,
    /// Acceptance by the egress port.
    pub t_tx: Option<Nanos>,
    /// Departure: stamped or modelled.
    pub t_wire: Option<Nanos>,
    /// Arrival at the gateway.
    pub t_ingress: Nanos,
    /// The stamp that the packet itself carried, in its own clock, where that clock is not ours.
    pub t_carried: Option<u64>,
    /// Delivery to the receiving side, for packets from the venue.
    pub t_delivery: Option<Nanos>,
    /// Uncertainty of times that come from another host, ns.
    pub clock_error_ns: Option<u32>,
    /// Where `t_due` comes from.
    pub intent: IntentSource,
    /// Where `t_ingress` comes from.
    pub ingress_source: StampSource,
    /// Where `t_wire` comes from.
    pub departure_source: DepartureSource,
    /// The in-flight figures of the port come from a link model.
    pub simulated_link: bool,
    /// Side it came from.
    pub from: Side,
    /// Index of the egress port in the config.
    pub port: u8,
    /// TX queue.
    pub queue: u16,
    /// Wire bytes of its class that were waiting when it arrived.
    pub backlog_bytes: u64,
    /// How it ended.
    pub end: End,
    /// Highest severity of a regime state in force over its class, its TX queue or its feed: control
    /// writes it; `None` = no machine decides there.
    pub regime: Option<u8>,
    /// Index of the profile in force.
    pub profile: u16,
    /// Mode of the control loop: control writes it.
    pub mode: Mode,
    /// Governed or not, where a trial governs by groups or by turns: control writes it.
    pub canary: Option<bool>,
    /// How many packets the row stands for.
    pub weight: u32,
}
