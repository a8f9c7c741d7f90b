//! Parents and their children: what the strategies wanted.

use rand::RngExt;
use rand_distr::{Beta, Distribution, StandardNormal};
use rand_pcg::Pcg64;

use super::market::{SESSION_S, SYMBOLS};
use super::transport::{Path, Window};
use super::{Fault, Parameters, SECOND};

/// Children of a parent, on average.
const CHILDREN_PER_PARENT: usize = 8;
/// How far the clock of the first gateway is ahead under [`Fault::ClockSkew`].
pub const SKEW_NS: i64 = 2_000_000;

/// A parent order.
pub struct Parent {
    pub day: usize,
    pub gateway: usize,
    pub symbol: usize,
    /// 1 buy, -1 sell.
    pub side: i64,
    /// 0 to 255.
    pub urgency: u8,
    pub target: f64,
    /// ns of the session.
    pub start: i64,
    pub end: i64,
    pub price: f64,
}

/// A child order.
pub struct Child {
    pub parent: usize,
    pub quantity: f64,
    pub passive: bool,
    pub venue: usize,
    pub tactic: usize,
    /// The first of its parent.
    pub first: bool,
    /// The last, which cleans up.
    pub last: bool,
    /// ns of the session.
    pub decision: i64,
    /// The window that ended before it.
    pub window: Window,
}

/// Names.
pub const VENUES: [&str; 3] = ["XAAA", "XBBB", "XCCC"];
/// Names.
pub const TACTICS: [&str; 2] = ["join", "sweep"];

/// Draws parents and children, in the order of their parents.
pub fn schedule(parameters: &Parameters, random: &mut Pcg64) -> (Vec<Parent>, Vec<Child>) {
    let mut parents = Vec::new();
    let mut children = Vec::with_capacity(parameters.children());
    let paths = parameters.days * parameters.gateways;
    let urgencies = Beta::new(1.6, 2.4).expect("parameters are positive");
    while children.len() < parameters.children() {
        // Days and gateways in turn: each has as many parents as another.
        let path = parents.len() % paths;
        let length_s = random.random_range(20.0..60.0);
        let start_s = random.random_range(5.0..SESSION_S as f64 - length_s - 5.0);
        let normal: f64 = StandardNormal.sample(random);
        let parent = Parent {
            day: path / parameters.gateways,
            gateway: path % parameters.gateways,
            symbol: random.random_range(0..SYMBOLS),
            side: if random.random_bool(0.5) { 1 } else { -1 },
            urgency: (urgencies.sample(random) * 255.0) as u8,
            target: (8.0 + 0.6 * normal).exp().round(),
            start: ns(start_s),
            end: ns(start_s + length_s),
            price: 50.0 * (0.2 * normal).exp(),
        };
        let count = random.random_range(CHILDREN_PER_PARENT - 3..=CHILDREN_PER_PARENT + 3);
        let mut times: Vec<i64> =
            (0..count).map(|_| ns(start_s + random.random_range(0.0..length_s - 1.0))).collect();
        times.sort_unstable();
        let urgency = f64::from(parent.urgency) / 255.0;
        for (place, decision) in times.into_iter().enumerate() {
            let last = place + 1 == count;
            let passive = !last && random.random_bool(0.85 - 0.3 * urgency);
            children.push(Child {
                parent: parents.len(),
                // The last takes 30 %, the others share the rest.
                quantity: parent.target * if last { 0.3 } else { 0.7 / (count - 1) as f64 },
                passive,
                venue: random.random_range(0..VENUES.len()),
                tactic: usize::from(!passive),
                first: place == 0,
                last,
                decision,
                window: Window::default(),
            });
        }
        parents.push(parent);
    }
    (parents, children)
}

fn ns(seconds: f64) -> i64 {
    (seconds * SECOND as f64) as i64
}

/// Gives each child the window of its gateway that ended before its decision.
pub fn expose(children: &mut [Child], parents: &[Parent], paths: &[Path], parameters: &Parameters) {
    for child in children {
        let parent = &parents[child.parent];
        let path = &paths[parent.day * parameters.gateways + parent.gateway];
        child.window = path.before(child.decision);
    }
}

/// How far the clock of a gateway is ahead.
pub fn skew(parameters: &Parameters, gateway: usize) -> i64 {
    if parameters.fault == Some(Fault::ClockSkew) && gateway == 0 { SKEW_NS } else { 0 }
}
