//! Market data behind a receiver that coalesces longer and longer, and a strategy that reacts to what it
//! is delivered.
//!
//! The receiver is upstream of the gateway: no profile switches it off. The gateway has a hold of its own
//! besides, and that one `anti_burst` does switch off.

use model::time::Nanos;

use crate::drill::model::reactive::{Reaction, Reactor, Strategy, Trigger};
use crate::drill::model::rx_hold::{Coalescing, Hold};
use crate::drill::traffic::{PORT_FIRST, Plan, Sender, Way};
use crate::drill::{Drill, Expect, Expectation, Figure, Is, Mark, START, Scene, TWIN, Watch, ms};

const MACHINE: &str = "delivery";
const SCOPE: &str = "feed:feed";
const ARM: &str = "coalesced";
const END: Nanos = ms(19_000);
/// From when on it holds how long, us.
const HOLDS: [(Nanos, u64); 4] =
    [(ms(2_000), 250), (ms(3_500), 700), (ms(6_500), 2_000), (ms(9_000), 3_000)];
/// Stretches in which the windows of the KPIs hold one length of the hold and no other: of 700 us, 2 ms
/// and 3 ms.
const LONGER: [(Nanos, Nanos); 3] =
    [(ms(4_600), ms(6_500)), (ms(7_600), ms(9_000)), (ms(10_100), ms(16_000))];

const DELAY: &str = "delivery delay p95, ns";
const MDDR: &str = "market data distortion";
const BDC: &str = "burst delivery concentration";
const DBC: &str = "decision burst coupling";

/// See the module's text.
pub const DRILL: Drill = Drill {
    name: "coalescing-replay",
    playbook: "004",
    injects: "RX holds of 250 us, 700 us, 2 ms and 3 ms upstream of the gateway; a strategy that sends an \
        order 20 us after each 30th update",
    must_show: "delivery_delay, MDDR and DBC.excess rise; FLOW_CLEAN, DELIVERY_CLUSTERED, PHASE_LOCKED, \
        SAFE_PACING in this order; the gateway's own hold is off under anti_burst",
    config: include_str!("../../../../configs/drills/coalescing-replay.toml"),
    usual: &[],
    watches: &[
        Watch { name: DELAY, scope: SCOPE, input: "delivery_delay_ns[market_data].p95" },
        Watch { name: MDDR, scope: SCOPE, input: "market_data_distortion_ratio.ratio" },
        Watch { name: BDC, scope: SCOPE, input: "burst_delivery_concentration.excess" },
        Watch { name: DBC, scope: SCOPE, input: "decision_burst_coupling.excess" },
        Watch { name: "signal weight", scope: SCOPE, input: "advice.signal_weight" },
    ],
    arms: &[ARM],
    scene,
    expect,
    expect_of_twin,
};

/// Two updates at a time, half a ms apart on average and very unevenly.
fn feed(seed: u64) -> Plan {
    Plan::new(seed).uneven((START, END), Nanos::from_micros(500), 2, 0, 200)
}

fn scene(arm: &'static str, seed: u64) -> Scene {
    let holds = if arm == TWIN { &[][..] } else { &HOLDS[..] };
    let hold =
        |&(from, us): &(Nanos, u64)| Hold { from, frames: 256, time: Nanos::from_micros(us) };
    let ends = holds.iter().skip(1).map(|(from, _)| *from).chain([END]);
    let mark = |(&(from, us), to): (&(Nanos, u64), Nanos)| Mark {
        what: format!("held for {us} us"),
        from,
        to,
    };
    let think = Nanos::from_micros(20);
    let strategy = Strategy::new(Reaction { trigger: Trigger::Every(30), think }, seed);
    let venue = Sender::new(Way::FromVenue, feed(seed));
    Scene {
        inside: Box::new(Reactor::new(strategy, PORT_FIRST)),
        venue: Box::new(Coalescing::new(venue, PORT_FIRST, holds.iter().map(hold).collect())),
        marks: holds.iter().zip(ends).map(mark).collect(),
        ..Scene::until(END)
    }
}

fn expect() -> Vec<Expectation> {
    let machine =
        |expect| Expectation::Machine { arm: ARM, machine: MACHINE, scope: SCOPE, expect };
    let median = |watch, (from, to)| (ARM, Figure::Median(watch, from, to));
    let longer = |watch, from: (Nanos, Nanos), to: (Nanos, Nanos)| Expectation::Ratio {
        of: median(watch, to),
        to: median(watch, from),
        is: Is::Above(1.0),
    };
    let [short, long, longest] = LONGER;
    let rises = |watch| [longer(watch, short, long), longer(watch, long, longest)];
    let figure = |figure, is| Expectation::Figure { arm: ARM, figure, is };
    let mut all = vec![
        machine(Expect::Enters("DELIVERY_CLUSTERED", HOLDS[1].0, HOLDS[2].0)),
        machine(Expect::Enters("PHASE_LOCKED", HOLDS[2].0, HOLDS[3].0)),
        // Its entry has held for ten seconds.
        machine(Expect::Enters("SAFE_PACING", ms(16_500), END)),
        machine(Expect::Order(&["DELIVERY_CLUSTERED", "PHASE_LOCKED", "SAFE_PACING"])),
        machine(Expect::TransitionsAtMost(3)),
        // The 3 ms from upstream, and nothing of the gateway's 100 us.
        figure(Figure::Highest(DELAY, LONGER[2].0, LONGER[2].1), Is::AtMost(3_040_000.0)),
        figure(Figure::Lowest("signal weight", START, END), Is::Exactly(0.5)),
    ];
    all.extend([DELAY, BDC, DBC].into_iter().flat_map(rises));
    // Of 2 ms and 3 ms a second has too few deliveries to tell one 95th percentile of gaps from the other.
    all.extend([longer(MDDR, short, long), longer(MDDR, short, longest)]);
    all
}

fn expect_of_twin() -> Vec<Expectation> {
    let figure = |figure, is| Expectation::Figure { arm: TWIN, figure, is };
    vec![
        Expectation::Machines { arm: TWIN, expect: Expect::Stays },
        figure(Figure::Highest(DBC, START, END), Is::Below(0.3)),
        figure(Figure::Lowest("signal weight", START, END), Is::Exactly(1.0)),
    ]
}
