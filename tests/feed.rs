//! What a receiver that holds back does to those who act on a feed, and what a sender that flushes does to
//! the venue: replays of generated traffic, through the real lane with its own holds.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use rig::capture::CaptureReader;
use serde_json::Value;
use support::captures::{Pcap, pcap};
use support::commands::wirepace;
use support::frames::udp;
use tempfile::TempDir;

const HOLDS_US: [u64; 4] = [0, 250, 1_000, 4_000];

/// A gateway that paces nothing: what is seen is what receivers and senders do. `QUEUE` and `ORDERS`
/// stand for more keys.
const CONFIG: &str = r#"
[gateway]
name = "feed"
clock = "virtual"
seed = 1

[control]
http = "off"
sample_one_in = 1

[[port]]
name = "strategies"
side = "inside"
device = "capture"

[[port]]
name = "venue-a"
side = "venue"
device = "capture"
rx_queues = 2

[[port.queue]]
index = 1
classes = ["feed"]
QUEUE

[[pair]]
inside = "strategies"
venue = "venue-a"

[default_class]
inside = "other-out"
venue = "from-venue"

[[class]]
name = "orders"
kind = "order"
ORDERS

[[class]]
name = "other-out"

[[class]]
name = "from-venue"
from = "venue"

[[class]]
name = "feed"
kind = "market_data"
from = "venue"

[[rule]]
class = "orders"
protocol = "udp"
dst = "10.9.0.0/24"
dst_port = "7000-7009"

[[rule]]
class = "feed"
protocol = "udp"
dst = "224.0.0.0/4"
"#;

struct Desk {
    directory: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self, queue: &str, orders: &str) -> PathBuf {
        let path = self.path("feed.toml");
        fs::write(&path, CONFIG.replace("QUEUE", queue).replace("ORDERS", orders)).unwrap();
        path
    }

    /// Two seconds of market data at 20,000 frames/s, in bursts.
    fn feed(&self, seed: u64) -> PathBuf {
        let (path, seed) = (self.path("feed.pcap"), seed.to_string());
        let out = path.to_str().unwrap();
        let ran = wirepace([
            "generate",
            "--kind",
            "market-data",
            "--feed-rate",
            "20000",
            "--seconds",
            "2",
            "--seed",
            &seed,
            "--out",
            out,
            "--json",
        ]);
        let frames = ran.json()["frames"].as_u64().unwrap();
        assert!((36_000..44_000).contains(&frames), "{frames} frames in two seconds");
        path
    }

    /// A replay, to its end and with every packet accounted for.
    #[track_caller]
    fn replay(&self, config: &Path, options: &[&str]) -> Value {
        let paced = self.path("paced.pcapng");
        let fixed = [
            "replay",
            "--json",
            "--config",
            config.to_str().unwrap(),
            "--out",
            paced.to_str().unwrap(),
        ];
        let ran = wirepace(fixed.iter().chain(options));
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        ran.json()
    }

    /// Orders at these times, ns after the start.
    fn orders(&self, times: impl Iterator<Item = u64>) -> PathBuf {
        let frame = udp([10, 1, 0, 1], 40_000, [10, 9, 0, 1], 7_000, &[0; 58]);
        let frames: Vec<_> = times.map(|t| (1_736_173_800_000_000_000 + t, &frame)).collect();
        let path = self.path("orders.pcap");
        fs::write(&path, pcap(Pcap { big: false, nanoseconds: true }, &frames)).unwrap();
        path
    }

    /// What the orders of a capture come to.
    fn paced(&self, orders: &str, capture: &Path) -> Value {
        self.replay(&self.config("", orders), &["--in", capture.to_str().unwrap()])
    }
}

/// A value of the only series of `kpi` for a class.
#[track_caller]
fn value(json: &Value, kpi: &str, class: &str, value: &str) -> f64 {
    let series = json["kpis"][kpi]["series"].as_array().unwrap();
    let mut of_class = series.iter().filter(|series| series["class"] == class);
    let found = of_class.next().unwrap_or_else(|| panic!("no {kpi} of {class}: {series:#?}"));
    assert!(of_class.next().is_none(), "two {kpi} of {class}");
    found[value].as_f64().unwrap_or_else(|| panic!("{kpi} of {class} has no {value}: {found:#}"))
}

/// The share of frames that were delivered at the very time of the one before.
fn batched(delivered: &Path) -> f64 {
    let mut reader = CaptureReader::open(delivered).unwrap();
    let (mut all, mut together, mut last) = (0_u32, 0_u32, None);
    while let Some(record) = reader.next().unwrap() {
        all += 1;
        together += u32::from(last == Some(record.t));
        last = Some(record.t);
    }
    f64::from(together) / f64::from(all)
}

fn is_near(found: f64, exact: f64) -> bool {
    (found - exact).abs() <= exact * 0.01
}

#[test]
fn longer_holds_delay_distort_concentrate_and_couple() {
    for seed in [1, 2, 3] {
        let desk = Desk::new();
        let feed = desk.feed(seed);
        let delivered = desk.path("delivered.pcapng");
        let options = [
            "--from-venue",
            feed.to_str().unwrap(),
            "--delivered",
            delivered.to_str().unwrap(),
            "--react",
            "0.1",
            "--think",
            "20us",
        ];
        let (mut delay, mut distortion) = (Vec::new(), Vec::new());
        let (mut concentration, mut coupling) = (Vec::new(), Vec::new());
        for hold in HOLDS_US {
            let queue = match hold {
                0 => String::new(),
                hold => format!("hold_frames = 256\nhold_time = \"{hold}us\""),
            };
            let json = desk.replay(&desk.config(&queue, ""), &options);
            let feed = |kpi, of| value(&json, kpi, "feed", of);
            delay.push(feed("delivery_delay_ns", "p95"));
            distortion.push(feed("market_data_distortion_ratio", "ratio"));
            concentration.push(feed("burst_delivery_concentration", "excess"));
            coupling.push(feed("decision_burst_coupling", "excess"));
            if hold >= 1_000 {
                let share = batched(&delivered);
                assert!(share >= 0.95, "{share} of the frames are delivered with others");
                assert!(distortion.last().unwrap() > &1.0, "time is stretched all the same");
            }
        }
        let said = format!(
            "seed {seed}: delay {delay:?}, distortion {distortion:?}, concentration \
             {concentration:?}, coupling {coupling:?}"
        );
        assert!(delay.is_sorted_by(|a, b| a < b), "{said}");
        assert!(distortion.is_sorted_by(|a, b| a < b), "{said}");
        assert!(concentration.is_sorted(), "{said}");
        assert!(coupling.is_sorted_by(|a, b| a < b), "{said}");
        // Delivered as it came: nothing is stretched, bunched or coupled by it.
        assert_eq!((delay[0], distortion[0]), (0.0, 1.0), "{said}");
        assert_eq!((concentration[0], coupling[0]), (1.0, 0.0), "{said}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_in_both_directions() {
    let desk = Desk::new();
    let feed = desk.feed(1);
    let config = desk.config("hold_frames = 256\nhold_time = \"250us\"", "");
    let (paced, delivered) = (desk.path("paced.pcapng"), desk.path("delivered.pcapng"));
    let run = |seed: &str| {
        let options = [
            "--from-venue",
            feed.to_str().unwrap(),
            "--delivered",
            delivered.to_str().unwrap(),
            "--react",
            "0.1",
            "--seed",
            seed,
        ];
        let mut json = desk.replay(&config, &options);
        assert!(json.as_object_mut().unwrap().remove("host").is_some());
        (json, fs::read(&paced).unwrap(), fs::read(&delivered).unwrap())
    };
    let (one, two, other) = (run("7"), run("7"), run("8"));
    assert!(one == two);
    assert!(one.1 != other.1 && one.2 == other.2, "the seed draws orders and holds back nothing");
}

/// What is not market data is not held: it overtakes, and arrivals stay those of the capture.
#[test]
fn only_the_queue_of_the_feed_holds() {
    let desk = Desk::new();
    let feed = udp([10, 200, 0, 1], 26_400, [233, 54, 12, 1], 26_400, &[0; 100]);
    let answer = udp([10, 9, 0, 1], 7_000, [10, 1, 0, 1], 40_000, &[0; 30]);
    let start = 1_736_173_800_000_000_000;
    let frames: Vec<_> = (0..60_u64)
        .flat_map(|n| {
            let at = start + n * 3_000_000;
            [(at, &feed), (at + 100_000, &answer), (at + 200_000, &feed)]
        })
        .collect();
    let capture = desk.path("venue.pcap");
    fs::write(&capture, pcap(Pcap { big: false, nanoseconds: true }, &frames)).unwrap();
    let config = desk.config("hold_frames = 16\nhold_time = \"1ms\"", "");
    let json = desk.replay(&config, &["--from-venue", capture.to_str().unwrap()]);
    let delay = |class, of| value(&json, "delivery_delay_ns", class, of);
    assert_eq!((delay("from-venue", "max"), delay("feed", "max")), (0.0, 1_000_000.0));
    assert!(is_near(delay("feed", "p50"), 800_000.0), "the second of each hold");
    assert_eq!(json["timestamps_backwards"], 0);
    let drift = json["kpis"]["causality_drift"]["series"][0]["drift"].as_f64();
    assert_eq!(drift, Some(1.0), "each answer overtook the frame that came before it");
}

/// 10,000 orders/s, one each 100 us, that a release window of 10 ms flushes together. FCI: 100 in the
/// window (300 us) of each packet, and most windows empty: 100. BI: 100 against 3 when they were due.
#[test]
fn a_flow_that_is_flushed_every_ten_ms_reads_100_and_33() {
    let desk = Desk::new();
    let capture = desk.orders((0..10_000).map(|n| n * 100_000));
    let flushed =
        "cadence = \"100us\"\nhold_frames = 100\nhold_time = \"10ms\"\nmax_hold = \"50ms\"";
    let json = desk.paced(flushed, &capture);
    assert_eq!(value(&json, "flush_compression_index", "orders", "index"), 100.0);
    let excess = value(&json, "burstiness_index", "orders", "excess");
    assert!(is_near(excess, 100.0 / 3.0), "{excess}");
}

/// On time there are 3 in each window; without a cadence, in windows of 250 us, 2 and 3 by turns.
#[test]
fn a_flow_that_leaves_on_time_reads_1() {
    let desk = Desk::new();
    let capture = desk.orders((0..10_000).map(|n| n * 100_000));
    for (keys, index) in [("cadence = \"100us\"", 1.0), ("", 1.5)] {
        let json = desk.paced(keys, &capture);
        assert_eq!(value(&json, "flush_compression_index", "orders", "index"), index, "{keys}");
        assert_eq!(value(&json, "burstiness_index", "orders", "excess"), 1.0, "{keys}");
    }
}

#[test]
fn a_quiet_flow_reads_1() {
    let desk = Desk::new();
    let json = desk.paced("", &desk.orders((0..300).map(|n| n * 10_000_000)));
    assert_eq!(value(&json, "burstiness_index", "orders", "excess"), 1.0);
    assert!(is_near(value(&json, "burstiness_index", "orders", "bi"), 1.0 / 300.0), "{json:#}");
}
