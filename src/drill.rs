//! `wirepace drill`.

use std::fs;
use std::path::Path;
use std::time::Instant;

use model::regime::{Posture, Request};
use rig::drill::{Bench, Drill, DrillError, Shown, Thresholds, Without, all, page, posture};
use serde_json::{Value, json};

use crate::cli::{DrillRun, DrillVerb, Drills};

/// Seeds that are tried without `--quick`.
const SEEDS: u64 = 3;

/// Lists or runs them.
pub fn main(args: &Drills) -> u8 {
    match &args.verb {
        DrillVerb::List { json } => list(*json),
        DrillVerb::Run(args) => run(args),
    }
}

fn list(as_json: bool) -> u8 {
    if as_json {
        let one = |drill: &&Drill| {
            json!({
                "name": drill.name,
                "playbook": drill.playbook,
                "injects": drill.injects,
                "must_show": drill.must_show,
            })
        };
        crate::print_json(&json!({ "drills": all().iter().map(one).collect::<Vec<_>>() }));
    } else {
        for drill in all() {
            out!("{:20} {}", drill.name, drill.injects);
        }
    }
    crate::EXIT_DONE
}

fn run(args: &DrillRun) -> u8 {
    let drills = match chosen(&args.names) {
        Ok(drills) => drills,
        Err(why) => return crate::refused(why),
    };
    let without = match without(args) {
        Ok(without) => without,
        Err(why) => return crate::refused(why),
    };
    if let Some(directory) = &args.out
        && let Err(error) = fs::create_dir_all(directory)
    {
        return failed_to_write(directory, &error);
    }
    let thresholds = match args.thresholds.as_deref().map(crate::config::load).transpose() {
        Ok(config) => config.map(Thresholds::of),
        Err(code) => return code,
    };
    let bench = match Bench::open(without, thresholds) {
        Ok(bench) => bench,
        Err(error @ DrillError::Without { .. }) => return crate::refused(error),
        Err(error) => return crate::failed(error),
    };
    let seeds = if args.quick { 1 } else { SEEDS };
    let mut all_shown: Vec<(&Drill, Shown)> = Vec::new();
    for drill in drills {
        for seed in (0..seeds).map(|n| args.seed.wrapping_add(n)) {
            let began = Instant::now();
            let shown = match bench.run(drill, seed) {
                Ok(shown) => shown,
                Err(error @ DrillError::OtherStates { .. }) => {
                    return crate::refused(format_args!("{}: {error}", drill.name));
                }
                Err(error) => return crate::failed(format_args!("{}: {error}", drill.name)),
            };
            let said = if shown.holds() { "holds" } else { "does not hold" };
            // What depends on the machine stands here and nowhere else.
            say!("{} seed {seed}: {said} ({:.1} s)", drill.name, began.elapsed().as_secs_f64());
            if !args.json {
                print(&shown);
            }
            all_shown.push((drill, shown));
        }
    }
    let holds = all_shown.iter().all(|(_, shown)| shown.holds());
    let one = |(drill, shown): &(&Drill, Shown)| shown.json(drill);
    let json = json!({
        "seed": args.seed,
        "quick": args.quick,
        "holds": holds,
        "drills": all_shown.iter().map(one).collect::<Vec<_>>(),
    });
    if args.json {
        crate::print_json(&json);
    }
    let written = args.out.as_ref().map(|to| (to, write(to, &all_shown, args.seed, &json)));
    let code = match written {
        Some((directory, Err(error))) => failed_to_write(directory, &error),
        _ => crate::EXIT_DONE,
    };
    if holds { code } else { crate::EXIT_NOT_SHOWN }
}

/// The drills of these names, each once, in the order of the list; `all` is every one.
fn chosen(names: &[String]) -> Result<Vec<&'static Drill>, String> {
    let known = all();
    let is_known = |name: &String| name == "all" || known.iter().any(|drill| drill.name == name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let allowed: Vec<&str> = known.iter().map(|drill| drill.name).collect();
        return Err(format!("no drill {unknown:?}: allowed are all, {}", allowed.join(", ")));
    }
    let wanted = |drill: &&Drill| names.iter().any(|name| name == "all" || name == drill.name);
    Ok(known.into_iter().filter(wanted).collect())
}

/// What is taken away: `PROFILE.FIELD`, or `advice.FIELD`.
fn without(args: &DrillRun) -> Result<Without, String> {
    let mut without = Without { protection: args.unprotected, ..Without::default() };
    let known = || Posture::ACTING.map(Posture::name).join(", ");
    for text in &args.without {
        let Some((from, field)) = text.split_once('.') else {
            return Err(format!(
                "--without {text}: PROFILE.FIELD, of {}, or advice.FIELD",
                known()
            ));
        };
        if from == "advice" {
            let request: Result<Request, _> = serde_json::from_value(json!(field));
            without.advice.push(request.map_err(|error| format!("--without {text}: {error}"))?);
            continue;
        }
        let posture = posture(from)
            .ok_or_else(|| format!("--without {text}: profiles are {}, or advice", known()))?;
        without.actions.push((posture, field.to_owned()));
    }
    Ok(without)
}

fn print(shown: &Shown) {
    let twin = shown.twin.iter();
    for finding in shown.findings.iter().chain(twin) {
        let mark = if finding.holds { "   " } else { "NOT" };
        out!("  {mark} {}: {} {}", finding.arm, finding.what, finding.expected);
        if !finding.holds {
            out!("      measured {}", finding.measured);
        }
    }
}

fn write(
    directory: &Path,
    all_shown: &[(&Drill, Shown)],
    first_seed: u64,
    json: &Value,
) -> std::io::Result<()> {
    let mut pages: Vec<(&Drill, String, bool)> = Vec::new();
    for (drill, shown) in all_shown {
        let file = match shown.seed {
            seed if seed == first_seed => format!("{}.html", drill.name),
            seed => format!("{}-{seed}.html", drill.name),
        };
        fs::write(directory.join(&file), page::page(drill, shown))?;
        pages.push((drill, file, shown.holds()));
    }
    let pages = pages.iter().map(|(drill, file, holds)| (*drill, file.as_str(), *holds));
    fs::write(directory.join("index.html"), page::index(pages))?;
    fs::write(directory.join("drills.json"), format!("{json:#}\n"))
}

fn failed_to_write(path: &Path, error: &std::io::Error) -> u8 {
    crate::failed(format_args!("{}: cannot write: {error}", path.display()))
}
