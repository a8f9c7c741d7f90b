//! What the aggregates of a core are made for: its classes and its ports.

use crate::config::Config;
use crate::kind::{Kind, Side};
use crate::profile::{ARMS, Profile};
use crate::sample::DepartureSource;
use crate::time::Nanos;

/// Packets of at least this urgency are counted apart in `cap_hit_ratio`.
pub const URGENT: u8 = 192;

/// The arm of the groups on trial.
pub const CANARY: &str = ARM_NAMES[0];
/// The arm of as many groups that are left as they are.
pub const CONTROL: &str = ARM_NAMES[1];
const ARM_NAMES: [&str; ARMS] = ["canary", "control"];

/// A class as the KPIs see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassPlan {
    /// Its name; a twin has that of its class.
    pub name: String,
    /// The arm of a twin; the groups of a class that are in no arm have none.
    pub arm: Option<&'static str>,
    /// Its declared kind.
    pub kind: Kind,
    /// Side its packets come from.
    pub from: Side,
    /// Declared period.
    pub cadence: Option<Nanos>,
    /// `max_hold` of the operator-confirmed profile; [`Nanos::MAX`] = unlimited.
    pub max_hold: Nanos,
}

/// What is known of bytes below a TX queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionFigures {
    /// Nothing: the port is done when its send call returns.
    Absent,
    /// Completions of the device.
    Measured,
    /// Completions of a link model.
    Simulated,
}

/// An egress port as the KPIs see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// Its index in the config.
    pub index: u8,
    /// Its name.
    pub name: String,
    /// Its side.
    pub side: Side,
    /// How its departure times are made.
    pub departure: DepartureSource,
    /// What is known of bytes below its TX queue.
    pub completion: CompletionFigures,
    /// How long it may be without a completion, with bytes in flight, before that is a stall.
    pub stall_time: Nanos,
    /// TX descriptors.
    pub tx_descriptors: u32,
    /// Rate of its link, where the config tells it: what a burst on the wire is judged by.
    pub link_bits_per_s: Option<u64>,
}

/// A venue limit as the KPIs see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitPlan {
    /// Its name.
    pub name: String,
    /// Most messages in any window.
    pub messages_max: u32,
}

/// Every class of the config and the ports of one data core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KpiPlan {
    /// In the order of the config, then the twins: the index is the class number.
    pub classes: Vec<ClassPlan>,
    /// Ports that the core sends to.
    pub ports: Vec<PortPlan>,
    /// Venue limits of the config, which hold what is sent to ports of the venue's side.
    pub limits: Vec<LimitPlan>,
    /// From this urgency on a packet counts as urgent.
    pub urgent: u8,
}

impl KpiPlan {
    /// The plan of a core that sends to `ports`. `max_hold` is that of profile 0, `normal`.
    pub fn new(config: &Config, ports: Vec<PortPlan>) -> Self {
        let max_hold = |class: usize| {
            let normal = config.profiles.first().and_then(|profile| profile.classes.get(class));
            normal.map_or(Nanos::MAX, |params| params.max_hold)
        };
        let twins = config.canaried().len();
        let arm = |node: usize| {
            let twin = node.checked_sub(config.classes.len())?;
            ARM_NAMES.get(twin / twins).copied()
        };
        let classes = config.nodes().enumerate().map(|(node, index)| {
            let class = &config.classes[index];
            ClassPlan {
                name: class.name.clone(),
                arm: arm(node),
                kind: class.kind,
                from: class.from,
                cadence: class.cadence,
                max_hold: max_hold(index),
            }
        });
        let limits = config
            .venue_limits
            .iter()
            .map(|limit| LimitPlan { name: limit.name.clone(), messages_max: limit.messages_max });
        Self { classes: classes.collect(), ports, limits: limits.collect(), urgent: URGENT }
    }

    /// Goes by another confirmed table: `max_hold`s and venue limits.
    pub fn set_confirmed(&mut self, confirmed: &Profile) {
        for node in 0..self.classes.len() {
            if let Some(params) = confirmed.classes.get(self.class_of(node)) {
                self.classes[node].max_hold = params.max_hold;
            }
        }
        for (plan, limit) in self.limits.iter_mut().zip(&confirmed.venue_limits) {
            plan.messages_max = limit.messages_max;
        }
    }

    /// The class of the config that a node stands for: of a twin, the one with its name.
    pub(super) fn class_of(&self, node: usize) -> usize {
        let named = |class: &ClassPlan| class.name == self.classes[node].name;
        match self.classes[node].arm {
            None => node,
            Some(_) => self.classes.iter().position(named).unwrap_or(node),
        }
    }

    /// The pairs (position in `ports`, class) that packets can have, in order: a class of one side
    /// leaves by a port of the other.
    pub(super) fn cells(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.ports.iter().enumerate().flat_map(move |(p, port)| {
            let leaves_here = move |class: &ClassPlan| class.from.peer() == port.side;
            let classes = self.classes.iter().enumerate();
            classes.filter(move |(_, class)| leaves_here(class)).map(move |(c, _)| (p, c))
        })
    }
}
