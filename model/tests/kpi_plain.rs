//! What left as it came is counted the short way exactly as the long way would have.

use model::kind::{Kind, Side};
use model::kpi::{
    Block, ClassPlan, CompletionFigures, CoreAggregates, Departure, FlowKpi, KpiPlan, Leaving,
    PortPlan, URGENT,
};
use model::meta::{IntentSource, PacketMeta, StampSource};
use model::sample::{DepartureSource, Release};
use model::time::Nanos;
use proptest::prelude::*;

const FLOWS: usize = 5;

fn plan() -> KpiPlan {
    let class = |name: &str, cadence, max_hold| ClassPlan {
        name: name.into(),
        arm: None,
        kind: Kind::Order,
        from: Side::Inside,
        cadence,
        max_hold,
    };
    KpiPlan {
        limits: Vec::new(),
        classes: vec![
            class("a", None, Nanos::from_micros(3)),
            class("b", Some(Nanos::from_micros(100)), Nanos::MAX),
        ],
        ports: vec![PortPlan {
            index: 0,
            name: "venue".into(),
            side: Side::Venue,
            departure: DepartureSource::Modelled,
            completion: CompletionFigures::Simulated,
            stall_time: Nanos::from_millis(5),
            tx_descriptors: 64,
            link_bits_per_s: None,
        }],
        urgent: URGENT,
    }
}

/// A packet of a burst.
#[derive(Clone, Debug)]
struct Packet {
    class: u8,
    flow: usize,
    len: u16,
    messages: u16,
    urgency: u8,
    source: StampSource,
    /// Behind the acceptance.
    wire: u64,
    /// It waited, so that it goes the long way on both cores.
    waited: bool,
}

impl Packet {
    /// Of a burst that arrived at `at` and was accepted `took` later.
    fn meta(&self, at: Nanos, took: u64) -> PacketMeta {
        let waits = if self.waited { took / 2 } else { 0 };
        let mut meta = PacketMeta {
            arrival: at,
            due: at,
            sched: Nanos(at.0 + waits),
            class: self.class,
            len: self.len,
            messages: self.messages,
            urgency: self.urgency,
            ..PacketMeta::default()
        };
        meta.set_sources(self.source, IntentSource::Implicit);
        meta
    }
}

/// One core and its control.
struct Core {
    aggregates: CoreAggregates,
    sum: Block,
    flows: [FlowKpi; FLOWS],
    short: bool,
}

impl Core {
    fn new(short: bool) -> Self {
        Self {
            aggregates: CoreAggregates::new(&plan()),
            sum: Block::new(&plan()),
            flows: [FlowKpi::default(); FLOWS],
            short,
        }
    }

    /// A burst arrives at `at` and is accepted `took` later; `back` = the clock went back.
    fn burst(&mut self, at: Nanos, took: u64, back: bool, packets: &[Packet]) {
        // What leaves at once is never counted as waiting.
        for p in packets.iter().filter(|p| p.waited) {
            self.aggregates.on_arrival(0, Some(p.class), u32::from(p.len), at);
        }
        let t_tx = if back { Nanos(at.0 - took) } else { Nanos(at.0 + took) };
        let burst = self.aggregates.begin_burst(0, at, t_tx);
        let mut leaving = Vec::new();
        for p in packets {
            let mut packet = Leaving::new(p.flow as u32, p.waited, &p.meta(at, took));
            packet.t_wire = t_tx.saturating_add(Nanos(p.wire));
            leaving.push(packet);
        }
        let mut place = 0;
        while place < packets.len() {
            let (rest, flows) = (&leaving[place..], &mut self.flows);
            let plain = match self.short {
                true => self.aggregates.on_plains(&burst, rest, flows, |_| {}),
                false => 0,
            };
            assert!(leaving[place..][..plain].iter().all(|packet| !packet.is_aside));
            place += plain;
            let (Some(p), Some(of)) = (packets.get(place), leaving.get(place)) else { break };
            if self.short && !p.waited {
                self.aggregates.on_odd_plain(&burst, of, &mut self.flows[p.flow]);
            } else {
                self.depart(p, (at, took), (t_tx, of.t_wire));
            }
            place += 1;
        }
    }

    /// The long way.
    fn depart(&mut self, p: &Packet, (at, took): (Nanos, u64), (t_tx, t_wire): (Nanos, Nanos)) {
        let meta = p.meta(at, took);
        if !p.waited {
            self.aggregates.on_arrival(0, Some(p.class), u32::from(p.len), at);
        }
        let departure = Departure {
            meta: &meta,
            port: 0,
            t_eligible: meta.sched,
            t_tx,
            t_wire,
            release: Release::Governed,
            bucket_held: p.waited,
            link_wait: Nanos::ZERO,
        };
        self.aggregates.on_departure(&departure, &mut self.flows[p.flow]);
    }

    fn tick(&mut self, now: Nanos) {
        let full = self.aggregates.swap(now, Box::new(Block::new(&plan())));
        self.sum.merge(&full);
    }
}

fn packet() -> impl Strategy<Value = Packet> {
    let urgency = prop_oneof![Just(URGENT), Just(URGENT - 1), any::<u8>()];
    let source = prop_oneof![Just(StampSource::Tsc), Just(StampSource::Nic)];
    let traits = (urgency, source);
    (0u8..2, 0..FLOWS, 40u16..1_600, 0u16..3, traits, 0u64..5_000, prop::bool::weighted(0.2))
        .prop_map(|(class, flow, len, messages, (urgency, source), wire, waited)| Packet {
            class,
            flow,
            len,
            messages,
            urgency,
            source,
            wire,
            waited,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn both_ways_give_the_same_block(
        bursts in prop::collection::vec(
            (0u64..40_000_000, 0u64..9_000, prop::bool::weighted(0.05), prop::bool::weighted(0.1),
             prop::collection::vec(packet(), 1..12)),
            1..40,
        ),
    ) {
        let (mut long, mut short) = (Core::new(false), Core::new(true));
        let mut now = Nanos::from_secs(1_000);
        for (idle, took, back, tick, packets) in &bursts {
            now = Nanos(now.0 + idle + 20_000);
            for core in [&mut long, &mut short] {
                core.burst(now, *took, *back, packets);
                if *tick {
                    core.tick(now);
                }
            }
        }
        for core in [&mut long, &mut short] {
            core.aggregates.flush();
            core.tick(now);
            for cell in &mut core.sum.cells {
                // The long way counts everything that comes as waiting.
                (cell.backlog_packets_max, cell.backlog_bytes_max) = (0, 0);
            }
        }
        // Every field of every cell, every histogram cell by cell.
        prop_assert_eq!(format!("{:?}", long.sum), format!("{:?}", short.sum));
        prop_assert_eq!(long.flows, short.flows);
        prop_assert!(long.sum.cells.iter().any(|cell| cell.departed.packets > 0));
    }
}
