//! `wirepace replay`.

use dataplane::eal::Eal;
use model::config::ClockKind;
use rig::replay::{Options, Outcome, replay};
use serde_json::{Map, json};

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
    let profile = match profile_index(&config.profiles, args.profile.as_deref()) {
        Ok(profile) => profile,
        Err(code) => return code,
    };
    let steal = crate::host::steal_s();
    let options = Options {
        input: args.input.clone(),
        output: args.out.clone(),
        via_pmd: args.via_pmd,
        profile,
    };
    let outcome = match replay(&config, &options) {
        Ok(outcome) => outcome,
        Err(error) => return crate::failed(error),
    };
    report(args, &config.digest, outcome, steal)
}

fn report(args: &Replay, digest: &str, outcome: Outcome, steal_before: Option<f64>) -> u8 {
    let fault = outcome.capture_fault.clone();
    let wall_s = outcome.host.wall.as_secs_f64();
    let steal_s = crate::host::steal_s().zip(steal_before).map(|(after, before)| after - before);
    let cycles = wall_s * outcome.host.tsc_hz as f64;
    let packets = outcome.totals.packets_out.max(1) as f64;
    let summary = Summary {
        notes: notes(&outcome),
        totals: outcome.totals,
        report: outcome.report,
        duration: outcome.duration,
        device_lost: outcome.device_lost,
        mbufs_leaked: outcome.mbufs_leaked,
        config_digest: digest.to_owned(),
        dpdk_version: Eal::version(),
        host: json!({
            "mpps": outcome.totals.packets_out as f64 / wall_s / 1e6,
            "cycles_per_packet": cycles / packets,
            "wall_s": wall_s,
            "steal_s": steal_s,
            "machine": crate::host::machine(),
        }),
    };
    if let Some(path) = &args.kpis
        && let Err(error) = std::fs::write(path, format!("{:#}\n", summary.report.kpis_json()))
    {
        return crate::failed(format_args!("{}: {error}", path.display()));
    }
    if args.json {
        crate::print_json(&summary.json());
    } else {
        summary.print();
    }
    if let Some(fault) = fault {
        return crate::failed(format_args!("the capture was replayed up to a fault: {fault}"));
    }
    if !summary.is_conserved() || summary.mbufs_leaked > 0 || outcome.unplanned > 0 {
        return crate::failed("the books do not balance: this is a defect of wirepace");
    }
    crate::EXIT_DONE
}

fn notes(outcome: &Outcome) -> Map<String, serde_json::Value> {
    let mut notes = Map::new();
    for (name, value) in [
        ("timestamps_backwards", outcome.stamps_backwards),
        ("flow_table_full", outcome.flow_table_full),
        ("over_budget", outcome.over_budget),
    ] {
        notes.insert(name.to_owned(), json!(value));
    }
    if let Some(fault) = &outcome.capture_fault {
        notes.insert("capture_truncated".to_owned(), json!(fault));
    }
    notes
}

fn profile_index(profiles: &[model::profile::Profile], wanted: Option<&str>) -> Result<usize, u8> {
    let Some(wanted) = wanted else { return Ok(0) };
    profiles.iter().position(|profile| profile.name == wanted).ok_or_else(|| {
        let known: Vec<_> = profiles.iter().map(|profile| profile.name.as_str()).collect();
        crate::refused(format_args!("--profile {wanted}: allowed are {}", known.join(", ")))
    })
}
