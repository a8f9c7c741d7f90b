//! `[intent]` and `[[label]]`: what tags may name.

use super::error::Findings;
use super::matching::{label_number, venue_number};
use super::raw::{RawConfig, RawLabel};
use super::{Class, Intent, IntentLabel, Port, PortIntent};
use crate::rules::Label;

/// Most labels of tags.
const LABELS_MAX: usize = 16_384;

/// The section, and its labels added to `labels` and `venues`.
pub(super) fn intent(
    findings: &Findings,
    raw: &RawConfig,
    labels: &mut Vec<Label>,
    venues: &mut Vec<String>,
) -> Intent {
    let mut intent = Intent {
        udp: raw.intent.udp.or(None),
        shm: raw.intent.shm.value.clone(),
        labels: Vec::new(),
    };
    if let Some(label) = raw.labels.get(LABELS_MAX) {
        let problem = format!("{} labels", raw.labels.len());
        findings.error(label.at, problem, format!("up to {LABELS_MAX}"));
        return intent;
    }
    for raw in &raw.labels {
        let label = label(findings, raw, labels, venues);
        let Some((id, at)) = raw.id.get() else { continue };
        if intent.labels.iter().any(|row| row.id == *id) {
            findings.error(at, format!("label {id} is there twice"), "an id of its own for each");
        }
        intent.labels.push(IntentLabel { id: *id, label });
    }
    intent.labels.sort_by_key(|row| row.id);
    intent
}

fn label(
    findings: &Findings,
    raw: &RawLabel,
    labels: &mut Vec<Label>,
    venues: &mut Vec<String>,
) -> u16 {
    let label = Label {
        symbol: raw.symbol.value.clone(),
        venue: venue_number(findings, &raw.venue, venues),
        tactic: raw.tactic.value.clone(),
        strategy: raw.strategy.value.clone(),
        urgency: raw.urgency.or(0),
    };
    label_number(label, labels)
}

/// What is stated and nothing asks for.
pub(super) fn warn_unused(
    findings: &Findings,
    raw: &RawConfig,
    intent: &Intent,
    classes: &[Class],
    ports: &[Port],
) {
    let taken = intent.udp.is_some()
        || intent.shm.is_some()
        || ports.iter().any(|port| port.intent == PortIntent::Shim);
    if taken {
        return;
    }
    for (raw, class) in raw.classes.iter().zip(classes) {
        if let Some((true, at)) = raw.intent.get() {
            let text = format!("class {:?}: nothing takes the tags that may name it", class.name);
            findings.warn(at, text);
        }
    }
    if let Some(label) = raw.labels.first() {
        findings.warn(label.at, "labels of tags, and nothing takes tags");
    }
}
