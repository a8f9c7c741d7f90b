//! One block: an arm is set up, the schedule is driven through it once, and what was seen is worked out.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use model::config::Config as GatewayConfig;
use model::time::Nanos;

use super::arms::{Between, Spec};
use super::artefacts::{ArtefactError, Artefacts};
use super::clock::now;
use super::config::Config;
use super::contract;
use super::cpu;
use super::gateway::Gateway;
use super::measure::{self, Around};
use super::net::Net;
use super::observer::{Observation, Observer, resolution};
use super::passage::passages;
use super::result::{Block, Conditions, Contract};
use super::schedule::Schedule;
use super::sender::{Log, Script, drive};
use super::sentinel::{TICK_NS, Ticks, judge, settle};
use super::series::series;
use super::sockets::Sockets;
use crate::kernel::files::schedstat_of;

/// Between what an arm consists of and its first message.
const SETTLE: Duration = Duration::from_millis(100);
/// From the decision to begin until the first message.
const LEAD: Nanos = Nanos::from_millis(2);
/// After the longest delay of the contract everything that will come has come.
const TAIL: Nanos = Nanos::from_millis(10);

/// Where blocks run.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// CPUs, driver, void rule.
    pub config: &'a Config,
    /// The hosts.
    pub net: &'a Net,
    /// Where files go.
    pub out: &'a Path,
}

/// What is the same in all blocks of a workload.
#[derive(Clone, Debug)]
pub struct Work {
    /// How long messages are handed over, without rests.
    pub length: Nanos,
    /// The same with rests.
    pub span: Nanos,
    /// How long the strategy host keeps what it receives.
    pub receive_hold: Option<Nanos>,
    /// What is handed over.
    pub schedule: Schedule,
    /// What every arm promises.
    pub contract: Contract,
    /// What messages are counted by.
    pub classes: GatewayConfig,
}

impl Place<'_> {
    /// Runs an arm once and puts what was measured into `block`. What is kept goes to `keep`.
    ///
    /// # Errors
    /// Why there is nothing to measure.
    pub fn measure(
        &self,
        spec: &Spec,
        work: &Work,
        keep: Option<&Artefacts>,
        block: &mut Block,
    ) -> Result<(), String> {
        let said = |error: &dyn std::error::Error| error.to_string();
        let cpu = self.config.cpu;
        let cpus = [cpu.sender, cpu.arm];
        let stolen = settle(&cpus, self.config.void.sentinel_stolen_max).map_err(|e| said(&e))?;
        let wanted = spec.wanted(&work.contract, work.receive_hold);
        self.net.set(&wanted).map_err(|e| said(&e))?;
        let mut gateway = self.gateway(spec, work)?;
        let (read_back, wrong) = self.net.read_back(&wanted);
        let observer = Observer::open(self.net, work.span).map_err(|e| said(&e))?;
        let probes = observer.probe(cpu.sender).map_err(|e| said(&e))?;
        let options = spec.options(&work.contract);
        let mut sockets = Sockets::open(self.net, &work.schedule, options).map_err(|e| said(&e))?;

        // In every arm: a gateway that has just started gives the kernel things to do after it says so.
        thread::sleep(SETTLE);
        let before = Ticks::read();
        let sent = send(spec, work, cpu.sender, gateway.as_ref(), &mut sockets);
        let (log, run_queue) = sent.map_err(|e| said(&e))?;
        let ended = now();
        let cpu_times = Ticks::read().since(&before);

        if let Some(gateway) = &mut gateway {
            gateway.check().map_err(|e| said(&e))?;
        }
        let seen = observer.finish(keep.is_some());
        drop(sockets);
        block.gateway = gateway.map(Gateway::finish).transpose().map_err(|e| said(&e))?;

        let span = ended.saturating_sub(log.began).0.max(1) as f64;
        let steal = cpus.map(|cpu| {
            let of_cpu = cpu_times.iter().find(|time| time.cpu as usize == cpu);
            // A share that was surely taken: a tick would be one of a short block all by itself.
            of_cpu.map_or(0.0, |time| time.steal_ns.saturating_sub(TICK_NS) as f64 / span)
        });
        let lateness = log.lateness();
        let late_p99 = lateness.map(|late| late.p99_ns);
        block.void.extend(wrong);
        let rule = &self.config.void;
        block.void.extend(judge(rule, &cpus, &stolen, &steal, late_p99, seen.drops));
        block.conditions = Conditions {
            sentinel_stolen: stolen,
            steal: steal.to_vec(),
            observer: resolution(&probes, &seen.probes),
            sender_late: lateness,
            send_errors: log.errors,
            read_back,
            cpu: cpu_times,
            ..std::mem::take(&mut block.conditions)
        };
        let written = fill(block, work, keep, &Done { log, seen, ended, run_queue });
        written.map_err(|e| said(&e))
    }

    fn gateway(&self, spec: &Spec, work: &Work) -> Result<Option<Gateway>, String> {
        let Between::Wirepace { paces } = spec.between else { return Ok(None) };
        let config = self.config;
        let contract = spec.kept(&work.contract);
        let wanted = contract::Gateway {
            contract: &contract,
            paces,
            driver: config.driver,
            control_cpu: config.cpu.sender,
            data_cpu: config.cpu.arm,
        };
        let text = contract::gateway_toml(&work.schedule, wanted);
        let gateway = Gateway::start(self.out, &text);
        gateway.map(Some).map_err(|error| format!("wirepace: {error}"))
    }
}

/// Does what the schedule says, on CPU `on`. Gives the log, and how long the thread waited for its CPU and
/// how often it was given it.
fn send(
    spec: &Spec,
    work: &Work,
    on: usize,
    gateway: Option<&Gateway>,
    sockets: &mut Sockets,
) -> io::Result<(Log, Option<(u64, u64)>)> {
    let max_delay = Nanos(work.contract.max_delay_ns);
    let send = move || {
        cpu::take(on)?;
        gateway.map_or(Ok(()), Gateway::go_first)?;
        let thread = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let waited = || schedstat_of(std::process::id(), thread);
        let before = waited();
        let script = Script {
            schedule: &work.schedule,
            hand_over: spec.hand_over,
            fault: spec.fault,
            begin: now().saturating_add(LEAD),
            tail: max_delay.saturating_add(TAIL),
        };
        let log = drive(&script, sockets, |until| {
            gateway.map_or(Ok(()), Gateway::give_way)?;
            thread::sleep(Duration::from_nanos(until.saturating_sub(now()).0));
            gateway.map_or(Ok(()), Gateway::go_first)
        })?;
        gateway.map_or(Ok(()), Gateway::give_way)?;
        let since = before
            .zip(waited())
            .map(|(before, after)| (after.wait_ns - before.wait_ns, after.slices - before.slices));
        Ok((log, since))
    };
    let sent = thread::scope(|scope| scope.spawn(send).join());
    sent.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What a block left behind.
struct Done {
    log: Log,
    seen: Observation,
    ended: Nanos,
    run_queue: Option<(u64, u64)>,
}

/// Works out what was measured, and writes down what is kept.
fn fill(
    block: &mut Block,
    work: &Work,
    keep: Option<&Artefacts>,
    done: &Done,
) -> Result<(), ArtefactError> {
    let Done { log, seen, ended, run_queue } = done;
    let found = passages(&work.schedule, log, seen, &work.contract);
    block.conditions.capture_drops = seen.drops;
    block.conditions.captured = seen.frames.len() as u64;
    block.conditions.expanded = found.expanded;
    let around = Around {
        classes: &work.classes,
        contract: &work.contract,
        began: log.began,
        length: work.length,
        span: work.span,
        ended: *ended,
        capture_drops: seen.drops,
        cpu: &block.conditions.cpu,
        run_queue: *run_queue,
    };
    block.totals = measure::totals(&found, &around);
    block.series = series(&found, log.began);
    let Some(artefacts) = keep else {
        block.kpis = measure::kpis(&found, &around, None);
        return Ok(());
    };
    artefacts.capture(&seen.raw)?;
    let kpis = &mut block.kpis;
    artefacts.timeline(&work.classes, |recorder| {
        *kpis = measure::kpis(&found, &around, Some(recorder));
    })?;
    Ok(())
}
