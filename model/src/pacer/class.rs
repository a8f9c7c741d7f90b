//! The middle node of the tree: a class with its flows.

use super::floor;
use super::gcra::{Level, LevelParams};
use super::halt::HaltRule;
use super::list::List;
use super::turns::PRIORITIES;
use super::window::Window;
use crate::meta::PacketMeta;
use crate::profile::{Caps, ClassParams, Lateness, Shaping};
use crate::time::Nanos;

/// What a class uses beside its caps, one bit for each: a class that uses nothing pays one test.
pub(super) mod marks {
    /// A reserved bucket.
    pub const RESERVED: u8 = 1;
    /// A floor for its flows.
    pub const FLOOR: u8 = 1 << 1;
    /// A release window.
    pub const WINDOW: u8 = 1 << 2;
    /// A cap for each flush.
    pub const FAN_OUT: u8 = 1 << 3;
    /// Jitter.
    pub const JITTER: u8 = 1 << 4;
    /// A horizon.
    pub const HORIZON: u8 = 1 << 5;
    /// What is late does not leave as if it were not.
    pub const LATENESS: u8 = 1 << 6;
    /// New packets end.
    pub const CLOSED: u8 = 1 << 7;
    /// What passes strict priority.
    pub const CLAIMS: u8 = RESERVED | FLOOR;
    /// What an arrival must ask for.
    pub const AT_ENTRY: u8 = WINDOW | JITTER | HORIZON;
    /// What a governed release must ask for, floors aside.
    pub const AT_RELEASE: u8 = RESERVED | WINDOW | FAN_OUT | LATENESS;
    /// What keeps a packet from the short way.
    pub const QUEUES: u8 = WINDOW | FAN_OUT | JITTER | CLOSED;
}

/// What a class holds, and how much it may hold.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backlog {
    pub packets: u32,
    packets_max: u32,
    /// Wire bytes.
    pub bytes: u64,
    bytes_max: u64,
}

impl Backlog {
    /// Whether the budget has room for one more packet.
    #[inline]
    pub const fn has_room(&self, wire_len: u32) -> bool {
        self.packets < self.packets_max && self.bytes + wire_len as u64 <= self.bytes_max
    }
}

/// What every packet touches stands first, in whole cache lines.
#[repr(C, align(64))]
pub(super) struct ClassNode {
    pub level: Level,
    pub backlog: Backlog,
    /// [`marks`].
    pub marks: u8,
    pub on_wheel: bool,
    /// `sched` is written and may differ from `level`; else the two are one.
    pub is_apart: bool,
    priority: u8,
    /// Flows in `ready`.
    pub ready_flows: u32,
    pub class_params: LevelParams,
    pub flow_params: LevelParams,
    /// No packet that is queued came before.
    pub oldest: Nanos,
    pub ready: List,
    /// Deficit round robin: wire bytes it may still send in its turn.
    pub deficit: u32,
    /// Since when it waits to be served.
    pub waits_since: Nanos,
    /// Charged at arrival, for `t_sched`; see `is_apart`.
    pub sched: Level,
    pub params: ClassParams,
    pub halt: HaltRule,
    pub reserved_params: LevelParams,
    pub reserved: Level,
    pub floor_on_wheel: bool,
    /// Governed packets since the last commit, where a flush is capped.
    pub flushed: u16,
    pub window: Box<Window>,
    /// Flows whose head came in the window that is closed.
    pub gated: List,
}

const _: () = assert!(std::mem::offset_of!(ClassNode, oldest) == 64 * super::CLASS_LINES);

impl ClassNode {
    pub fn new(params: ClassParams, halt: HaltRule) -> Self {
        let mut this = Self {
            params,
            flow_params: params.flow.into(),
            class_params: params.class.into(),
            level: Level::default(),
            sched: Level::default(),
            ready: List::default(),
            ready_flows: 0,
            on_wheel: false,
            marks: 0,
            is_apart: false,
            priority: 0,
            backlog: Backlog::default(),
            oldest: Nanos::ZERO,
            halt,
            deficit: 0,
            reserved_params: LevelParams::default(),
            reserved: Level::default(),
            waits_since: Nanos::ZERO,
            floor_on_wheel: false,
            flushed: 0,
            window: Box::new(Window::new(1, Nanos::ZERO)),
            gated: List::default(),
        };
        this.shape(&Shaping::default(), Nanos::ZERO);
        this
    }

    /// Arrivals and departures are about to be charged apart.
    #[inline]
    pub fn set_apart(&mut self) {
        if !self.is_apart {
            self.is_apart = true;
            self.sched = self.level;
        }
    }

    /// Takes what its new parameters say beside the caps; `old` is what they said before.
    pub fn shape(&mut self, old: &Shaping, now: Nanos) {
        let new = self.params.shaping;
        let mut marks = 0;
        for (on, mark) in [
            (new.reserved.is_some(), marks::RESERVED),
            (new.flow_floor_bits_per_s > 0, marks::FLOOR),
            (new.hold_frames > 1, marks::WINDOW),
            (new.fan_out != u16::MAX, marks::FAN_OUT),
            (new.jitter_max > Nanos::ZERO, marks::JITTER),
            (new.horizon != Nanos::MAX, marks::HORIZON),
            (new.lateness != Lateness::CatchUp, marks::LATENESS),
            (self.params.closed, marks::CLOSED),
        ] {
            marks |= if on { mark } else { 0 };
        }
        self.marks = marks;
        self.priority = self.params.priority;
        self.backlog.packets_max = self.params.queue_packets;
        self.backlog.bytes_max = self.params.queue_bytes;
        if new.reserved != old.reserved {
            let params = LevelParams::from(Caps { bits: new.reserved, messages: None });
            self.reserved.rescale(&self.reserved_params, &params, now);
            self.reserved_params = params;
        }
        self.window.resize(new.hold_frames, new.hold_time);
    }

    pub fn uses(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    #[inline]
    pub fn priority(&self) -> usize {
        usize::from(self.priority) % PRIORITIES
    }

    /// Wire bytes of a turn.
    #[inline]
    pub fn quantum(&self, wire_len_max: u32) -> u32 {
        u32::from(self.params.shaping.weight.max(1)).saturating_mul(wire_len_max)
    }

    /// When the floor of its flows lets a packet of `wire_len` pass strict priority.
    pub fn floor_due(&self, wire_len: u32) -> Nanos {
        self.waits_since.saturating_add(self.floor_gap(wire_len))
    }

    pub fn floor_gap(&self, wire_len: u32) -> Nanos {
        floor::gap(wire_len, self.ready_flows, self.params.shaping.flow_floor_bits_per_s)
    }

    /// When a packet of this class, at the head of its flow, has waited so long that it need not ask
    /// or must not leave; [`Nanos::MAX`] = never.
    #[inline]
    pub fn look_at(&self, head: &PacketMeta) -> Nanos {
        let hold = match self.params.max_hold {
            Nanos::MAX => Nanos::MAX,
            max_hold => head.wanted().saturating_add(max_hold),
        };
        if self.uses(marks::LATENESS) { hold.min(self.late_at(head)) } else { hold }
    }

    /// From when on lateness itself does something to a governed packet of this class.
    pub fn late_at(&self, head: &PacketMeta) -> Nanos {
        let shaping = &self.params.shaping;
        let at = head.sched.saturating_add(shaping.late_after);
        match shaping.lateness {
            Lateness::SendNow => at,
            Lateness::Drop => at.saturating_add(Nanos(1)),
            Lateness::CatchUp | Lateness::ReAnchor => Nanos::MAX,
        }
    }
}
