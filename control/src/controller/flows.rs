//! `wirepace flows`: every core is lent a survey, and answers when it has walked its flows.

use dataplane::survey::{FlowRow, Survey, Wanted};
use model::time::Nanos;
use serde_json::{Value, json};

use super::profile::SWITCH_WAIT_MAX;
use super::{Answer, Controller, Kpis, seconds};
use crate::request::{bad_usage, refusal};

/// Most flows that are shown at once.
pub const FLOWS_SHOWN_MAX: usize = 10_000;

/// A question for flows that cores have still to answer.
pub(super) struct FlowsAsked {
    ticket: u64,
    deadline: Nanos,
    rows_max: usize,
    /// Cores that were lent a survey.
    waits_for: Vec<usize>,
    rows: Vec<FlowRow>,
    left_off: u64,
}

impl<K: Kpis> Controller<K> {
    /// Asks every core.
    pub(super) fn ask_flows(
        &mut self,
        class: Option<&str>,
        holding: bool,
        rows_max: Option<usize>,
        now: Nanos,
    ) -> Answer {
        let class = match class.map(|name| self.class_index(name)).transpose() {
            Ok(class) => class,
            Err(reply) => return Answer::Now(reply),
        };
        if self.flows_asked.is_some() {
            return Answer::Now(refusal("somebody else looks at the flows now; ask again"));
        }
        let rows_max = rows_max.unwrap_or(FLOWS_SHOWN_MAX).clamp(1, FLOWS_SHOWN_MAX);
        let ticket = self.new_ticket();
        let mut asked = FlowsAsked {
            ticket,
            deadline: now.saturating_add(SWITCH_WAIT_MAX),
            rows_max,
            waits_for: Vec::new(),
            rows: Vec::new(),
            left_off: 0,
        };
        for (index, core) in self.cores.iter_mut().enumerate().filter(|(_, core)| core.obeys()) {
            // The rows that hold most are chosen here, among all.
            let survey = Survey::new(FLOWS_SHOWN_MAX, Wanted { class, holding });
            if core.link.lend_survey(Box::new(survey)).is_ok() {
                asked.waits_for.push(index);
            }
        }
        self.flows_asked = Some(asked);
        Answer::Later(ticket)
    }

    /// The index of a class of the config.
    ///
    /// # Errors
    /// The reply that names those that there are.
    pub(super) fn class_index(&self, name: &str) -> Result<u8, Value> {
        let at = self.settings.classes.iter().position(|class| class == name);
        let known = || self.settings.classes.join(", ");
        at.and_then(|at| u8::try_from(at).ok())
            .ok_or_else(|| bad_usage(format!("no class {name:?}; there are: {}", known())))
    }

    /// Takes in what has come home.
    pub(super) fn drain_surveys(&mut self) {
        for (index, core) in self.cores.iter_mut().enumerate() {
            let Some(survey) = core.link.take_survey() else { continue };
            // One that was given up comes home to nobody.
            let asked = self.flows_asked.as_mut().filter(|asked| asked.waits_for.contains(&index));
            if let Some(asked) = asked {
                asked.waits_for.retain(|waiting| *waiting != index);
                asked.rows.extend(survey.rows());
                asked.left_off += survey.left_off();
            }
        }
    }

    pub(super) fn take_flows(&mut self, ticket: u64, now: Nanos) -> Option<Value> {
        let asked = self.flows_asked.as_ref().filter(|asked| asked.ticket == ticket)?;
        if !asked.waits_for.is_empty() && now < asked.deadline {
            return None;
        }
        let mut asked = self.flows_asked.take()?;
        asked.rows.sort_by_key(|row| std::cmp::Reverse((row.packets, row.last_departure)));
        let more = asked.rows.len().saturating_sub(asked.rows_max) as u64;
        asked.rows.truncate(asked.rows_max);
        Some(json!({
            "at_ns": now.0,
            "flows": asked.rows.iter().map(|row| self.flow_json(row, now)).collect::<Vec<_>>(),
            "left_off": asked.left_off + more,
            "cores_silent": asked.waits_for,
        }))
    }

    fn flow_json(&self, row: &FlowRow, now: Nanos) -> Value {
        let port = self.settings.ports.get(usize::from(row.port)).map(|(name, _)| name);
        let idle = row.last_departure.map(|at| seconds(now.saturating_sub(at)));
        json!({
            "flow": row.flow,
            "addresses": row.key.map(|key| key.to_string()),
            "port": port,
            "class": self.settings.classes.get(usize::from(row.class)),
            "packets": row.packets,
            "waits_for": row.waits_for,
            "idle_s": idle,
        })
    }
}
