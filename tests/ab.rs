//! `wirepace ab` as a process: what it records, and that nothing of it is left, however it ends. Without root
//! the tests say so and pass, but for the one that is about that.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::kpi::catalogue::{self, Arm};
use rig::ab::result::{RunResult, Void};
use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

const WIREPACE: &str = env!("CARGO_BIN_EXE_wirepace");
/// Longest that a run here may take on a busy machine.
const WAIT: Duration = Duration::from_secs(120);
/// Both CPUs are taken while a block runs: one comparison at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A few short blocks.
const SHORT: &str = "[quick]\nrounds = 2\nblock = \"200ms\"\n[void]\nrepeats_max = 0\n";
/// More than any test waits for.
const LONG: &str = "[quick]\nrounds = 400\nblock = \"200ms\"\ntime_max = \"100s\"\n";

/// A comparison under way.
struct Comparison {
    child: Child,
    dir: TempDir,
    /// Interfaces and named namespaces of the host before.
    before: [BTreeSet<String>; 2],
    _one: MutexGuard<'static, ()>,
}

fn names(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn host() -> [BTreeSet<String>; 2] {
    ["/sys/class/net", "/run/netns"].map(names)
}

/// Numbers of the processes whose command line has `word`.
fn processes_with(word: &str) -> Vec<i32> {
    let has = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    };
    names("/proc").iter().filter_map(|name| name.parse().ok()).filter(has).collect()
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} within {WAIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Comparison {
    /// Begins a quick one; `None`: there is no root here.
    fn start(config: &str) -> Option<Self> {
        Self::start_with(config, &["--quick"])
    }

    fn start_with(config: &str, options: &[&str]) -> Option<Self> {
        let one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        if !getuid().is_root() {
            println!("skipped: making namespaces needs root");
            return None;
        }
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("ab.toml");
        fs::write(&file, config).unwrap();
        let before = host();
        let mut command = Command::new(WIREPACE);
        command.args(["ab", "--json", "--config"]).arg(&file).args(options);
        command.arg("--out").arg(dir.path().join("out")).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(fs::File::create(dir.path().join("log")).unwrap());
        Some(Self { child: command.spawn().unwrap(), dir, before, _one: one })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Waits until its log has `word`.
    fn says(&mut self, word: &str) {
        let Self { child, dir, .. } = self;
        wait_for(word, || {
            let log = fs::read_to_string(dir.path().join("log")).unwrap();
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none() || log.contains(word), "{ended:?}: {log}");
            log.contains(word).then_some(())
        });
    }

    /// Waits for its end. Gives its exit code and what it recorded.
    fn ended(&mut self) -> (Option<i32>, Option<RunResult>) {
        let status = wait_for("its end", || self.child.try_wait().unwrap());
        let recorded = fs::read_to_string(self.dir.path().join("out/result.json")).ok();
        (status.code(), recorded.map(|text| serde_json::from_str(&text).unwrap()))
    }

    /// Nothing of it is left: no process, and with the last process its namespaces, interfaces and
    /// queueing disciplines are gone; no interface and no name was ever made on the host itself.
    fn assert_gone(&self) {
        let word = self.dir.path().to_str().unwrap();
        wait_for("the end of its processes", || processes_with(word).is_empty().then_some(()));
        assert_eq!(host(), self.before);
    }
}

#[test]
fn a_quick_run_records_every_arm_and_every_kpi() {
    let Some(mut comparison) = Comparison::start(SHORT) else { return };
    let (code, recorded) = comparison.ended();
    assert!(matches!(code, Some(0 | 3)), "{code:?}: {}", comparison.log());
    let recorded = recorded.unwrap();
    assert_eq!((recorded.header.not_comparable, recorded.header.quick), (None, true));
    let question = &recorded.questions[0];
    let arms: Vec<&str> = question.arms.iter().map(|arm| arm.name.as_str()).collect();
    assert_eq!(arms, ["sender", "kernel", "kernel-none", "wirepace"]);
    let workload = &question.workloads[0];
    assert_eq!((workload.name.as_str(), workload.blocks.len()), ("steady-orders", 8));
    for block in &workload.blocks {
        let arm = arms[block.arm];
        let failed = block
            .void
            .iter()
            .find(|void| matches!(void, Void::ArmEnded { .. } | Void::Setting { .. }));
        assert_eq!(failed, None, "{arm}");
        assert_eq!(block.totals.offered, 2_000, "{arm}");
        // A busy machine loses time, and none of these links loses frames but for full rings.
        assert!(block.totals.delivered > 1_900, "{arm}: {:?}", block.totals);
        assert!(block.conditions.observer.is_some_and(|seen| seen.n > 100), "{arm}");
        for definition in catalogue::all().filter(|d| d.arms.contains(&Arm::Kernel)) {
            let kpi = block.kpis.iter().find(|kpi| kpi.name == definition.name);
            let kpi = kpi.unwrap_or_else(|| panic!("{arm}: no {}", definition.name));
            let has_value = kpi.values.iter().any(|(_, value)| value.is_some());
            assert!(has_value || kpi.absent.is_some(), "{arm}: {kpi:?}");
        }
        assert_eq!(block.gateway.is_some(), arm == "wirepace");
        if let Some(gateway) = &block.gateway {
            assert!(gateway["packets_out"].as_u64().unwrap() >= block.totals.delivered);
            assert_eq!((&gateway["early"], &gateway["held"]), (&0.into(), &0.into()));
        }
    }
    let out = comparison.dir.path().join("out");
    for arm in arms {
        for ending in ["pcapng", "parquet", "features.parquet"] {
            let file = out.join(format!("steady-orders-{arm}.{ending}"));
            assert!(file.metadata().is_ok_and(|file| file.len() > 1_000), "{}", file.display());
        }
    }
    for file in ["report.html", "report.json", "steady-orders.schedule", "gateway.toml"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    comparison.assert_gone();
}

/// What a strategy sent in 200 ms, from a capture; the file is named by its path.
#[test]
fn a_capture_is_a_workload() {
    let dir = TempDir::new().unwrap();
    let capture = dir.path().join("day.pcapng");
    let mut generate = Command::new(WIREPACE);
    generate.args(["generate", "--kind", "orders", "--out"]).arg(&capture);
    assert!(generate.output().unwrap().status.success());
    let config = format!(
        "questions = [\"who-paces\"]\nworkloads = [{capture:?}]\n[full]\nrounds = 1\nblock = \"200ms\"\n\
         [void]\nrepeats_max = 0\n"
    );
    let Some(mut comparison) = Comparison::start_with(&config, &[]) else { return };
    let (code, recorded) = comparison.ended();
    assert!(matches!(code, Some(0 | 3)), "{code:?}: {}", comparison.log());
    let recorded = recorded.unwrap();
    let workload = &recorded.questions[0].workloads[0];
    assert_eq!((workload.name.as_str(), workload.blocks.len()), ("day", 5));
    for block in &workload.blocks {
        let (arm, totals) = (&recorded.questions[0].arms[block.arm], &block.totals);
        assert!(totals.offered > 0, "{}", arm.name);
        // A bucket of the kernel's holds all flows of this capture at the rate of one.
        let holds_all = arm.is_kernel && arm.paces;
        let most = totals.delivered * 10 > totals.offered * 9;
        assert!(holds_all || most, "{}: {totals:?}", arm.name);
    }
    let schedule = comparison.dir.path().join("out/day.schedule");
    assert!(
        fs::read_to_string(schedule).unwrap().starts_with("wirepace-schedule 1\nworkload day\n")
    );
    comparison.assert_gone();
}

#[test]
fn after_sigint_there_is_a_report_and_nothing_else() {
    let Some(mut comparison) = Comparison::start(LONG) else { return };
    comparison.says("round 1 of 400 wirepace");
    kill_process(Pid::from_child(&comparison.child), Signal::INT).unwrap();
    let (code, recorded) = comparison.ended();
    assert!(matches!(code, Some(0 | 3)), "{code:?}: {}", comparison.log());
    assert!(recorded.unwrap().header.interrupted);
    comparison.assert_gone();
}

#[test]
fn a_comparison_that_is_killed_leaves_nothing() {
    let Some(mut comparison) = Comparison::start(LONG) else { return };
    comparison.says("round 1 of 400 ");
    comparison.child.kill().unwrap();
    let (code, _) = comparison.ended();
    assert_eq!(code, None, "a signal");
    comparison.assert_gone();
}

/// The gateway dies in a block: the block is void, and the run goes on.
#[test]
fn an_arm_that_dies_makes_its_block_void() {
    let Some(mut comparison) = Comparison::start(SHORT) else { return };
    let gateway = comparison.dir.path().join("out/gateway.toml");
    let word = gateway.to_str().unwrap().to_owned();
    let gateway = wait_for("a gateway", || processes_with(&word).first().copied());
    kill_process(Pid::from_raw(gateway).unwrap(), Signal::KILL).unwrap();
    let (code, recorded) = comparison.ended();
    assert!(matches!(code, Some(0 | 3)), "{code:?}: {}", comparison.log());
    let recorded = recorded.unwrap();
    let question = &recorded.questions[0];
    let blocks = &question.workloads[0].blocks;
    assert_eq!(blocks.len(), 8);
    let died = |void: &Void| matches!(void, Void::ArmEnded { .. });
    let of_dead: Vec<_> = blocks.iter().filter(|block| block.void.iter().any(died)).collect();
    assert_eq!(of_dead.len(), 1, "{}", comparison.log());
    assert_eq!(question.arms[of_dead[0].arm].name, "wirepace");
    comparison.assert_gone();
}

/// Whoever cannot make namespaces is told so, with exit code 3 and a report that says why.
#[test]
fn without_namespaces_nothing_is_comparable() {
    const NOBODY: u32 = 65534;
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let config = dir.path().join("ab.toml");
    fs::write(&config, SHORT).unwrap();
    let program = dir.path().join("wirepace");
    fs::copy(WIREPACE, &program).unwrap();
    let mut command = Command::new(&program);
    command.args(["ab", "--quick", "--config"]).arg(&config).arg("--out").arg(&out);
    if getuid().is_root() {
        for path in [dir.path(), &out] {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        command.uid(NOBODY).gid(NOBODY);
    }
    let run = command.output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(3), "{said}");
    let report = |name: &str| fs::read_to_string(Path::new(&out).join(name)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&report("report.json")).unwrap();
    assert!(json.to_string().contains("not_comparable"), "{json}");
    assert!(report("report.html").contains("namespaces cannot be made here"));
}

#[test]
fn what_is_wrong_in_the_config_is_told_with_its_line() {
    let dir = TempDir::new().unwrap();
    let config = dir.path().join("ab.toml");
    fs::write(&config, "[quick]\nblock = \"2\"\n").unwrap();
    let mut command = Command::new(WIREPACE);
    command.args(["ab", "--config"]).arg(&config).arg("--out").arg(dir.path().join("out"));
    let run = command.output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(2), "{said}");
    assert!(said.contains("line 2"), "{said}");
}
