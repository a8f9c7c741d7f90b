//! `wirepace run`: the gateway, until SIGTERM.
//!
//! The order of the start matters: the port thread first, while there are capabilities; then they
//! are dropped; then the signal thread, DPDK, the data cores and control, none of which ever has
//! any.

mod beside;
mod devices;
mod gateway;
mod live_clock;
mod ports;
mod service;
mod signals;
pub mod words;
mod work;

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use control::access::Access;
use control::controller::{Controller, Core, Settings};
use control::cpu_times::CpuTimes;
use control::kpis::PacketKpis;
use control::live_config::{self, LiveConfig, Revisions};
use control::recent_log::RecentLog;
use control::regimes::{RegimeSettings, Regimes};
use control::server::{Hooks, Server};
use control::timeline::{Recorded, Timeline, Written};
use dataplane::clock::{BASELINE_MIN, Calibrator, Clock};
use dataplane::eal::Eal;
use dataplane::lane::kpi_cost::{KpiCost, Spent};
use dataplane::lane::stages::{Stage, Stages};
use dataplane::locks::LockDir;
use dataplane::placement;
use dataplane::port::device::{DeviceError, DeviceSpec};
use dataplane::port::privileges::{Privileges, drop_capabilities};
use dataplane::port::thread::PortThread;
use dataplane::state_dir::{self, Admits, InstanceDir};
use dataplane::stop_page::StopPage;
use model::config::live::Sourced;
use model::config::{ClockKind, Config, CoreChoice};
use model::stop::StopWord;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity, set_no_new_privs};
use serde_json::{Map, Value, json};

use crate::cli::Run;
use crate::summary::Summary;
use gateway::{CoreEnd, Ended, Gateway};
use live_clock::LiveClock;
use service::Manager;
use signals::{End, Reload};
use words::PageWriter;

/// How long control may take to read what the cores left.
const CONTROL_WAIT: Duration = Duration::from_secs(5);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Runs it.
pub fn main(args: &Run, log: RecentLog) -> u8 {
    let source = match crate::config::source(&args.config) {
        Ok(source) => source,
        Err(unusable) => {
            unusable.print();
            return crate::EXIT_USAGE;
        }
    };
    // Its name and state_dir cannot have changed live.
    let (revisions, source) = match start_by(source) {
        Ok(start) => start,
        Err(error) => return crate::failed(error),
    };
    let mut config = source.config.clone();
    if config.observe.is_some() {
        return crate::refused(format_args!(
            "{}: a config with [observe] is for `wirepace observe`",
            args.config.display()
        ));
    }
    if config.gateway.clock != ClockKind::Tsc {
        return crate::refused(format_args!(
            "{}: run needs clock = \"tsc\"; `wirepace replay` is for virtual time",
            args.config.display()
        ));
    }
    let findings = crate::start_here::interfaces(&config);
    if !findings.is_empty() {
        return crate::failed(format_args!(
            "the kernel must be silent on the ports' interfaces: {}",
            findings.join("; ")
        ));
    }
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if let Err(error) = place(&mut config) {
        return crate::failed(error);
    }
    match run(&config, (revisions, source), args, log) {
        Ok(code) => code,
        Err(error) => crate::failed(error),
    }
}

/// Puts the CPUs that this host has for the pairs into the config: every pair has one from here on.
/// A machine that cannot be read matters only where a CPU has to be chosen.
fn place(config: &mut Config) -> Result<()> {
    let placement = match placement::of(config) {
        Ok(placement) => placement,
        Err(error) if config.pairs.iter().all(|pair| pair.core != CoreChoice::Auto) => {
            tracing::warn!("{error}");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    if !placement.obstacles.is_empty() {
        return Err(placement.obstacles.join("; ").into());
    }
    placement.findings.iter().for_each(|found| tracing::warn!("{found}"));
    for (pair, core) in config.pairs.iter_mut().zip(placement.cores) {
        if pair.core == CoreChoice::Auto {
            tracing::info!("core = \"auto\": CPU {core}");
        }
        pair.core = CoreChoice::Cpu(core);
    }
    Ok(())
}

/// The text that the gateway starts by, and where confirmed ones are kept.
fn start_by(file: Sourced) -> Result<(Revisions, Sourced)> {
    let gateway = &file.config.gateway;
    let state_dir = state_dir::of_this_user(gateway.state_dir.as_deref())?;
    let revisions = Revisions::new(InstanceDir::at(&state_dir, &gateway.name)?.revisions());
    let source = live_config::at_start(&revisions, file)?;
    Ok((revisions, source))
}

fn run(
    config: &Config,
    (revisions, source): (Revisions, Sourced),
    args: &Run,
    log: RecentLog,
) -> Result<u8> {
    stay_off_data_cores(config)?;
    let state_dir = state_dir::of_this_user(config.gateway.state_dir.as_deref())?;
    let access = Access::of(&config.control.access)?;
    let dir = InstanceDir::prepare(&state_dir, &config.gateway.name, admits(&access))?;
    let classes: Vec<&str> = config.classes.iter().map(|class| class.name.as_str()).collect();
    let page = Arc::new(StopPage::create_or_open(
        &dir.stop_page(),
        &config.gateway.name,
        &config.venues,
        &classes,
        config.gateway.start_state,
    )?);
    let server = Server::bind(config.control.http, &dir.control_socket(), access)?;

    // What is wrong with its files shows before anything starts.
    let regimes = RegimeSettings::new(config, crate::host::environment(config))?;
    let manager = Arc::new(Manager::of_environment()?);
    // No thread gets by a program what it does not have.
    set_no_new_privs(true)?;
    let devices: Vec<_> = config
        .ports
        .iter()
        .map(|port| DeviceSpec::try_from(&port.device))
        .collect::<std::result::Result<_, DeviceError>>()?;
    let needed = Privileges::for_devices(&devices);
    let ports = PortThread::spawn(LockDir::of_this_user()?, &config.gateway.name, needed)?;
    drop_capabilities()?;
    // Its thread keeps off the data cores as main does.
    let timeline = crate::timeline::start(config)?;
    let reload = Reload {
        config: args.config.clone(),
        socket: dir.control_socket(),
        manager: Arc::clone(&manager),
    };
    let (ends, ended) = signals::watch(Arc::clone(&page), reload)?;
    let (calibrator, model) = Calibrator::start(BASELINE_MIN)?;
    let steal_before = crate::host::steal_s();
    let (mut gateway, cores) = Gateway::start(config, ports, &page, model, &ends)?;
    let began = Clock::new(model).now();
    // Not before its own cores poll: of two that start together one at least sees the other.
    tell_neighbours(&cores.iter().map(|core| core.cpu).collect::<Vec<_>>());

    let clock = LiveClock::new(calibrator, model, gateway.ports());
    let mut controller = controller(config, regimes, cores, &page, timeline.as_ref(), clock)
        .with_devices(Box::new(gateway.devices(config.dpdk.pool_reserve)))
        .with_live_config(LiveConfig::started(revisions, source));
    let collectors = beside::collectors(config, dir.control_socket());
    controller.keep_bundles(dir.path().join("bundles"), collectors);
    controller.show_log(log);
    let fatal_ends = ends.clone();
    let surfaces = open_surfaces(config, &mut controller);
    let hooks = Hooks {
        on_fatal: Box::new(move |fatal| {
            // A stuck core cannot be joined: there is no orderly end any more.
            let _ = fatal_ends.send(End::Fatal(fatal.to_string()));
        }),
        on_progress: Box::new(manager.watchdog()?),
    };
    let spawned = surfaces.and_then(|()| Ok(server.spawn(controller, hooks)?));
    let control = match spawned {
        Ok(control) => control,
        Err(error) => {
            if let Err(also) = gateway.stop() {
                tracing::error!("{also}");
            }
            return Err(error);
        }
    };
    manager.ready(&tell_state(config, &page));

    let end = wait(&ended, args.duration);
    manager.stopping(match &end {
        End::Signal => "drains and ends",
        End::Fatal(why) => why,
    });
    if let End::Fatal(why) = end {
        let code =
            crate::failed(format_args!("{why}; the process ends so that it can be restarted"));
        // Not an orderly end: other threads may be stuck, and nothing may wait for them.
        std::process::exit(i32::from(crate::output::finish(code)));
    }
    let stopped = gateway.stop()?;
    let mut controller = control.stop_within(CONTROL_WAIT).ok_or(
        "the control thread hangs or has died: the cores have drained, there is no summary",
    )?;
    let ended_at = controller.now();
    let report = controller.kpis_mut().run_report(ended_at);
    let totals = controller.kpis().kpis().totals();
    let unplanned = controller.kpis().kpis().unplanned();
    let transitions = controller.regimes().map_or(&[][..], Regimes::transitions).to_vec();
    let written = timeline.map(crate::timeline::finish);
    let ended = gateway.close(stopped)?;

    let duration = ended_at.saturating_sub(began);
    let steal_s = crate::host::steal_s().zip(steal_before).map(|(after, before)| after - before);
    let wall_s = duration.0 as f64 / 1e9;
    let mut host = json!({
        "mpps": totals.packets_out as f64 / wall_s / 1e6,
        "cycles_per_packet": crate::summary::cycles_per_packet(&report),
        "wall_s": wall_s,
        "steal_s": steal_s,
        "tsc_hz": model.tsc_hz(),
        "machine": crate::host::machine(),
    });
    if let Some((cycles, packets)) = ended.bench_cost {
        host["bench_rx"] = json!({
            "cycles_per_packet": cycles as f64 / packets.max(1) as f64,
            "flows_configured": ended.bench_flows,
            "flows_seen": ended.bench_flows_seen,
        });
        if let Some(stages) = &ended.bench_stages {
            host["bench_stages"] = bench_stages(stages, cycles);
        }
        if let Some(cost) = &ended.bench_kpi_cost {
            host["bench_kpi_cost"] = bench_kpi_cost(cost, cycles as f64 / packets.max(1) as f64);
        }
    }
    let summary = Summary {
        totals,
        report,
        regime_transitions: transitions,
        duration,
        device_lost: ended.device_lost,
        mbufs_leaked: ended.mbufs_leaked,
        config_digest: config.digest.clone(),
        dpdk_version: Eal::version(),
        notes: notes(&ended, written.as_ref()),
        host,
    };
    if args.json {
        crate::print_json(&summary.json());
    } else {
        summary.print();
    }
    Ok(verdict(&summary, &ended, unplanned))
}

/// Warns of data cores that share a CPU with one of another process. It is no reason not to start: on a small
/// machine, where things are tried, there is no other.
fn tell_neighbours(cpus: &[usize]) {
    let others = placement::polled_by_others("/proc".as_ref(), std::process::id(), cpus);
    for (cpu, pid) in others {
        tracing::warn!(
            cpu,
            pid,
            "another gateway polls on the same CPU: each takes half of its time from the other; give one of them \
             another core"
        );
    }
}

/// How far others may come: to the socket, if it lets them in.
fn admits(access: &Access) -> Admits {
    match access.group() {
        _ if access.is_open_to_all() => Admits::All,
        Some(group) => Admits::Group(group),
        None => Admits::Owner,
    }
}

/// What a run promises beyond ending: the books balance, and a bench measured what it says.
fn verdict(summary: &Summary, ended: &Ended, unplanned: u64) -> u8 {
    if !summary.is_conserved() || summary.mbufs_leaked > 0 || unplanned > 0 {
        return crate::failed("the books do not balance: this is a defect of wirepace");
    }
    if ended.bench_cost.is_some() {
        let configured = ended.bench_flows;
        if ended.bench_flows_seen != configured {
            return crate::failed(format_args!(
                "the bench saw {} flows instead of {configured}",
                ended.bench_flows_seen
            ));
        }
        if summary.totals.dropped() > 0 {
            return crate::failed(format_args!(
                "the bench dropped {} packets",
                summary.totals.dropped()
            ));
        }
    }
    crate::EXIT_DONE
}

/// Cycles for each packet, stage by stage, without the marks between them; `mix` of them in the
/// receiving stage went into the flow mix.
fn bench_stages(stages: &Stages, mix: u64) -> Value {
    let packets = stages.packets().max(1) as f64;
    let mark = Stages::mark_cycles();
    let mut per_packet = Map::new();
    let (mut spent, mut marks) = (0, 0);
    for stage in Stage::ALL {
        let (cycles, count) = stages.of(stage);
        let of_mix = if stage == Stage::Receive { mix } else { 0 };
        let net = cycles.saturating_sub(of_mix) as f64 - count as f64 * mark;
        per_packet.insert(stage.name().to_owned(), json!(net / packets));
        spent += cycles;
        marks += count;
    }
    json!({
        "cycles_per_packet": per_packet,
        "mix_cycles_per_packet": mix as f64 / packets,
        "marks_cycles_per_packet": marks as f64 * mark / packets,
        "all_cycles_per_packet": spent as f64 / packets,
        "mark_cycles": mark,
        "packets": stages.packets(),
    })
}

/// Cycles for each packet with KPIs and without, `mix` of them for the flow mix taken off.
fn bench_kpi_cost(cost: &KpiCost, mix: f64) -> Value {
    let net = |spent: Spent| spent.cycles as f64 / spent.packets.max(1) as f64 - mix;
    let (with, without) = (net(cost.with()), net(cost.without()));
    json!({
        "with_cycles_per_packet": with,
        "without_cycles_per_packet": without,
        "share": 1.0 - without / with,
        "packets": cost.with().packets + cost.without().packets,
    })
}

fn notes(ended: &Ended, timeline: Option<&Written>) -> Map<String, Value> {
    let notes = [("flow_table_full", ended.flow_table_full), ("over_budget", ended.over_budget)];
    let mut notes: Map<_, _> =
        notes.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    if let Some(written) = timeline {
        notes.insert("timeline".to_owned(), crate::summary::timeline(written));
    }
    notes
}

/// Telemetry and advice, where the config asks for them.
fn open_surfaces(config: &Config, controller: &mut Controller<Recorded>) -> Result<()> {
    if config.dpdk.telemetry {
        control::telemetry::serve(controller.board())?;
    }
    if let Some(path) = &config.control.advice_shm {
        controller.advise_in_memory(path.as_ref())?;
    }
    Ok(())
}

/// Says in what state it forwards. A halt that outlived the last process goes before `start_state`.
fn tell_state(config: &Config, page: &StopPage) -> String {
    let (name, start) = (&config.gateway.name, config.gateway.start_state.name());
    let words = page.describe().words;
    let halted: Vec<_> = words
        .iter()
        .filter(|(_, word)| *word == StopWord::Halt)
        .map(|(scope, _)| scope.to_string())
        .collect();
    if halted.is_empty() || start == StopWord::Halt.name() {
        let said = format!("forwards; state {start}");
        tracing::info!("{name} {said}");
        said
    } else {
        let said = format!("forwards, but halted as it was left: {}", halted.join(", "));
        tracing::warn!("{name} {said}");
        said
    }
}

fn controller(
    config: &Config,
    regimes: RegimeSettings,
    cores: Vec<CoreEnd>,
    page: &Arc<StopPage>,
    timeline: Option<&Timeline>,
    mut clock: LiveClock,
) -> Controller<Recorded> {
    let mut settings = Settings::new(config, env!("CARGO_PKG_VERSION"));
    settings.host = Some(crate::host::name());
    let plans = cores.iter().map(|core| core.plan.clone()).collect();
    let kpis = PacketKpis::new(plans, settings.profiles.clone()).sliding(config.regime.tick);
    let kpis = Recorded::live(kpis, timeline.map(Timeline::recorder));
    let rosters: Vec<_> = cores.iter().flat_map(|core| core.rosters.clone()).collect();
    let times = CpuTimes::new("/proc".as_ref(), cores.iter().map(|core| core.cpu));
    let core = |core: CoreEnd| {
        let ports = core.plan.ports.iter().map(|port| usize::from(port.index)).collect();
        Core::new(core.link, Some(core.cpu), &settings).sends_to(ports)
    };
    let cores = cores.into_iter().map(core).collect();
    let now = control::controller::Clock::now(&mut clock);
    let regimes = Regimes::new(regimes, now).with_groups(rosters);
    let (page, clock) = (Box::new(PageWriter(Arc::clone(page))), Box::new(clock));
    Controller::new(settings, cores, kpis, page, clock).with_regimes(regimes).with_cpu_times(times)
}

/// Waits for a signal, the end of `duration`, or something fatal.
fn wait(ended: &std::sync::mpsc::Receiver<End>, duration: Option<Duration>) -> End {
    match duration {
        None => ended.recv().unwrap_or(End::Signal),
        Some(duration) => {
            let deadline = Instant::now() + duration;
            match ended.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(end) => end,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => End::Signal,
            }
        }
    }
}

/// Main and every thread that it starts keep off the CPUs that poll, where the machine has others.
fn stay_off_data_cores(config: &Config) -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    let mut wanted = CpuSet::new();
    match config.gateway.control_cpu {
        Some(cpu) if cpu < CpuSet::MAX_CPU && allowed.is_set(cpu) => wanted.set(cpu),
        Some(cpu) => {
            return Err(format!("control_cpu = {cpu}: this process cannot run there").into());
        }
        None => {
            wanted = allowed;
            config
                .pairs
                .iter()
                .flat_map(|pair| pair.core.cpu().into_iter().chain(pair.rx_cores.iter().copied()))
                .for_each(|cpu| wanted.unset(cpu));
        }
    }
    if wanted.count() > 0 {
        sched_setaffinity(None, &wanted)
            .map_err(|error| format!("main cannot be kept off the data cores: {error}"))?;
    }
    Ok(())
}
