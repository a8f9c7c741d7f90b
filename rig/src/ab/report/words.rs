//! A verdict in sentences, for people.

use crate::ab::compare::Estimate;
use crate::ab::contrast::Contrast;
use crate::ab::verdict::{Finding, Gate, Judged, Outcome, Verdict, pairs};
use ::page::chart::short;

impl Outcome {
    /// What it says of the reference arm.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Win => "better shape on the wire, and every guard holds",
            Self::Traded => {
                "better shape on the wire, but paid for: a guard does not hold, or another shape is worse"
            }
            Self::Loss => "worse shape on the wire",
            Self::NoDifference => "no difference in shape was found",
            Self::NotResolved => {
                "a difference, if there is one, is too small for the observer or for so few pairs"
            }
            Self::NotSettled => "with and without void blocks the answer is not the same",
            Self::NotComparable => "there is nothing to compare",
        }
    }
}

impl Verdict {
    /// The verdict, a few lines.
    pub fn lines(&self) -> Vec<String> {
        let outcome = self.outcome;
        let because = self.because.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let mut lines = vec![format!("verdict {}: {}{because}", outcome.name(), outcome.meaning())];
        for judged in &self.judged {
            lines.push(headline(judged));
            lines.extend(judged.shown().gates.iter().map(|gate| format!("  {}", of_gate(gate))));
            lines.extend(judged.pays_by_polling().then(|| format!("  {WHY_CPU}")));
        }
        lines
    }
}

/// What a reader has to know who sees that CPU per packet does not hold.
pub const WHY_CPU: &str = "CPU per packet does not hold because a data core polls: it is busy all the time, \
    whatever passes, and at this load the kernel's path sleeps for most of it. The price is one CPU, and the \
    same at every rate, so per packet it falls as the rate grows. On a PCI port look at what a packet costs \
    while there is work: core_busy_ratio and cycles_per_packet of the gateway, at your own rate";

/// Who was held against whom, and what came of it.
fn headline(judged: &Judged) -> String {
    let (workload, outcome) = (&judged.workload, judged.outcome.name());
    format!("{workload} {outcome}: {}", summary(judged))
}

/// The figures of a verdict in one sentence.
pub fn summary(judged: &Judged) -> String {
    let (reference, opponent) = &judged.titles;
    let of = |gate: &Gate| {
        let contrast = &gate.contrast;
        let unit = unit_of(&contrast.figure.name);
        let is_delay = contrast.figure.name == "dispatch_to_wire_ns";
        let said = if is_delay { added(contrast, unit) } else { differs(contrast, unit) };
        said.map(|said| format!("{} {said}", gate.what))
    };
    let shown = judged.shown();
    let all: Vec<String> = shown.gates.iter().filter_map(of).collect();
    let void = if judged.valid.pairs > 0 { "" } else { " of void blocks, there are no others" };
    format!("{reference} against {opponent}, {}{void}: {}", pairs(shown.pairs), all.join("; "))
}

fn of_gate(gate: &Gate) -> String {
    let finding = of_finding(gate.finding);
    let contrast = &gate.contrast;
    let unit = unit_of(&contrast.figure.name);
    let medians = contrast.medians.map_or_else(String::new, |(other, mine)| {
        format!(", {} against {}", quantity(mine, unit), quantity(other, unit))
    });
    let differs = differs(contrast, unit).map(|text| format!(", {text}")).unwrap_or_default();
    format!("{:<18} {finding} ({}){medians}{differs}", gate.what, gate.because)
}

/// The unit of a figure; goodput is none of the catalogue.
pub fn unit_of(name: &str) -> &'static str {
    model::kpi::catalogue::find(name).map_or("bit/s", |definition| definition.unit)
}

/// A finding in a word or two.
pub const fn of_finding(finding: Finding) -> &'static str {
    match finding {
        Finding::Better => "better",
        Finding::Worse => "worse",
        Finding::Same => "no difference",
        Finding::NotResolved => "not resolved",
        Finding::Holds => "holds",
        Finding::Fails => "does not hold",
        Finding::NotGated => "takes no part",
    }
}

/// The ratio with its interval, or where there is none the shift.
pub fn differs(contrast: &Contrast, unit: &str) -> Option<String> {
    let ratio = contrast
        .ratio
        .map(|ratio| format!("{} times{}", short(ratio.value), of_interval(&ratio, short)));
    ratio.or_else(|| added(contrast, unit))
}

/// The shift with its interval.
pub fn added(contrast: &Contrast, unit: &str) -> Option<String> {
    let shift = contrast.shift?;
    let signed = |value: f64| {
        let sign = if value > 0.0 { "+" } else { "" };
        format!("{sign}{}", quantity(value, unit))
    };
    Some(format!("{}{}", signed(shift.value), of_interval(&shift, signed)))
}

fn of_interval(estimate: &Estimate, said: impl Fn(f64) -> String) -> String {
    let interval = estimate.interval;
    interval.map_or_else(String::new, |(low, high)| format!(" [{}, {}]", said(low), said(high)))
}

/// A value with its unit; times in the unit in which they are short.
pub fn quantity(value: f64, unit: &str) -> String {
    let size = value.abs();
    match unit {
        "1" => short(value),
        "ns" if size >= 1e9 => format!("{} s", short(value / 1e9)),
        "ns" if size >= 1e6 => format!("{} ms", short(value / 1e6)),
        "ns" if size >= 1e3 => format!("{} us", short(value / 1e3)),
        "bit/s" if size >= 1e9 => format!("{} Gbit/s", short(value / 1e9)),
        "bit/s" if size >= 1e6 => format!("{} Mbit/s", short(value / 1e6)),
        unit => format!("{} {unit}", short(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::quantity;

    #[test]
    fn times_are_told_in_a_unit_that_fits() {
        for (ns, said) in [
            (0.0, "0 ns"),
            (999.0, "999 ns"),
            (1_500.0, "1.5 us"),
            (-20_000_000.0, "-20 ms"),
            (2e9, "2 s"),
        ] {
            assert_eq!(quantity(ns, "ns"), said);
        }
        assert_eq!(
            (quantity(0.25, "1"), quantity(5e6, "bit/s")),
            ("0.25".into(), "5 Mbit/s".into())
        );
    }
}
