//! What a drill puts around a gateway, and how it is watched.

use std::collections::BTreeMap;

use control::regimes::Regimes;
use control::windows::Windows;
use model::kpi::Report;
use model::regime::Input;
use model::time::Nanos;
use serde_json::json;

use super::model::adaptive_limit::{AdaptiveLimit, Bounds};
use super::outlet::{Outlet, OutletSpec};
use super::peer::{Peer, Silent};
use super::trace::Series;
use super::wire::Wire;
use crate::world::Surroundings;

/// Gateway time at which every drill begins.
pub const START: Nanos = Nanos::from_secs(1_000_000);

/// So many ms after the start.
pub const fn ms(after: u64) -> Nanos {
    Nanos(START.0 + after * 1_000_000)
}

/// Something that goes wrong, for the plots.
#[derive(Clone, Debug)]
pub struct Mark {
    /// What.
    pub what: String,
    /// From.
    pub from: Nanos,
    /// To.
    pub to: Nanos,
}

/// A machine that is put into a state for a while, by the operator's word.
#[derive(Clone, Copy, Debug)]
pub struct Pin {
    /// From the first tick after this moment on.
    pub from: Nanos,
    /// So long.
    pub length: Nanos,
    /// Name of the machine.
    pub machine: &'static str,
    /// Scope, as `class:orders`.
    pub scope: &'static str,
    /// Name of the state.
    pub state: &'static str,
}

/// A limit that moves by itself, and bounds that are changed on the way.
pub struct Adaptive {
    /// The limit.
    pub limit: AdaptiveLimit,
    /// New bounds, and when; rising.
    pub changes: Vec<(Nanos, Bounds)>,
}

/// One run of a drill: who sends and receives, what the ports are like, what is done to them.
pub struct Scene {
    /// The run ends here, and when nothing is held any more.
    pub until: Nanos,
    /// The host of the strategies.
    pub inside: Box<dyn Peer>,
    /// The venue.
    pub venue: Box<dyn Peer>,
    /// The port to the venue.
    pub to_venue: OutletSpec,
    /// The port to the inside.
    pub to_inside: OutletSpec,
    /// The limit of what is below the port to the venue, where it moves by itself.
    pub limit: Option<Adaptive>,
    /// States by the operator's word.
    pub pins: Vec<Pin>,
    /// When the compression of acknowledgements is frozen as usual.
    pub freeze_acks: Option<Nanos>,
    /// A profile of the config that is in force from the start.
    pub profile: Option<&'static str>,
    /// What goes wrong.
    pub marks: Vec<Mark>,
}

impl Scene {
    /// Silence until then, between ports that take everything at once.
    pub fn until(until: Nanos) -> Self {
        Self {
            until,
            inside: Box::new(Silent),
            venue: Box::new(Silent),
            to_venue: OutletSpec::default(),
            to_inside: OutletSpec::default(),
            limit: None,
            pins: Vec::new(),
            freeze_acks: None,
            profile: None,
            marks: Vec::new(),
        }
    }
}

/// A KPI that is watched at every tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// What plots and expectations call it.
    pub name: &'static str,
    /// Where: `class:NAME`, `tx_queue:NAME` or `feed:NAME`.
    pub scope: &'static str,
    /// KPI, part and value, as conditions write it: `dispatch_to_wire_ns[rest].p95`. Or a number that the
    /// scope is advised: `advice.signal_weight`.
    pub input: &'static str,
}

/// In front of a field of the advice.
const ADVICE: &str = "advice.";

impl Watch {
    /// What its scope was last advised.
    fn advised(&self, field: &str, regimes: &Regimes) -> Option<f64> {
        json!(regimes.advice(self.scope)?)[field].as_f64()
    }

    /// Its value in a report. The worst of several series, which is the highest.
    pub fn read(&self, report: &Report) -> Option<f64> {
        let input: Input = self.input.parse().ok()?;
        let name =
            if input.at_normal { format!("{}_at_normal", input.kpi) } else { input.kpi.clone() };
        let (kind, place) = self.scope.split_once(':')?;
        let here = |labels: &model::kpi::Labels| match kind {
            "tx_queue" => labels.port.as_deref() == Some(place),
            _ => labels.class.as_deref() == Some(place),
        };
        report
            .of(&name)
            .filter(|entry| entry.labels.part == input.part.as_deref() && here(&entry.labels))
            .filter_map(|entry| entry.value(&input.value))
            .reduce(f64::max)
    }
}

/// A peer with its ways to and from the gateway.
struct Side {
    peer: Box<dyn Peer>,
    to_gateway: Wire,
    from_gateway: Outlet,
}

impl Side {
    /// Takes what was delivered by `now` and sends what is due.
    fn act(&mut self, now: Nanos) {
        while let Some((at, frame)) = self.from_gateway.delivered(now) {
            self.peer.receive(at, &frame);
        }
        self.peer.act(now, &self.to_gateway);
    }

    fn next_event(&self, now: Nanos) -> Option<Nanos> {
        let own = [self.peer.next_event(), self.from_gateway.next_delivery()];
        own.into_iter().flatten().chain(self.from_gateway.next_change(now)).min()
    }
}

/// The scene as a world steps it.
pub(super) struct Stage {
    inside: Side,
    venue: Side,
    limit: Option<Adaptive>,
    pins: Vec<Pin>,
    freeze_acks: Option<Nanos>,
    until: Nanos,
    now: Nanos,
    watches: &'static [Watch],
    pub ticks: Vec<Nanos>,
    pub series: BTreeMap<&'static str, Series>,
}

impl Stage {
    /// `to_venue` and `to_inside` are the ports that the gateway has, the wires those that it reads.
    pub fn new(
        scene: Scene,
        watches: &'static [Watch],
        (from_inside, to_venue): (Wire, Outlet),
        (from_venue, to_inside): (Wire, Outlet),
    ) -> Self {
        let Scene { until, inside, venue, limit, pins, freeze_acks, .. } = scene;
        Self {
            inside: Side { peer: inside, to_gateway: from_inside, from_gateway: to_inside },
            venue: Side { peer: venue, to_gateway: from_venue, from_gateway: to_venue },
            limit,
            pins,
            freeze_acks,
            until,
            now: START,
            watches,
            ticks: Vec::new(),
            series: watches.iter().map(|watch| (watch.name, Series::default())).collect(),
        }
    }

    /// What the peers have counted.
    pub fn facts(&self) -> BTreeMap<&'static str, f64> {
        [&self.inside, &self.venue].into_iter().flat_map(|side| side.peer.facts()).collect()
    }
}

impl Surroundings for Stage {
    fn act(&mut self, now: Nanos) {
        self.now = now;
        let told = self.venue.from_gateway.advance(now);
        self.inside.from_gateway.advance(now);
        if let Some(Adaptive { limit, changes }) = &mut self.limit {
            while let Some((_, bounds)) = changes.first().filter(|(at, _)| *at <= now) {
                limit.set_bounds(*bounds);
                changes.remove(0);
            }
            told.into_iter().for_each(|told| limit.on_completion(told));
        }
        self.inside.act(now);
        self.venue.act(now);
    }

    fn next_event(&self) -> Option<Nanos> {
        let end = Some(self.until).filter(|until| self.now < *until);
        let sides = [self.inside.next_event(self.now), self.venue.next_event(self.now)];
        sides.into_iter().flatten().chain(end).min()
    }

    fn on_tick(&mut self, now: Nanos, windows: &Windows, regimes: &mut Regimes) {
        let Some(report) = windows.report(1) else { return };
        self.ticks.push(now);
        for watch in self.watches {
            let value = match watch.input.strip_prefix(ADVICE) {
                Some(field) => watch.advised(field, regimes),
                None => watch.read(report),
            };
            self.series.entry(watch.name).or_default().push(value);
        }
        while let Some(pin) = self.pins.first().copied().filter(|pin| pin.from <= now) {
            self.pins.remove(0);
            // A drill that pins what is not there does not come to the state that it expects.
            regimes.pin(now, pin.machine, pin.scope, pin.state, Some(pin.length));
        }
    }

    fn freezes_acks(&mut self, now: Nanos) -> bool {
        self.freeze_acks.take_if(|at| *at <= now).is_some()
    }

    fn limit_bytes(&self) -> Option<u64> {
        self.limit.as_ref().map(|adaptive| adaptive.limit.limit_bytes())
    }
}
