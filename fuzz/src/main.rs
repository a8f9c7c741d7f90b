//! `fuzz list`, `fuzz run [--seconds N] [--seed N] [TARGET...]`, `fuzz repeat TARGET FILE`: see scripts/fuzz.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fuzz::{Campaign, Found, Target, answer, targets};

/// Runs between two looks at the clock.
const RUNS_AT_ONCE: u64 = 500;
/// Where inputs are put that break something.
const FOUND: &str = "fuzz-found";

const USAGE: &str = "usage: fuzz list\n       fuzz run [--seconds N] [--seed N] [TARGET...]\n       \
                     fuzz repeat TARGET FILE";

struct Run {
    targets: Vec<&'static Target>,
    time: Duration,
    seed: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &words[..] {
        ["list"] => {
            targets::ALL.iter().for_each(|target| println!("{}", target.name));
            ExitCode::SUCCESS
        }
        ["run", options @ ..] => match parse(options) {
            Ok(run) => run.all(),
            Err(why) => usage(&why),
        },
        ["repeat", target, file] => match targets::find(target) {
            Some(target) => repeat(target, Path::new(file)),
            None => usage(&format!("no target {target:?}")),
        },
        _ => usage("what is there to do?"),
    }
}

fn usage(why: &str) -> ExitCode {
    eprintln!("fuzz: {why}\n{USAGE}");
    ExitCode::from(2)
}

fn parse(options: &[&str]) -> Result<Run, String> {
    let mut run = Run { targets: Vec::new(), time: Duration::from_secs(10), seed: 1 };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut number = || -> Result<u64, String> {
            let text = options.next().ok_or_else(|| format!("{option} takes a number"))?;
            text.parse().map_err(|_| format!("{option} takes a number, not {text:?}"))
        };
        match *option {
            "--seconds" => run.time = Duration::from_secs(number()?),
            "--seed" => run.seed = number()?,
            name => {
                let target = targets::find(name).ok_or_else(|| format!("no target {name:?}"))?;
                run.targets.push(target);
            }
        }
    }
    if run.targets.is_empty() {
        run.targets = targets::ALL.iter().collect();
    }
    Ok(run)
}

impl Run {
    /// One target after the other, each for the whole time. A line for each.
    fn all(&self) -> ExitCode {
        // What a target breaks is printed once, with its input.
        std::panic::set_hook(Box::new(|_| {}));
        let mut broken = 0;
        for target in &self.targets {
            let began = Instant::now();
            let (runs, answers, found) = match Campaign::new(target, self.seed) {
                Ok(mut campaign) => {
                    let mut found = None;
                    while found.is_none() && began.elapsed() < self.time {
                        found = campaign.go_on(RUNS_AT_ONCE).err();
                    }
                    (campaign.runs(), campaign.answers(), found)
                }
                Err(found) => (0, 0, Some(found)),
            };
            let seconds = began.elapsed().as_secs_f64();
            let (name, seed) = (target.name, self.seed);
            println!(
                "{name}: {runs} runs in {seconds:.0} s, seed {seed}, {answers} different answers"
            );
            if let Some(found) = found {
                broken += 1;
                keep(name, &found);
            }
        }
        ExitCode::from(u8::from(broken > 0))
    }
}

fn keep(target: &str, found: &Found) {
    println!("{target}: BROKEN: {}", found.why);
    let path = Path::new(FOUND).join(target);
    match fs::create_dir_all(FOUND).and_then(|()| fs::write(&path, &found.input)) {
        Ok(()) => println!("{target}: fuzz repeat {target} {}", path.display()),
        Err(error) => println!("{target}: {}: {error}: {:02x?}", path.display(), found.input),
    }
}

fn repeat(target: &'static Target, file: &Path) -> ExitCode {
    let input = match fs::read(file) {
        Ok(input) => input,
        Err(error) => return usage(&format!("{}: {error}", file.display())),
    };
    match answer(target, &input) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::from(1),
    }
}
