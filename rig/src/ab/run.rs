//! Running a comparison: question by question, workload by workload, round by round.
//!
//! [`run`] is called inside of [`super::sandbox`]. It gives a result in every case in which there is one to
//! give: where nothing can be compared the result says why, and after a signal it has the blocks so far.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use model::time::Nanos;

use super::arms::{self, Pacing, Spec};
use super::artefacts::Artefacts;
use super::block::{Place, Work};
use super::clock::now;
use super::config::{Config, Length};
use super::contract;
use super::environment;
use super::fault::Fault;
use super::net::{Discipline, Net};
use super::plan::Rounds;
use super::result::{
    Asked, Block, FORMAT, Fact, Header, Lack, Question, RunResult, Void, Workload as WorkloadResult,
};
use super::source::{Source, SourceError};
use super::workload::Workload;

/// Length of a trial of a way to pace.
const TRIAL: Nanos = Nanos::from_millis(250);
/// A way to pace that completes less of the messages than this is no way to pace.
const COMPLETION_MIN: f64 = 0.999;
/// A run ends where so many blocks, one after the other, could not be measured at all.
const FAILURES_MAX: u32 = 12;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// What is compared.
    pub config: &'a Config,
    /// The short run.
    pub quick: bool,
    /// Only these arms of the first question, the first being compared with the last; `None`: all of each.
    pub only: Option<(&'a str, &'a str)>,
    /// What is wrong on purpose with the last of them.
    pub fault: Option<Fault>,
    /// Where files go.
    pub out: &'a Path,
    /// Set when the run is to end.
    pub stop: &'a AtomicBool,
    /// Version, commit and command: what the caller knows. The rest is filled in.
    pub header: &'a Header,
    /// When the run began.
    pub began: Instant,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file.
    #[error("{what}: {source}")]
    File {
        /// Which.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// There is no such arm.
    #[error("no arm {name:?}: there are {known}")]
    Arm {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A file is no workload.
    #[error("workload {name}: {source}")]
    Workload {
        /// Which.
        name: String,
        /// Why.
        source: SourceError,
    },
    /// Two workloads would write to the same files.
    #[error("two workloads are called {0}")]
    Twice(String),
    /// A mistake of this program.
    #[error("the config of the gateway for {workload}: {said}")]
    Config {
        /// For which.
        workload: String,
        /// What is wrong.
        said: String,
    },
    /// Nothing could be measured.
    #[error("{blocks} blocks, one after the other, could not be measured; the last: {last}")]
    Failed {
        /// How many.
        blocks: u32,
        /// Why.
        last: String,
    },
}

/// Runs everything.
///
/// # Errors
/// A file cannot be written, an arm does not exist, or nothing can be measured.
pub fn run(setup: &Setup<'_>) -> Result<RunResult, RunError> {
    let mut result = RunResult {
        format: FORMAT,
        header: header(setup),
        environment: environment::read(setup.config),
        gates: setup.config.gates.clone(),
        questions: Vec::new(),
    };
    let cpu = setup.config.cpu;
    let lacking = [cpu.sender, cpu.arm].into_iter().find(|cpu| !environment::may_use(*cpu));
    match (lacking, Net::make(cpu.arm)) {
        (Some(cpu), _) => {
            let why = format!("CPU {cpu} cannot be used here: sender and arm need one each");
            result.header.not_comparable = Some(why);
        }
        (None, Err(error)) => result.header.not_comparable = Some(error.to_string()),
        (None, Ok(net)) => Runner::new(setup, &net).all(&mut result)?,
    }
    result.header.interrupted = setup.stop.load(Ordering::Relaxed);
    result.header.duration_ns = setup.began.elapsed().as_nanos() as u64;
    Ok(result)
}

/// The result of a run that could not begin.
pub fn not_comparable(setup: &Setup<'_>, why: String) -> RunResult {
    let header = Header { not_comparable: Some(why), ..header(setup) };
    let environment = environment::read(setup.config);
    let gates = setup.config.gates.clone();
    RunResult { format: FORMAT, header, environment, gates, questions: Vec::new() }
}

fn header(setup: &Setup<'_>) -> Header {
    let driver = setup.config.driver.name();
    let mut not_measured = vec![
        "No network card: hosts and gateway are joined by veth, a link of the kernel's memory. Device \
         queues, interrupts, coalescing and DMA have no part in it."
            .to_owned(),
        format!(
            "wirepace runs over {driver} on veth and its frames pass the kernel's driver: this is not the \
             path on which the kernel is out of the way."
        ),
        "Departures are modelled by a serializer of the stated rate: no link of that rate was there."
            .to_owned(),
        "Nothing of fills, markouts or cost.".to_owned(),
    ];
    if environment::cpus() < 4 {
        let cpus = environment::cpus();
        let said = format!(
            "{cpus} CPUs: the venue's side of the kernel shares them with sender and arm, in every arm."
        );
        not_measured.insert(0, said);
    }
    Header {
        quick: setup.quick,
        seed: setup.config.seed,
        cpus: environment::cpus(),
        not_measured,
        void_rule: setup.config.void.clone(),
        started_s: now().0 / 1_000_000_000,
        ..setup.header.clone()
    }
}

struct Runner<'a> {
    setup: &'a Setup<'a>,
    net: &'a Net,
    failures: u32,
    /// How long a round took at most.
    round_max: Duration,
}

impl<'a> Runner<'a> {
    fn new(setup: &'a Setup<'a>, net: &'a Net) -> Self {
        Self { setup, net, failures: 0, round_max: Duration::ZERO }
    }

    fn length(&self) -> Length {
        if self.setup.quick { self.setup.config.quick } else { self.setup.config.full }
    }

    fn all(&mut self, result: &mut RunResult) -> Result<(), RunError> {
        let config = self.setup.config;
        let quick = [Asked::WhoPaces];
        let questions = if self.setup.quick { &quick[..] } else { &config.questions[..] };
        for discipline in [Discipline::Fq, Discipline::Tbf, Discipline::Htb] {
            if !self.net.has(discipline) {
                let reason = "the kernel does not have it".to_owned();
                result.header.lacks.push(Lack { what: discipline.name().to_owned(), reason });
            }
        }
        let works = self.works()?;
        for asked in questions {
            for (source, work) in
                works.iter().filter(|(_, work)| arms::fits(*asked, &work.schedule))
            {
                if self.is_over() {
                    return Ok(());
                }
                self.workload(*asked, source, work, &mut result.questions)?;
            }
        }
        Ok(())
    }

    /// What there is to do, by where it comes from.
    fn works(&self) -> Result<Vec<(Source, Work)>, RunError> {
        let quick = [Source::Made(Workload::SteadyOrders)];
        let sources = if self.setup.quick { &quick[..] } else { &self.setup.config.workloads[..] };
        let mut works: Vec<(Source, Work)> = Vec::new();
        for source in sources {
            let work = self.work(source, self.length().block)?;
            let name = &work.schedule.workload;
            if works.iter().any(|(_, known)| known.schedule.workload == *name) {
                return Err(RunError::Twice(name.clone()));
            }
            works.push((source.clone(), work));
        }
        Ok(works)
    }

    fn is_over(&self) -> bool {
        let late = self.setup.began.elapsed() + self.round_max;
        self.setup.stop.load(Ordering::Relaxed)
            || late.as_nanos() > u128::from(self.length().time_max.0)
    }

    fn work(&self, source: &Source, length: Nanos) -> Result<Work, RunError> {
        let config = self.setup.config;
        let none = |why| RunError::Workload { name: source.to_string(), source: why };
        let (plain, length) = source.schedule(config.seed, length).map_err(none)?;
        let contract = contract::of(&config.contract, &plain, length);
        let last = plain.last();
        let schedule = plain.with_rests();
        let rests = schedule.last().zip(last).map(|(with, without)| with.saturating_sub(without));
        let refused = |said| RunError::Config { workload: schedule.workload.clone(), said };
        let classes = contract::classes(&schedule, &contract).map_err(refused)?;
        let receive_hold = source.receive_hold();
        let span = length.saturating_add(rests.unwrap_or_default());
        Ok(Work { length, span, receive_hold, schedule, contract, classes })
    }

    fn workload(
        &mut self,
        asked: Asked,
        source: &Source,
        work: &Work,
        questions: &mut Vec<Question>,
    ) -> Result<(), RunError> {
        let length = self.length();
        let schedule_file = format!("{}.schedule", work.schedule.workload);
        self.write(&schedule_file, &work.schedule.to_string())?;
        let (pacing, tried) =
            if asked == Asked::WhoPaces { self.best_pacing(source)? } else { (None, Vec::new()) };
        let (specs, reference) = self.chosen(arms::arms(asked, pacing, self.setup.quick))?;
        let driver = self.setup.config.driver;
        let shown = || {
            let mut arms: Vec<_> = specs.iter().map(|spec| spec.shown(driver)).collect();
            for arm in arms.iter_mut().filter(|arm| arm.is_kernel && arm.paces) {
                arm.settings.extend(tried.iter().cloned());
            }
            arms
        };
        // Arms differ by workload where the kernel paces streams and datagrams best in different ways.
        let is_same = |q: &Question| q.asked == asked && q.arms == shown();
        let at = questions.iter().position(is_same).unwrap_or_else(|| {
            questions.push(Question {
                asked,
                text: arms::text(asked).to_owned(),
                reference,
                arms: shown(),
                belongs: arms::belongs(asked),
                workloads: Vec::new(),
            });
            questions.len() - 1
        });
        let rounds =
            Rounds::draw(self.setup.config.seed, specs.len(), reference, length.rounds as usize);
        let mut result = WorkloadResult {
            name: work.schedule.workload.clone(),
            schedule_file,
            messages: work.schedule.messages.len() as u64,
            contract: work.contract.clone(),
            block_ns: work.length.0,
            rounds: length.rounds,
            blocks: Vec::new(),
        };
        let ran = self.rounds(asked, &rounds, &specs, work, &mut result.blocks);
        questions[at].workloads.push(result);
        ran
    }

    /// Every round once, then those that were void again.
    fn rounds(
        &mut self,
        asked: Asked,
        rounds: &Rounds,
        specs: &[Spec],
        work: &Work,
        blocks: &mut Vec<Block>,
    ) -> Result<(), RunError> {
        let mut left: Vec<u32> = (0..rounds.orders.len() as u32).collect();
        for attempt in 0..=self.setup.config.void.repeats_max {
            let mut void = Vec::new();
            for round in left {
                if self.is_over() {
                    return Ok(());
                }
                let began = Instant::now();
                let mut is_void = false;
                for (position, arm) in (0..).zip(&rounds.orders[round as usize]) {
                    if self.setup.stop.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    // One block of each arm is kept whole.
                    let keep = (round == 0 && attempt == 0).then(|| {
                        let arm = specs[*arm].shown(self.setup.config.driver);
                        Artefacts::of(self.setup.out, &kept_as(asked, work), &arm)
                    });
                    let block = self.block(&specs[*arm], work, keep.as_ref())?;
                    let block = Block { round, attempt, position, arm: *arm, ..block };
                    tell(work, rounds.orders.len(), &specs[*arm], &block);
                    is_void |= !block.is_valid();
                    blocks.push(block);
                }
                self.round_max = self.round_max.max(began.elapsed());
                void.extend(is_void.then_some(round));
            }
            left = void;
        }
        Ok(())
    }

    /// The arms that were asked for; the first is compared with the last.
    fn chosen(&self, all: (Vec<Spec>, usize)) -> Result<(Vec<Spec>, usize), RunError> {
        let Some((first, last)) = self.setup.only else { return Ok(all) };
        let named = |name: &str| {
            let known = || all.0.iter().map(|spec| spec.name).collect::<Vec<_>>().join(", ");
            let found = all.0.iter().find(|spec| spec.name == name).copied();
            found.ok_or_else(|| RunError::Arm { name: name.to_owned(), known: known() })
        };
        let last = Spec { fault: self.setup.fault, ..named(last)? };
        Ok((vec![named(first)?, last], 1))
    }

    /// How the kernel paces this workload best: each way is tried once, and of those that keep the longest
    /// delay the one with the smallest p99 of gap error is taken. The choice favours the kernel.
    fn best_pacing(&mut self, source: &Source) -> Result<(Option<Pacing>, Vec<Fact>), RunError> {
        // A file may begin with nothing to pace.
        let work = self.work(source, TRIAL).or_else(|_| self.work(source, self.length().block))?;
        let candidates = arms::pacings(&work.schedule, |discipline| self.net.has(discipline));
        if let [only] = candidates[..] {
            return Ok((Some(only), Vec::new()));
        }
        let (mut tried, mut facts) = (Vec::new(), Vec::new());
        for pacing in candidates {
            let (specs, _) = arms::arms(Asked::WhoPaces, Some(pacing), true);
            let Some(spec) = specs.iter().find(|spec| spec.name == "kernel") else { continue };
            let block = self.block(spec, &work, None)?;
            let error = block.value("wire_cadence_variability_ns", Some("orders"), None, "p99");
            let completed = block.value("completion_ratio", Some("orders"), None, "ratio");
            let said = match (error, completed) {
                (Some(error), Some(completed)) => {
                    format!("p99 of gap error {error} ns, completion {completed}")
                }
                _ => "could not be measured".to_owned(),
            };
            facts.push(Fact { name: format!("trial of {}", pacing.name()), value: said });
            let completed = completed.unwrap_or_default().min(COMPLETION_MIN);
            tried.push((completed, error.unwrap_or(f64::INFINITY), pacing));
        }
        let better = |a: &&(f64, f64, Pacing), b: &&(f64, f64, Pacing)| {
            b.0.total_cmp(&a.0).then(a.1.total_cmp(&b.1))
        };
        Ok((tried.iter().min_by(better).map(|(.., pacing)| *pacing), facts))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), RunError> {
        let path = self.setup.out.join(name);
        fs::write(&path, text)
            .map_err(|source| RunError::File { what: path.display().to_string(), source })
    }

    /// A block. What goes wrong in it makes it void.
    fn block(
        &mut self,
        spec: &Spec,
        work: &Work,
        keep: Option<&Artefacts>,
    ) -> Result<Block, RunError> {
        let mut block = Block::default();
        block.conditions.began_ns = self.setup.began.elapsed().as_nanos() as u64;
        let Setup { config, out, .. } = *self.setup;
        match (Place { config, net: self.net, out }).measure(spec, work, keep, &mut block) {
            Ok(()) => self.failures = 0,
            Err(why) => {
                self.failures += 1;
                if self.failures >= FAILURES_MAX {
                    return Err(RunError::Failed { blocks: self.failures, last: why });
                }
                block.void.push(Void::ArmEnded { what: why });
            }
        }
        Ok(block)
    }
}

/// What files of a workload begin with: an arm of one name may have a part in several questions.
fn kept_as(asked: Asked, work: &Work) -> String {
    let workload = &work.schedule.workload;
    match asked {
        Asked::WhoPaces => workload.clone(),
        other => format!("{}-{workload}", other.name()),
    }
}

/// A line for whoever waits.
fn tell(work: &Work, rounds: usize, spec: &Spec, block: &Block) {
    let gap = block.value("wire_cadence_variability_ns", Some("orders"), None, "p99");
    let gap = gap.map_or_else(|| "-".to_owned(), |ns| format!("{:.1} us", ns / 1e3));
    let void = block.void.first().map_or_else(String::new, |why| format!(", void: {why:?}"));
    let again =
        if block.attempt > 0 { format!(" again ({})", block.attempt) } else { String::new() };
    tracing::info!(
        "{} round {} of {rounds}{again} {}: p99 of gap error {gap}, {} of {} delivered{void}",
        work.schedule.workload,
        block.round + 1,
        spec.name,
        block.totals.delivered,
        block.totals.offered,
    );
}
