//! What arbitration owes, from arrivals and departures alone.
//!
//! - No class leaves while one that is served earlier waits and conforms, but by its reserved bucket,
//!   which is charged by all that it sends, or by its floor, `F` for each of its flows, of which it may
//!   have saved 5 ms.
//! - Flows of a class that are never without packets get the same, and classes of one priority that are
//!   held by nothing but the port get bytes by weight: deficit round robin's bound, for every interval,
//!   `Q + L + L` (over weights: `Q + L/w + L/w'`).
//! - A flow that is never without packets gets its floor in every 100 ms, and a class its reserved rate.

use super::super::bucket::Level;
use super::super::case::WIRE_LEN_MAX;
use super::Case;
use model::profile::{Bucket, Caps, ClassParams};
use std::collections::VecDeque;

/// Floors and reserved rates are reached in every window of this length.
const WINDOW: u64 = 100_000_000;
/// A floor is looked at once in a millisecond at least, and what it is late then is made up.
const FLOOR_LOOK: u64 = 1_000_000;
const FLOOR_CREDIT: u64 = 5_000_000;

/// What was seen, the worst of all worlds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub packets: u64,
    /// Departures ahead of a class that is served earlier, waited and conformed: by reserve, by floor.
    pub by_reserve: u64,
    pub by_floor: u64,
    /// Worst difference of service, as a share of its bound: among flows, and among classes.
    pub flows_share: f64,
    pub classes_share: f64,
    /// Windows in which a floor was reached, and a reserved rate; the least of what was owed.
    pub floor_windows: u64,
    pub reserve_windows: u64,
    pub floor_least: Option<f64>,
    pub reserve_least: Option<f64>,
}

fn least(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).reduce(f64::min)
}

impl Figures {
    pub fn add(&mut self, o: &Self) {
        self.packets += o.packets;
        self.by_reserve += o.by_reserve;
        self.by_floor += o.by_floor;
        self.flows_share = self.flows_share.max(o.flows_share);
        self.classes_share = self.classes_share.max(o.classes_share);
        self.floor_windows += o.floor_windows;
        self.reserve_windows += o.reserve_windows;
        self.floor_least = least(self.floor_least, o.floor_least);
        self.reserve_least = least(self.reserve_least, o.reserve_least);
    }
}

/// Bytes that left in the last [`WINDOW`].
#[derive(Default)]
struct Recent {
    left: VecDeque<(u64, u64)>,
    bytes: u64,
}

impl Recent {
    fn put(&mut self, now: u64, bytes: u64) {
        self.left.push_back((now, bytes));
        self.bytes += bytes;
    }

    /// Of what left in `(now - WINDOW, now]`.
    fn bytes(&mut self, now: u64) -> u64 {
        while let Some((_, bytes)) = self.left.pop_front_if(|(at, _)| *at + WINDOW <= now) {
            self.bytes -= bytes;
        }
        self.bytes
    }
}

/// Service of several that are never without packets, each by its weight.
struct Shares {
    weights: Vec<f64>,
    /// Normalised service.
    served: Vec<f64>,
    /// Least and most that `served[a] - served[b]` has been, `a < b`.
    range: Vec<Vec<(f64, f64)>>,
}

impl Shares {
    fn new(weights: Vec<f64>) -> Self {
        let n = weights.len();
        Self { served: vec![0.0; n], range: vec![vec![(0.0, 0.0); n]; n], weights }
    }

    /// The worst difference over any interval that ends here, as a share of its bound.
    fn serve(&mut self, who: usize, bytes: u32) -> f64 {
        self.served[who] += f64::from(bytes) / self.weights[who];
        let mut worst = 0f64;
        for other in (0..self.served.len()).filter(|&other| other != who) {
            let (a, b) = (who.min(other), who.max(other));
            let difference = self.served[a] - self.served[b];
            let range = &mut self.range[a][b];
            *range = (range.0.min(difference), range.1.max(difference));
            let largest = f64::from(WIRE_LEN_MAX);
            let bound = largest * (1.0 + 1.0 / self.weights[a] + 1.0 / self.weights[b]);
            worst = worst.max((range.1 - range.0) / bound);
        }
        worst
    }
}

struct Class {
    params: ClassParams,
    level: Level,
    reserved: Level,
    floor: Level,
    recent: Recent,
    /// Its flows, where they share alike.
    shares: Option<Shares>,
    flows: Vec<usize>,
    is_persistent: bool,
}

struct Flow {
    queue: VecDeque<u32>,
    level: Level,
    /// Since when its head could go, as far as the flow itself is concerned.
    ready_since: u64,
    recent: Recent,
}

pub struct Judge<'a> {
    case: &'a Case,
    classes: Vec<Class>,
    flows: Vec<Flow>,
    /// Classes of one priority that share the port by weight.
    equals: Vec<(Vec<usize>, Shares)>,
    pub figures: Figures,
}

fn bits(rate_per_s: u64, burst: u64) -> Caps {
    Caps { bits: (rate_per_s > 0).then(|| Bucket::new(rate_per_s, burst)), messages: None }
}

impl<'a> Judge<'a> {
    pub fn new(case: &'a Case) -> Self {
        let class = |(n, params): (usize, &ClassParams)| {
            let flows: Vec<usize> =
                (0..case.flows.len()).filter(|&f| case.flows[f].class == n).collect();
            let is_persistent = flows.iter().all(|&f| case.flows[f].is_persistent);
            let owed = params.shaping.flow_floor_bits_per_s * flows.len() as u64;
            let saved = owed * FLOOR_CREDIT / 8_000_000_000 + u64::from(WIRE_LEN_MAX);
            Class {
                level: Level::new(params.class),
                reserved: Level::new(Caps { bits: params.shaping.reserved, messages: None }),
                floor: Level::new(bits(owed, saved)),
                recent: Recent::default(),
                shares: (is_persistent && params.flow.bits.is_none())
                    .then(|| Shares::new(vec![1.0; flows.len()])),
                params: *params,
                flows,
                is_persistent,
            }
        };
        let classes: Vec<Class> = case.profile.classes.iter().enumerate().map(class).collect();
        let claims = |c: &Class| {
            c.params.shaping.reserved.is_some() || c.params.shaping.flow_floor_bits_per_s > 0
        };
        let equals = (0..3)
            .map(|priority| {
                let of: Vec<usize> = (0..classes.len())
                    .filter(|&n| {
                        let c = &classes[n];
                        let capped = c.params.class.bits.is_some() || c.params.flow.bits.is_some();
                        let is_equal = c.params.priority == priority;
                        is_equal && c.is_persistent && !capped && !claims(c)
                    })
                    .collect();
                let weights = of.iter().map(|&n| classes[n].params.shaping.weight.into()).collect();
                (of, Shares::new(weights))
            })
            .collect();
        let flow = |member: &super::Member| Flow {
            queue: VecDeque::new(),
            level: Level::new(case.profile.classes[member.class].flow),
            ready_since: 0,
            recent: Recent::default(),
        };
        let flows = case.flows.iter().map(flow).collect();
        Self { case, classes, flows, equals, figures: Figures::default() }
    }

    pub fn arrive(&mut self, now: u64, flow: u32, wire_len: u32) {
        let f = &mut self.flows[flow as usize];
        if f.queue.is_empty() {
            f.ready_since = now.max(f.level.fits_at(wire_len.into(), 0));
        }
        f.queue.push_back(wire_len);
    }

    /// # Errors
    /// What it should not have done.
    pub fn depart(&mut self, now: u64, flow: u32, wire_len: u32) -> Result<(), String> {
        self.figures.packets += 1;
        let (class, bytes) = (self.case.flows[flow as usize].class, u64::from(wire_len));
        if self.flows[flow as usize].queue.pop_front() != Some(wire_len) {
            return Err(format!("order in flow {flow} at {now}"));
        }
        self.judge_priority(now, class, bytes)?;
        self.judge_shares(now, class, flow as usize, wire_len)?;
        self.judge_windows(now)?;

        let c = &mut self.classes[class];
        c.level.put(now, bytes, 0);
        c.reserved.put(now, bytes, 0);
        c.recent.put(now, bytes);
        let f = &mut self.flows[flow as usize];
        f.level.put(now, bytes, 0);
        f.recent.put(now, bytes);
        if let Some(&next) = f.queue.front() {
            f.ready_since = now.max(f.level.fits_at(next.into(), 0));
        }
        Ok(())
    }

    /// Whether a packet of a class has waited for a slot for nothing but the port.
    fn waits(&self, now: u64, class: usize) -> bool {
        let c = &self.classes[class];
        let since = now.saturating_sub(self.case.slot);
        let is_ready =
            |&f: &usize| !self.flows[f].queue.is_empty() && self.flows[f].ready_since <= since;
        // Which of its packets is next is its own affair: one of any size conforms.
        c.level.fits_at(WIRE_LEN_MAX.into(), 0) <= since && c.flows.iter().any(is_ready)
    }

    fn judge_priority(&mut self, now: u64, class: usize, bytes: u64) -> Result<(), String> {
        let own = self.classes[class].params;
        let first = (0..self.classes.len())
            .find(|&n| self.classes[n].params.priority < own.priority && self.waits(now, n));
        let Some(first) = first else { return Ok(()) };
        let c = &mut self.classes[class];
        if own.shaping.reserved.is_some() && c.reserved.fits_at(bytes, 0) <= now {
            self.figures.by_reserve += 1;
            return Ok(());
        }
        if own.shaping.flow_floor_bits_per_s > 0 && c.floor.fits_at(bytes, 0) <= now {
            c.floor.put(now, bytes, 0);
            self.figures.by_floor += 1;
            return Ok(());
        }
        Err(format!("class {class} passed class {first} at {now}"))
    }

    fn judge_shares(
        &mut self,
        now: u64,
        class: usize,
        flow: usize,
        wire_len: u32,
    ) -> Result<(), String> {
        let c = &mut self.classes[class];
        let of_flow = c.flows.iter().position(|&f| f == flow);
        if let (Some(shares), Some(who)) = (&mut c.shares, of_flow) {
            self.figures.flows_share = self.figures.flows_share.max(shares.serve(who, wire_len));
        }
        let (equals, shares) = &mut self.equals[usize::from(c.params.priority)];
        if let Some(who) = equals.iter().position(|&n| n == class) {
            self.figures.classes_share =
                self.figures.classes_share.max(shares.serve(who, wire_len));
        }
        if self.figures.flows_share > 1.0 || self.figures.classes_share > 1.0 {
            return Err(format!("unfair at {now}: {:?}", self.figures));
        }
        Ok(())
    }

    /// Before a departure: what left in the window up to here.
    fn judge_windows(&mut self, now: u64) -> Result<(), String> {
        if now < WINDOW {
            return Ok(());
        }
        let largest = f64::from(WIRE_LEN_MAX);
        for (n, c) in self.classes.iter_mut().enumerate().filter(|(_, c)| c.is_persistent) {
            let floor = c.params.shaping.flow_floor_bits_per_s as f64;
            // Flows share to the bound of deficit round robin.
            let owed = floor * (WINDOW - 2 * FLOOR_LOOK) as f64 / 8e9 - 3.0 * largest;
            if owed > 0.0 {
                for &flow in &c.flows {
                    let got = self.flows[flow].recent.bytes(now) as f64;
                    let share = got / owed;
                    self.figures.floor_windows += 1;
                    self.figures.floor_least = least(self.figures.floor_least, Some(share));
                    if share < 1.0 {
                        return Err(format!(
                            "floor of flow {flow} at {now}: {got} of {owed} bytes"
                        ));
                    }
                }
            }
            let reserved = c.params.shaping.reserved.map_or(0, |bucket| bucket.rate_per_s) as f64;
            let owed = reserved * WINDOW as f64 / 8e9 - 2.0 * largest;
            if owed > 0.0 {
                let got = c.recent.bytes(now) as f64;
                self.figures.reserve_windows += 1;
                self.figures.reserve_least = least(self.figures.reserve_least, Some(got / owed));
                if got < owed {
                    return Err(format!("reserve of class {n} at {now}: {got} of {owed} bytes"));
                }
            }
        }
        Ok(())
    }
}
