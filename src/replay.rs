//! `wirepace replay`.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use control::timeline::Place;
use dataplane::eal::Eal;
use model::config::{ClockKind, Config};
use model::regime::selectable;
use model::time::Nanos;
use rig::drill::model::reactive::{Reaction, Trigger};
use rig::replay::{Options, Outcome, replay};
use serde_json::{Map, Value, json};

use crate::cli::Replay;
use crate::summary::Summary;

/// Runs it.
pub fn main(args: &Replay) -> u8 {
    let mut config = match crate::config::load(&args.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if config.gateway.clock != ClockKind::Virtual {
        return crate::refused(format_args!(
            "{}: replay needs clock = \"virtual\"; `wirepace run` is for real time",
            args.config.display()
        ));
    }
    if let Some(seed) = args.seed {
        config.gateway.seed = seed;
    }
    let profile = match take_profile(&mut config, args.profile.as_deref()) {
        Ok(profile) => profile,
        Err(why) => return crate::refused(why),
    };
    if args.freeze && config.regime.baselines.is_none() {
        return crate::refused("--freeze: the config has no [regime] baselines to keep them in");
    }
    if let Err(why) = refuse_overwriting(args) {
        return crate::refused(why);
    }
    // Made first: a long replay must not fail on its last line.
    let kpis = match args.kpis.as_deref().map(File::create).transpose() {
        Ok(kpis) => kpis,
        Err(error) => return failed_to_write(args.kpis.as_deref(), &error),
    };
    let steal = crate::host::steal_s();
    let options = Options {
        input: args.input.clone(),
        output: args.out.clone(),
        from_venue: args.from_venue.clone(),
        delivered: args.delivered.clone(),
        reaction: args.react.map(|ppm| Reaction {
            trigger: Trigger::Share(ppm),
            think: Nanos(u64::try_from(args.think.as_nanos()).unwrap_or(u64::MAX)),
        }),
        via_pmd: args.via_pmd,
        profile,
        timeline: args.timeline.clone(),
        freezes: args.freeze,
    };
    let outcome = match replay(&config, &options) {
        Ok(outcome) => outcome,
        Err(error) => return crate::failed(error),
    };
    let fault = outcome.capture_fault.as_ref().map(ToString::to_string);
    let not_frozen = outcome.frozen.as_ref().and_then(|reply| reply["error"].as_str());
    let not_frozen = not_frozen.map(str::to_owned);
    let book_faults = outcome.book_faults;
    let summary = summary(&config.digest, outcome, steal);
    if let Some(mut file) = kpis
        && let Err(error) = writeln!(file, "{:#}", summary.report.kpis_json())
    {
        return failed_to_write(args.kpis.as_deref(), &error);
    }
    if args.json {
        crate::print_json(&summary.json());
    } else {
        summary.print();
    }
    if let Some(fault) = fault {
        return crate::failed(format_args!("the capture was replayed up to a fault: {fault}"));
    }
    if let Some(why) = not_frozen {
        return crate::failed(format_args!("nothing was frozen: {why}"));
    }
    let t = &summary.totals;
    let balanced = summary.is_conserved() && t.held == 0 && summary.mbufs_leaked == 0;
    if !balanced || t.early > 0 || book_faults > 0 {
        return crate::failed("the books do not balance: this is a defect of wirepace");
    }
    crate::EXIT_DONE
}

fn summary(digest: &str, outcome: Outcome, steal_before: Option<f64>) -> Summary {
    let steal_s = crate::host::steal_s().zip(steal_before).map(|(after, before)| after - before);
    let loop_s = outcome.host.wall_of_loop.as_secs_f64();
    Summary {
        notes: notes(&outcome),
        host: json!({
            "mpps": outcome.totals.packets_out as f64 / loop_s / 1e6,
            "cycles_per_packet": crate::summary::cycles_per_packet(&outcome.report),
            "wall_s": outcome.host.wall.as_secs_f64(),
            "steal_s": steal_s,
            "tsc_hz": outcome.host.tsc_hz,
            "machine": crate::host::machine(),
        }),
        totals: outcome.totals,
        report: outcome.report,
        regime_transitions: outcome.regimes.transitions().to_vec(),
        duration: outcome.duration,
        device_lost: outcome.device_lost,
        mbufs_leaked: outcome.mbufs_leaked,
        config_digest: digest.to_owned(),
        dpdk_version: Eal::version(),
    }
}

fn notes(outcome: &Outcome) -> Map<String, Value> {
    let mut notes = Map::new();
    for (name, value) in [
        ("timestamps_backwards", outcome.stamps_backwards),
        ("flow_table_full", outcome.flow_table_full),
        ("over_budget", outcome.over_budget),
    ] {
        notes.insert(name.to_owned(), json!(value));
    }
    notes.insert("alarms".to_owned(), json!(outcome.alarms));
    if let Some(reply) = &outcome.frozen {
        notes.insert("frozen".to_owned(), reply.clone());
    }
    if let Some(written) = &outcome.timeline {
        notes.insert("timeline".to_owned(), crate::summary::timeline(written));
    }
    if let Some(fault) = &outcome.capture_fault {
        notes.insert("capture_fault".to_owned(), json!(fault.to_string()));
    }
    notes
}

fn failed_to_write(path: Option<&Path>, error: &std::io::Error) -> u8 {
    crate::failed(format_args!(
        "{}: cannot write: {error}",
        path.unwrap_or(Path::new("")).display()
    ))
}

/// The index of the profile to run by. A replay under one knows the built-in ones too.
fn take_profile(config: &mut Config, wanted: Option<&str>) -> Result<usize, String> {
    let Some(wanted) = wanted else { return Ok(0) };
    config.profiles = selectable(config);
    config.profiles.iter().position(|profile| profile.name == wanted).ok_or_else(|| {
        let known: Vec<_> = config.profiles.iter().map(|profile| profile.name.as_str()).collect();
        format!("--profile {wanted}: allowed are {}", known.join(", "))
    })
}

/// An output that is the config, the capture or the other output would destroy it.
fn refuse_overwriting(args: &Replay) -> Result<(), String> {
    let out = Some(("--out", args.out.as_path()));
    let kpis = args.kpis.as_deref().map(|path| ("--kpis", path));
    let delivered = args.delivered.as_deref().map(|path| ("--delivered", path));
    let timeline = args.timeline.as_deref().map(Place::beside);
    let timeline = timeline.iter().flatten().map(|path| ("--timeline", path.as_path()));
    let written: Vec<_> = [out, kpis, delivered].into_iter().flatten().chain(timeline).collect();
    let read = [("--in", &args.input), ("--from-venue", &args.from_venue)];
    let read = read.iter().filter_map(|(name, path)| Some((*name, path.as_deref()?)));
    let read: Vec<_> = read.chain([("--config", args.config.as_path())]).collect();
    for &(name, path) in &written {
        for &(other_name, other) in read.iter().chain(&written) {
            if name != other_name && is_same_file(path, other) {
                return Err(format!("{name} {} is also {other_name}", path.display()));
            }
        }
    }
    Ok(())
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    match (a.metadata(), b.metadata()) {
        // Devices such as /dev/null take everything from everybody.
        (Ok(a), Ok(b)) => a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        // Neither is there yet.
        _ => a == b,
    }
}
