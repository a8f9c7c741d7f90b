//! A profile switch that was asked for and is not yet answered.

use model::time::Nanos;
use serde_json::{Value, json};

use crate::controller::on_cpu;
use crate::request::refusal;

/// The switch as one core sees it.
#[derive(Debug)]
pub(crate) struct SwitchCore {
    core: usize,
    cpu: Option<usize>,
    /// Number of the command; `None` = the core had no room for it.
    command: Option<u64>,
    effective_at: Option<Nanos>,
    longest_wait: Option<Nanos>,
    ended: bool,
}

impl SwitchCore {
    pub(crate) fn new(core: usize, cpu: Option<usize>, command: Option<u64>) -> Self {
        Self { core, cpu, command, effective_at: None, longest_wait: None, ended: false }
    }

    /// Nothing more will come of it.
    fn is_over(&self) -> bool {
        self.ended || self.command.is_none() || self.longest_wait.is_some()
    }

    fn is_missing(&self) -> bool {
        !self.ended && self.effective_at.is_none()
    }
}

/// A switch under way.
#[derive(Debug)]
pub(crate) struct Switch {
    pub(crate) ticket: u64,
    /// Index of the profile.
    pub(crate) profile: u16,
    pub(crate) asked_at: Nanos,
    /// When the answer is given, complete or not.
    pub(crate) deadline: Nanos,
    pub(crate) cores: Vec<SwitchCore>,
}

impl Switch {
    pub(crate) fn is_complete(&self) -> bool {
        self.cores.iter().all(SwitchCore::is_over)
    }

    pub(crate) fn effective(&mut self, core: usize, command: u64, at: Nanos) {
        if let Some(core) = self.find(core, command) {
            core.effective_at = Some(at);
        }
    }

    pub(crate) fn settled(&mut self, core: usize, command: u64, longest_wait: Nanos) {
        if let Some(core) = self.find(core, command) {
            core.longest_wait = Some(longest_wait);
        }
    }

    pub(crate) fn core_ended(&mut self, core: usize) {
        self.cores.iter_mut().filter(|c| c.core == core).for_each(|c| c.ended = true);
    }

    fn find(&mut self, core: usize, command: u64) -> Option<&mut SwitchCore> {
        self.cores.iter_mut().find(|c| c.core == core && c.command == Some(command))
    }

    /// The reply. Times in us have ns resolution; `null` is what did not happen in time.
    pub(crate) fn to_json(&self, name: &str, lease: Nanos) -> Value {
        let cores: Vec<_> = self
            .cores
            .iter()
            .map(|c| {
                json!({
                    "core": c.core,
                    "cpu": c.cpu,
                    "effective_at_ns": c.effective_at.map(|at| at.0),
                    "effective_after_us": c.effective_at.map(|at| micros(at.saturating_sub(self.asked_at))),
                    "switch_delay_us": c.longest_wait.map(micros),
                    "ended": c.ended,
                })
            })
            .collect();
        let missing: Vec<_> = self
            .cores
            .iter()
            .filter(|c| c.is_missing())
            .map(|c| format!("core {}{}", c.core, on_cpu(c.cpu)))
            .collect();
        if !missing.is_empty() {
            let mut reply = refusal(format!(
                "profile {name:?} is pinned, but did not take effect on {}",
                missing.join(", ")
            ));
            reply["cores"] = Value::from(cores);
            return reply;
        }
        let delay = self.cores.iter().filter_map(|c| c.longest_wait).max();
        json!({
            "ok": true,
            "profile": name,
            "pinned": self.profile != 0,
            "lease_s": (self.profile != 0).then_some(lease.0 as f64 / 1e9),
            "switch_delay_us": delay.map(micros),
            "cores": cores,
        })
    }
}

fn micros(span: Nanos) -> f64 {
    span.0 as f64 / 1e3
}
