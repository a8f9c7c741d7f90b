//! What a drill puts around a gateway, and how it is watched.

use std::collections::{BTreeMap, VecDeque};

use control::regimes::Regimes;
use control::windows::Windows;
use model::config::StartMode;
use model::kpi::{CANARY, CONTROL, Report};
use model::regime::{FedValue, Input, Mode, OBSERVATIONS};
use model::stop::StopWords;
use model::time::Nanos;
use serde_json::json;

use super::model::adaptive_limit::{AdaptiveLimit, Bounds};
use super::model::router;
use super::outlet::{Outlet, OutletSpec, Span};
use super::peer::{Peer, Silent};
use super::trace::Series;
use super::wire::Wire;
use super::words::DrillWords;
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

/// What an operator says on the way.
#[derive(Clone, Debug)]
pub struct Order {
    /// With the first tick after this moment.
    pub at: Nanos,
    /// What.
    pub says: Says,
}

/// See [`Order`].
#[derive(Clone, Debug)]
pub enum Says {
    /// Asks for a mode, and confirms it. The fact `MODE_refused` counts refusals.
    Mode(Mode),
    /// Feeds these values: KPI, value, number. They hold for so many seconds.
    Feed(&'static [(&'static str, &'static str, f64)], f64),
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
    /// The port of the second path, where the config has one.
    pub second: OutletSpec,
    /// Stop words, and when they are written; rising.
    pub words: Vec<(Nanos, StopWords)>,
    /// The control thread is stopped.
    pub control_stopped: Vec<Span>,
    /// The limit of what is below the port to the venue, where it moves by itself.
    pub limit: Option<Adaptive>,
    /// States by the operator's word.
    pub pins: Vec<Pin>,
    /// The mode at the start.
    pub mode: StartMode,
    /// What else the operator says, by time.
    pub orders: Vec<Order>,
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
            second: OutletSpec::default(),
            words: Vec::new(),
            control_stopped: Vec::new(),
            limit: None,
            pins: Vec::new(),
            mode: StartMode::Active,
            orders: Vec::new(),
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
    /// Where: `class:NAME`, `tx_queue:NAME` or `feed:NAME`; `canary:NAME` and `control:NAME` are the arms of
    /// a class.
    pub scope: &'static str,
    /// KPI, part and value, as conditions write it: `dispatch_to_wire_ns[rest].p95`. Or what the scope is
    /// advised: `advice.signal_weight`; yes is 1 and no is 0.
    pub input: &'static str,
}

/// In front of a field of the advice.
const ADVICE: &str = "advice.";

impl Watch {
    /// What its scope was last advised.
    fn advised(&self, field: &str, regimes: &Regimes) -> Option<f64> {
        let advised = &json!(regimes.advice(self.scope)?)[field];
        advised.as_f64().or(advised.as_bool().map(|yes| f64::from(u8::from(yes))))
    }

    /// Its value in a report. The worst of several series, which is the highest.
    pub fn read(&self, report: &Report) -> Option<f64> {
        let input: Input = self.input.parse().ok()?;
        let name =
            if input.at_normal { format!("{}_at_normal", input.kpi) } else { input.kpi.clone() };
        let (kind, place) = self.scope.split_once(':')?;
        let here = |labels: &model::kpi::Labels| match kind {
            "tx_queue" => labels.port.as_deref() == Some(place),
            CANARY | CONTROL => labels.arm == Some(kind) && labels.class.as_deref() == Some(place),
            _ => labels.arm.is_none() && labels.class.as_deref() == Some(place),
        };
        report
            .of(&name)
            .filter(|entry| entry.labels.part == input.part.as_deref() && here(&entry.labels))
            .filter_map(|entry| match input.value.as_str() {
                OBSERVATIONS => Some(entry.n as f64),
                value => entry.value(value),
            })
            .reduce(f64::max)
    }
}

/// A peer with its ways to and from the gateway.
struct Side {
    peer: Box<dyn Peer>,
    to_gateway: Wire,
    from_gateway: Outlet,
    /// The second path.
    second: Option<(Wire, Outlet)>,
}

impl Side {
    /// Takes what was delivered by `now` and sends what is due.
    fn act(&mut self, now: Nanos) {
        while let Some((at, frame)) = self.from_gateway.delivered(now) {
            match router::answer(&frame) {
                Some(answer) => self.to_gateway.send(at, answer),
                None => self.peer.receive(at, &frame),
            }
        }
        if let Some((to_gateway, from_gateway)) = &self.second {
            while let Some((at, frame)) = from_gateway.delivered(now) {
                match router::answer(&frame) {
                    Some(answer) => to_gateway.send(at, answer),
                    None => self.peer.receive_by_second(at, &frame),
                }
            }
        }
        self.peer.act(now, &self.to_gateway);
    }

    fn next_event(&self, now: Nanos) -> Option<Nanos> {
        let second = self.second.as_ref().map(|(_, outlet)| outlet);
        let outlets = [&self.from_gateway].into_iter().chain(second);
        let outlets = outlets.flat_map(|o| [o.next_delivery(), o.next_change(now)]);
        outlets.chain([self.peer.next_event()]).flatten().min()
    }
}

/// The scene as a world steps it.
pub(super) struct Stage {
    inside: Side,
    venue: Side,
    limit: Option<Adaptive>,
    pins: Vec<Pin>,
    words: VecDeque<(Nanos, StopWords)>,
    page: DrillWords,
    control_stopped: Vec<Span>,
    orders: Vec<Order>,
    refused: BTreeMap<&'static str, f64>,
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
        second: Option<(Wire, Outlet)>,
        page: DrillWords,
    ) -> Self {
        let Scene { until, inside, venue, limit, pins, words, control_stopped, orders, .. } = scene;
        let freeze_acks = scene.freeze_acks;
        Self {
            inside: Side {
                peer: inside,
                to_gateway: from_inside,
                from_gateway: to_inside,
                second: None,
            },
            venue: Side { peer: venue, to_gateway: from_venue, from_gateway: to_venue, second },
            limit,
            pins,
            words: words.into(),
            page,
            control_stopped,
            orders,
            refused: BTreeMap::new(),
            freeze_acks,
            until,
            now: START,
            watches,
            ticks: Vec::new(),
            series: watches.iter().map(|watch| (watch.name, Series::default())).collect(),
        }
    }

    /// What the peers have counted, and what the operator was refused.
    pub fn facts(&self) -> BTreeMap<&'static str, f64> {
        let peers = [&self.inside, &self.venue].into_iter().flat_map(|side| side.peer.facts());
        peers.chain(self.refused.iter().map(|(name, count)| (*name, *count))).collect()
    }

    fn say(&mut self, now: Nanos, says: &Says, regimes: &mut Regimes) {
        let answer = match says {
            Says::Mode(mode) => regimes.set_mode(now, *mode, true),
            Says::Feed(values, expires_s) => {
                let fed = |&(kpi, value, number): &(&str, &str, f64)| FedValue {
                    kpi: kpi.to_owned(),
                    scope: None,
                    value: value.to_owned(),
                    number,
                    n: 1,
                    expires_s: *expires_s,
                };
                regimes.feed(now, &values.iter().map(fed).collect::<Vec<_>>())
            }
        };
        if answer["ok"] != true {
            let what = match says {
                Says::Mode(Mode::Shadow) => "shadow_refused",
                Says::Mode(Mode::Canary) => "canary_refused",
                Says::Mode(Mode::Active) => "active_refused",
                Says::Mode(_) => "mode_refused",
                Says::Feed(..) => "feed_refused",
            };
            *self.refused.entry(what).or_default() += 1.0;
        }
    }
}

impl Surroundings for Stage {
    fn act(&mut self, now: Nanos) {
        self.now = now;
        while let Some((_, words)) = self.words.pop_front_if(|(at, _)| *at <= now) {
            self.page.write(words);
        }
        if let Some((_, outlet)) = &self.venue.second {
            outlet.advance(now);
        }
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
        let words = self.words.front().map(|(at, _)| *at);
        sides.into_iter().flatten().chain(end).chain(words).min()
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
        while let Some(order) = self.orders.first().cloned().filter(|order| order.at <= now) {
            self.orders.remove(0);
            self.say(now, &order.says, regimes);
        }
    }

    fn stops_control(&self, now: Nanos) -> bool {
        self.control_stopped.iter().any(|(from, to)| (*from..*to).contains(&now))
    }

    fn freezes_acks(&mut self, now: Nanos) -> bool {
        self.freeze_acks.take_if(|at| *at <= now).is_some()
    }

    fn limit_bytes(&self) -> Option<u64> {
        self.limit.as_ref().map(|adaptive| adaptive.limit.limit_bytes())
    }
}
