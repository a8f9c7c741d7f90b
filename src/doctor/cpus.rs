//! CPUs that poll: who else may run there, and how fast they wake.

use std::collections::BTreeSet;

use super::finding::{Check, Finding, Mend};
use super::host::{Host, cpu_list};
use super::subject::Subject;

const CPU: &str = "/sys/devices/system/cpu";

const ISOLATION: Check = Check {
    name: "isolation",
    why: "the scheduler gives a CPU that is not kept free to any thread that wants one, for milliseconds",
};
const TICKS: Check = Check {
    name: "nohz_full",
    why: "the kernel's tick interrupts a polling core 100 to 1,000 times a second",
};
const CALLBACKS: Check = Check {
    name: "rcu_nocbs",
    why: "deferred work of the kernel (RCU callbacks) runs on a polling core between two of its turns",
};
const GOVERNOR: Check = Check {
    name: "governor",
    why: "a governor other than performance lowers the clock, and each change of it stops the core",
};
const IDLE: Check = Check {
    name: "c-states",
    why: "a CPU that sleeps deeply wakes late: control after each tick, and a shared cache or memory with it",
};
const SIBLINGS: Check = Check {
    name: "smt",
    why: "two hardware threads of one core share its units and caches: what the other runs slows the one that \
          polls",
};
const REAL_TIME: Check = Check {
    name: "rt-throttling",
    why: "data cores under a real-time policy (chrt) are stopped for 50 ms of each second unless throttling is \
          off; wirepace itself asks for no such policy",
};

/// Longest that a CPU may take to wake, us.
const WAKE_US_MAX: u64 = 20;

/// `isolcpus`.
pub fn isolation(host: &Host, subject: &Subject) -> Vec<Finding> {
    let isolated = host.cpus(&format!("{CPU}/isolated")).unwrap_or_default();
    if subject.data.is_empty() {
        if subject.is_given {
            return ISOLATION.skipped("the config has no data cores");
        }
        let mend = "kernel parameters isolcpus=managed_irq,domain,LIST nohz_full=LIST rcu_nocbs=LIST for the \
                    CPUs that are to poll, then reboot";
        return ISOLATION.bad("no CPU is kept free", Some(Mend::ByHand(mend.to_owned())));
    }
    covered(&ISOLATION, &isolated, &subject.data, "isolcpus=managed_irq,domain,")
}

/// `nohz_full`.
pub fn ticks(host: &Host, subject: &Subject) -> Vec<Finding> {
    if let Some(why) = subject.without_cores() {
        return TICKS.skipped(why);
    }
    match host.cpus(&format!("{CPU}/nohz_full")) {
        None => TICKS.skipped("this kernel cannot (CONFIG_NO_HZ_FULL)"),
        Some(quiet) => covered(&TICKS, &quiet, &subject.data, "nohz_full="),
    }
}

/// `rcu_nocbs`, which `nohz_full` implies.
pub fn callbacks(host: &Host, subject: &Subject) -> Vec<Finding> {
    if let Some(why) = subject.without_cores() {
        return CALLBACKS.skipped(why);
    }
    let mut moved = host.cpus(&format!("{CPU}/nohz_full")).unwrap_or_default();
    match host.kernel_parameter("rcu_nocbs").as_deref() {
        Some("all") => moved.extend(&subject.data),
        Some(list) => moved.extend(dataplane::placement::listed_cpus(list)),
        None => {}
    }
    covered(&CALLBACKS, &moved, &subject.data, "rcu_nocbs=")
}

fn covered(
    check: &Check,
    have: &BTreeSet<usize>,
    wanted: &BTreeSet<usize>,
    parameter: &str,
) -> Vec<Finding> {
    let missing: Vec<usize> = wanted.difference(have).copied().collect();
    if missing.is_empty() {
        return check.good(cpu_list(have.iter().copied()));
    }
    let all = cpu_list(have.union(wanted).copied());
    let found = format!("not of CPUs {} that poll", cpu_list(missing));
    check.bad(found, Some(Mend::Boot(format!("{parameter}{all}"))))
}

/// `scaling_governor`.
pub fn governor(host: &Host, subject: &Subject) -> Vec<Finding> {
    if let Some(why) = subject.without_cores() {
        return GOVERNOR.skipped(why);
    }
    let file = |cpu: &usize| format!("{CPU}/cpu{cpu}/cpufreq/scaling_governor");
    let known: Vec<(usize, String)> =
        subject.data.iter().filter_map(|cpu| Some((*cpu, host.read(&file(cpu))?))).collect();
    if known.is_empty() {
        return GOVERNOR.skipped("the kernel does not set the clock here (no cpufreq)");
    }
    let slow: Vec<_> = known.iter().filter(|(_, governor)| governor != "performance").collect();
    if slow.is_empty() {
        return GOVERNOR.good("performance");
    }
    let found = slow.iter().map(|(cpu, governor)| format!("{governor} on CPU {cpu}"));
    let commands = slow.iter().map(|(cpu, _)| format!("echo performance > {}", file(cpu)));
    GOVERNOR.bad(found.collect::<Vec<_>>().join(", "), Some(Mend::Now(commands.collect())))
}

/// Idle states that take long to leave.
pub fn idle_states(host: &Host, subject: &Subject) -> Vec<Finding> {
    if let Some(why) = subject.without_cores() {
        return IDLE.skipped(why);
    }
    let (mut deep, mut commands, mut states) = (BTreeSet::new(), Vec::new(), 0);
    for cpu in subject.data.iter().chain(&subject.control) {
        let dir = format!("{CPU}/cpu{cpu}/cpuidle");
        for state in host.names(&dir) {
            let file = |name: &str| format!("{dir}/{state}/{name}");
            let Some(latency_us) = host.number(&file("latency")) else { continue };
            states += 1;
            if latency_us > WAKE_US_MAX && host.number(&file("disable")) == Some(0) {
                let name = host.read(&file("name")).unwrap_or(state.clone());
                deep.insert(format!("{name} ({latency_us} us) on CPU {cpu}"));
                commands.push(format!("echo 1 > {}", file("disable")));
            }
        }
    }
    match (states, deep.is_empty()) {
        (0, _) => IDLE.skipped("the kernel does not choose idle states here (no cpuidle)"),
        (_, true) => IDLE.good(format!("none that takes more than {WAKE_US_MAX} us to leave")),
        (_, false) => {
            let found = deep.into_iter().collect::<Vec<_>>().join(", ");
            IDLE.bad(found, Some(Mend::Now(commands)))
        }
    }
}

/// The other threads of the cores that poll.
pub fn siblings(host: &Host, subject: &Subject) -> Vec<Finding> {
    if let Some(why) = subject.without_cores() {
        return SIBLINGS.skipped(why);
    }
    let online = host.cpus(&format!("{CPU}/online")).unwrap_or_default();
    let mut others = BTreeSet::new();
    for cpu in &subject.data {
        let threads = host.cpus(&format!("{CPU}/cpu{cpu}/topology/thread_siblings_list"));
        let threads = threads.unwrap_or_default();
        others.extend(threads.into_iter().filter(|other| other != cpu && online.contains(other)));
    }
    if others.is_empty() {
        return SIBLINGS.good("each core that polls has one thread");
    }
    let found =
        format!("CPUs {} share a core with one that polls", cpu_list(others.iter().copied()));
    // Taking away one that polls would take the gateway's own.
    let idle: Vec<usize> = others.difference(&subject.data).copied().collect();
    let commands: Vec<String> =
        idle.iter().map(|cpu| format!("echo 0 > {CPU}/cpu{cpu}/online")).collect();
    let mend = if commands.is_empty() {
        Mend::ByHand("let the pairs poll on threads of different cores".to_owned())
    } else {
        Mend::Now(commands)
    };
    SIBLINGS.bad(found, Some(mend))
}

/// `sched_rt_runtime_us`.
pub fn real_time(host: &Host, _: &Subject) -> Vec<Finding> {
    match host.read("/proc/sys/kernel/sched_rt_runtime_us").as_deref() {
        None => REAL_TIME.skipped("the kernel does not say"),
        Some("-1") => REAL_TIME.good("off"),
        Some(runtime) => REAL_TIME.note(format!(
            "{runtime} us of each period; off with `sysctl -w kernel.sched_rt_runtime_us=-1`"
        )),
    }
}
