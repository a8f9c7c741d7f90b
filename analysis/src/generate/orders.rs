//! Parents and their children: what the strategies wanted.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_distr::{Beta, Distribution, StandardNormal};
use rand_pcg::Pcg64;

use super::market::SYMBOLS;
use super::places::Place;
use super::recorded::Order;
use super::transport::{Path, Window};
use super::trial::Trial;
use super::{Fault, Parameters, SECOND};

/// Children of a parent, on average.
const CHILDREN_PER_PARENT: usize = 8;
/// How far the clock of the first gateway is ahead under [`Fault::ClockSkew`].
pub const SKEW_NS: i64 = 2_000_000;

/// A parent order.
pub struct Parent {
    pub place: usize,
    pub day: usize,
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
    /// When it was handed over, likewise.
    pub dispatch: i64,
    /// What a gateway has recorded of it, where its timeline is not made up.
    pub recorded: Option<Order>,
    /// The window that ended before it.
    pub window: Window,
    /// Whether it was governed.
    pub trial: Trial,
}

/// The strategy hands over so long after its decision, ns.
const HANDED_OVER_NS: i64 = 5_000;

/// Names.
pub const VENUES: [&str; 3] = ["XAAA", "XBBB", "XCCC"];
/// Names.
pub const TACTICS: [&str; 2] = ["join", "sweep"];

/// Draws parents and children for sessions of `session_s`, in the order of their parents.
pub fn schedule(
    parameters: &Parameters,
    places: &[Place],
    session_s: f64,
    random: &mut Pcg64,
) -> (Vec<Parent>, Vec<Child>) {
    let mut parents = Vec::new();
    let mut children = Vec::with_capacity(parameters.children());
    let urgencies = Beta::new(1.6, 2.4).expect("parameters are positive");
    while children.len() < parameters.children() {
        // Places in turn: each has as many parents as another.
        let place = parents.len() % places.len();
        let length_s = random.random_range(session_s / 30.0..session_s / 10.0);
        let edge_s = session_s / 120.0;
        let start_s = random.random_range(edge_s..session_s - length_s - edge_s);
        let normal: f64 = StandardNormal.sample(random);
        let parent = Parent {
            place,
            day: places[place].day,
            symbol: random.random_range(0..SYMBOLS),
            side: if random.random_bool(0.5) { 1 } else { -1 },
            urgency: (urgencies.sample(random) * 255.0) as u8,
            target: (8.0 + 0.6 * normal).exp().round(),
            start: ns(start_s),
            end: ns(start_s + length_s),
            price: 50.0 * (0.2 * normal).exp(),
        };
        let count = random.random_range(CHILDREN_PER_PARENT - 3..=CHILDREN_PER_PARENT + 3);
        // The last has a second to be done, or half of a short parent.
        let within_s = (length_s - 1.0).max(length_s / 2.0);
        let mut times: Vec<i64> =
            (0..count).map(|_| ns(start_s + random.random_range(0.0..within_s))).collect();
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
                dispatch: decision + HANDED_OVER_NS,
                recorded: None,
                window: Window::default(),
                trial: Trial::default(),
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
pub fn expose(children: &mut [Child], parents: &[Parent], paths: &[Path]) {
    for child in children {
        child.window = paths[parents[child.parent].place].before(child.decision);
    }
}

/// How far the clock of a gateway is ahead.
pub fn skew(parameters: &Parameters, places: &[Place], place: usize) -> i64 {
    let is_first = places[place].gateway == places[0].gateway;
    if parameters.fault == Some(Fault::ClockSkew) && is_first { SKEW_NS } else { 0 }
}

/// Lets each child be an order that was recorded: the first that nobody has yet, dispatched at or after the time that
/// was drawn. A parent of which one has none, or too late, goes.
pub fn follow(
    parents: Vec<Parent>,
    children: Vec<Child>,
    recorded: &[Vec<Order>],
) -> (Vec<Parent>, Vec<Child>) {
    let mut free: Vec<BTreeMap<i64, Order>> = recorded
        .iter()
        .map(|orders| orders.iter().map(|order| (order.dispatch, *order)).collect())
        .collect();
    let (mut kept, mut followed) = (Vec::new(), Vec::new());
    let mut of_parent = children.into_iter().peekable();
    for (index, parent) in parents.into_iter().enumerate() {
        let mut mine = Vec::new();
        let mut is_whole = true;
        while let Some(mut child) = of_parent.next_if(|child| child.parent == index) {
            let free = &mut free[parent.place];
            let next = free.range(child.dispatch..parent.end).next().map(|(time, _)| *time);
            let Some(order) = next.and_then(|time| free.remove(&time)) else {
                is_whole = false;
                continue;
            };
            child.parent = kept.len();
            child.dispatch = order.dispatch;
            child.decision = order.decision;
            child.recorded = Some(order);
            mine.push(child);
        }
        if is_whole {
            kept.push(parent);
            followed.append(&mut mine);
        }
    }
    (kept, followed)
}
