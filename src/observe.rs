//! `wirepace observe`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use control::exporter::Exporter;
use control::registry::Provenance;
use control::timeline::{Timeline, Written};
use model::config::Config;
use model::kpi::kernel::ARM;
use model::kpi::{Entry, Report};
use model::time::Nanos;
use rig::observe::clock::Clock;
use rig::observe::{ObserveError, Observed, Observer, kpis_json};
use serde_json::{Value, json};

use crate::cli::Observe;

/// A signal is heeded within so long.
const SIGNAL_WAIT: Nanos = Nanos::from_millis(50);
/// How often a long run says that it goes on.
const PROGRESS_EVERY: Nanos = Nanos::from_secs(10);

/// What is shown to people, in this order, where it is there.
const SHOWN: [&str; 12] = [
    "burstiness_index",
    "burst_bytes",
    "wire_serialization_ns",
    "dispatch_to_wire_ns",
    "not_sent_bytes",
    "send_queue_bytes",
    "pacing_headroom",
    "cap_hit_ratio",
    "byte_queue_utilization",
    "wire_to_ack_ns",
    "run_queue_delay_ns",
    "drops",
];

/// Runs it.
pub fn main(args: &Observe) -> u8 {
    let config = match crate::config::load(&args.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if config.observe.is_none() {
        return crate::refused(format_args!(
            "{}: there is no [observe]: see configs/observe.toml",
            args.config.display()
        ));
    }
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    match observe(&config, args) {
        Ok(Ended { observed, written, early }) => {
            if args.json {
                crate::print_json(&json_of(&config, &observed, written.as_ref()));
            } else {
                print(&observed, written.as_ref());
            }
            early.map_or(crate::EXIT_DONE, crate::failed)
        }
        Err(error) => crate::failed(error),
    }
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// An observation that is over.
struct Ended {
    observed: Observed,
    written: Option<Written>,
    /// Why it ended before its time.
    early: Option<ObserveError>,
}

fn observe(config: &Config, args: &Observe) -> Result<Ended> {
    let stop = crate::interrupt::flag()?;
    let exporter = config.control.http.map(Exporter::start).transpose()?;
    let timeline = crate::timeline::start(config)?;
    let clock = Clock::start();
    let mut observer = Observer::open(config, clock, timeline.as_ref().map(Timeline::recorder))?;
    let began = clock.now();
    let host = crate::host::name();
    let provenance = |now| Provenance {
        host: Some(host.clone()),
        session: config.control.sessions.at(clock.utc(now)),
    };
    if let Some(exporter) = &exporter {
        tracing::info!("KPIs at http://{}/metrics", exporter.address());
        exporter.show(observer.status(), observer.registry(), provenance(began));
    }
    let length = args.duration.map(|length: Duration| Nanos(length.as_nanos() as u64));
    let length = length.or(config.observe.as_ref().and_then(|observe| observe.duration));
    let end = length.map_or(Nanos::MAX, |length| began.saturating_add(length));
    let mut told = began;
    let early = loop {
        let now = clock.now();
        if now >= end || stop.load(Ordering::Relaxed) {
            break None;
        }
        let interval_ended = match observer.turn(now) {
            Ok(ended) => ended,
            Err(gone) => break Some(gone),
        };
        if interval_ended {
            if let Some(exporter) = &exporter {
                exporter.show(observer.status(), observer.registry(), provenance(now));
            }
            if now.saturating_sub(told) >= PROGRESS_EVERY {
                told = now;
                let so_far = Duration::from_secs(now.saturating_sub(began).0 / 1_000_000_000);
                tracing::info!("observed for {so_far:?}, {} frames so far", observer.packets());
            }
        }
        clock.sleep(observer.next_due().min(end).min(now.saturating_add(SIGNAL_WAIT)));
    };
    let observed = observer.finish(clock.now());
    Ok(Ended { observed, written: timeline.map(crate::timeline::finish), early })
}

fn json_of(config: &Config, observed: &Observed, written: Option<&Written>) -> Value {
    let mut object = json!({
        "arm": ARM,
        "duration_s": observed.duration.0 as f64 / 1e9,
        "packets_out": observed.totals.packets_out,
        "bytes_out": observed.totals.bytes_out,
        "kpis": kpis_json(&observed.report),
        "capture": observed.counts.json(),
        "environment": observed.environment,
        "config_digest": config.digest,
        "host": crate::host::machine(),
    });
    if let (Value::Object(object), Some(written)) = (&mut object, written) {
        object.insert("timeline".to_owned(), crate::summary::timeline(written));
    }
    object
}

fn print(observed: &Observed, written: Option<&Written>) {
    let environment = &observed.environment;
    out!(
        "kernel path of {} for {:.3} s: {} frames, {} bytes",
        environment["interface"].as_str().unwrap_or_default(),
        observed.duration.0 as f64 / 1e9,
        observed.totals.packets_out,
        observed.totals.bytes_out
    );
    for lack in environment["missing"].as_array().into_iter().flatten() {
        let word = |key: &str| lack[key].as_str().unwrap_or_default();
        out!("missing   {:<16} {}", word("source"), word("reason"));
    }
    bursts(observed).iter().for_each(|line| out!("{line}"));
    shown(&observed.report);
    out!("capture   {}", observed.counts.json());
    if let Some(written) = written {
        out!("timeline  {}", crate::summary::timeline(written));
    }
}

/// How each class leaves: small writes that something gathers are seen at once.
fn bursts(observed: &Observed) -> Vec<String> {
    let line = |entry: &Entry| {
        let (half, most) = (entry.value("p50")?, entry.value("max")?);
        let every_ms = observed.duration.0 as f64 / 1e6 / entry.n as f64;
        Some(format!(
            "bursts    {:<16} leaves {half:.0} bytes at a time (half of the bursts have more), at most {most:.0}; \
             {} bursts, one every {every_ms:.2} ms",
            entry.labels.class.as_deref().unwrap_or_default(),
            entry.n
        ))
    };
    observed.report.of("burst_bytes").filter_map(line).collect()
}

fn shown(report: &Report) {
    for name in SHOWN {
        for entry in report.of(name) {
            let labels = &entry.labels;
            let said = match entry.absent {
                Some(reason) if entry.values.iter().all(|(_, value)| value.is_none()) => {
                    format!("absent: {reason}")
                }
                _ => crate::summary::values(entry),
            };
            out!(
                "{name:<24} {:<12} {:<14} {:<14} n {:<8} {said}",
                labels.port.as_deref().unwrap_or(""),
                labels.class.as_deref().unwrap_or(""),
                labels.part.unwrap_or(""),
                entry.n,
            );
        }
    }
}
