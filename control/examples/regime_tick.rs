//! What a tick of the regime engine costs this machine: 64 classes, every machine over every scope.
//!
//! `cargo run --release -p wirepace-control --example regime_tick`. Prints one line of JSON.
#![allow(clippy::unwrap_used, reason = "a rig that cannot go on has failed")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use control::controller::{CoreFacts, Kpis};
use control::kpis::PacketKpis;
use control::regimes::{RegimeSettings, Regimes};
use model::config::Config;
use model::kind::Side;
use model::kpi::{Block, CompletionFigures, CoreAggregates, Departure, FlowKpi, KpiPlan, PortPlan};
use model::meta::PacketMeta;
use model::sample::{DepartureSource, Release};
use model::time::Nanos;
use serde_json::json;

/// Classes from inside, and feeds.
const INSIDE: usize = 48;
const FEEDS: usize = 16;
/// Until windows of 60 s are full, and then those that are measured.
const WARM_UP: u64 = 620;
const MEASURED: u64 = 300;
/// Packets of each class in a tick.
const PACKETS: u64 = 40;
const TICK: Nanos = Nanos::from_millis(100);
const START: Nanos = Nanos::from_secs(1_000);

fn config() -> Config {
    let mut text = String::from(
        "[gateway]\nname = \"gw\"\nclock = \"virtual\"\n\
         [[port]]\nname = \"in\"\nside = \"inside\"\ndevice = \"capture\"\n\
         [[port]]\nname = \"out\"\nside = \"venue\"\ndevice = \"capture\"\nrate = \"10G\"\n\
         [[pair]]\ninside = \"in\"\nvenue = \"out\"\n\
         [default_class]\ninside = \"c0\"\nvenue = \"f0\"\n\
         [dpdk]\nmbufs = 65535\n\
         [regime]\nmode = \"shadow\"\n",
    );
    for n in 0..INSIDE {
        let class = format!("[[class]]\nname = \"c{n}\"\ncadence = \"1ms\"\nqueue_packets = 256\n");
        text.push_str(&class);
    }
    for n in 0..FEEDS {
        let class = "from = \"venue\"\nkind = \"market_data\"\nqueue_packets = 256";
        // Writing to a String cannot fail.
        let _ = writeln!(text, "[[class]]\nname = \"f{n}\"\n{class}");
    }
    Config::from_toml("tick.toml", &text).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn port(config: &Config, index: usize) -> PortPlan {
    PortPlan {
        index: index as u8,
        name: config.ports[index].name.clone(),
        side: config.ports[index].side,
        departure: DepartureSource::Virtual,
        completion: CompletionFigures::Measured,
        stall_time: config.ports[index].stall_time,
        tx_descriptors: 1_024,
        link_bits_per_s: Some(10_000_000_000),
    }
}

fn main() {
    let config = config();
    let plan = KpiPlan::new(&config, vec![port(&config, 1), port(&config, 0)]);
    let mut core = CoreAggregates::new(&plan);
    let mut kpis = PacketKpis::new(vec![plan.clone()], config.profiles.clone()).sliding(TICK);
    let settings = RegimeSettings::new(&config, "env".into()).unwrap();
    let mut regimes = Regimes::new(settings, START);
    let mut spare = Some(Box::new(Block::new(&plan)));
    let mut flows = vec![FlowKpi::default(); INSIDE + FEEDS];
    let mut costs: Vec<Duration> = Vec::new();
    let mut now = START;
    for tick in 0..WARM_UP + MEASURED {
        for (class, flow) in flows.iter_mut().enumerate() {
            let leaves_by = if config.classes[class].from == Side::Inside { 1 } else { 0 };
            for n in 0..PACKETS {
                let due = now + Nanos(n * TICK.0 / PACKETS + class as u64);
                let meta = PacketMeta {
                    arrival: due,
                    due,
                    sched: due,
                    len: 200,
                    class: class as u8,
                    ..PacketMeta::default()
                };
                core.on_arrival(leaves_by, Some(meta.class), 200, due);
                let out = due + Nanos(3_000 + n * 10);
                let departure = Departure {
                    meta: &meta,
                    port: leaves_by,
                    t_eligible: due,
                    t_tx: out,
                    t_wire: out,
                    release: Release::Governed,
                    bucket_held: false,
                    link_wait: Nanos::ZERO,
                };
                core.on_departure(&departure, flow);
            }
        }
        now = now + TICK;
        let Some(empty) = spare.take() else { break };
        let mut full = core.swap(now, empty);
        kpis.merge(0, &mut full);
        spare = Some(full);
        kpis.roll(now, &[CoreFacts { profile: 0, samples_lost: 0 }]);
        let began = Instant::now();
        let windows_s = regimes.due(now).unwrap_or_default();
        let windows = kpis.windows(&windows_s);
        regimes.tick(now, &windows, false);
        if tick >= WARM_UP {
            costs.push(began.elapsed());
        }
    }
    costs.sort_unstable();
    let us = |q: f64| costs[((costs.len() - 1) as f64 * q) as usize].as_nanos() as f64 / 1e3;
    let machines = regimes.to_json(now)["machines"].as_array().map_or(0, Vec::len);
    let tick_us = json!({"p50": us(0.5), "p90": us(0.9), "p99": us(0.99), "max": us(1.0)});
    println!(
        "{}",
        json!({
            "classes": INSIDE + FEEDS,
            "machines": machines,
            "ticks": costs.len(),
            "tick_us": tick_us,
            "share_of_tick": us(0.5) / (TICK.0 as f64 / 1e3),
        })
    );
}
