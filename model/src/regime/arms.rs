//! The figures of an arm over a trial: those of its windows, each with the weight of its packets.

use super::gates::Arm;
use crate::kpi::{Entry, Report};

/// A mean over windows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Mean {
    sum: f64,
    n: f64,
}

impl Mean {
    fn add(&mut self, value: Option<f64>, n: u64) {
        if let Some(value) = value {
            self.sum += value * n as f64;
            self.n += n as f64;
        }
    }

    fn value(self) -> Option<f64> {
        (self.n > 0.0).then(|| self.sum / self.n)
    }
}

/// What is known of one arm of a class so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ArmTotals {
    /// Windows that had a packet of it.
    pub windows: u64,
    /// Packets that left.
    pub sent: u64,
    dropped: u64,
    excess: Mean,
    p50: Mean,
    p99: Mean,
    exempt_hold_max: f64,
}

impl ArmTotals {
    /// Adds a window: what `report` says of `class` in `arm`, at whatever port it leaves.
    pub fn add(&mut self, report: &Report, class: &str, arm: Option<&str>) {
        let of = |name: &'static str| {
            let mine = move |entry: &&Entry| {
                entry.labels.class.as_deref() == Some(class) && entry.labels.arm == arm
            };
            report.of(name).filter(mine)
        };
        let sent_before = self.sent;
        for entry in of("dispatch_to_wire_ns").filter(|e| e.labels.part == Some("total")) {
            self.sent += entry.n;
            self.p50.add(entry.value("p50"), entry.n);
            self.p99.add(entry.value("p99"), entry.n);
        }
        self.windows += u64::from(self.sent > sent_before);
        of("burstiness_index").for_each(|entry| self.excess.add(entry.value("excess"), entry.n));
        let held = of("exempt_hold_ns").filter_map(|entry| entry.value("max"));
        self.exempt_hold_max = held.fold(self.exempt_hold_max, f64::max);
        let dropped = of("drops").filter_map(|entry| entry.value("packets")).sum::<f64>();
        self.dropped += dropped as u64;
    }

    /// Its figures. Goodput is what left of what ended, so that arms of different sizes compare; where no
    /// exempt packet came, none was held.
    pub fn arm(&self) -> Arm {
        let ended = self.sent + self.dropped;
        Arm {
            excess: self.excess.value(),
            excess_2: None,
            exempt_hold_ns: (self.windows > 0).then_some(self.exempt_hold_max),
            dispatch_to_wire_p50_ns: self.p50.value(),
            dispatch_to_wire_p99_ns: self.p99.value(),
            goodput: (ended > 0).then(|| self.sent as f64 / ended as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kpi::{CANARY, Labels};

    fn entry(
        name: &'static str,
        (part, arm): (Option<&'static str>, Option<&'static str>),
        values: &[(&'static str, Option<f64>)],
        n: u64,
    ) -> Entry {
        let class = Some("orders".to_owned());
        Entry {
            labels: Labels { class, part, arm, ..Labels::default() },
            values: values.to_vec(),
            n,
            ..Entry::blank(name)
        }
    }

    fn window(arm: Option<&'static str>, n: u64, p99: Option<f64>, dropped: f64) -> Report {
        Report {
            entries: vec![
                entry("burstiness_index", (None, arm), &[("excess", p99.map(|_| 2.0))], n),
                entry("dispatch_to_wire_ns", (Some("hold"), arm), &[("p99", Some(9e9))], n),
                entry(
                    "dispatch_to_wire_ns",
                    (Some("total"), arm),
                    &[("p50", Some(100.0)), ("p99", p99)],
                    n,
                ),
                entry("drops", (None, arm), &[("packets", Some(dropped))], n),
                entry("exempt_hold_ns", (None, arm), &[("max", p99)], 1),
            ],
        }
    }

    #[test]
    fn windows_count_by_their_packets_and_arms_are_kept_apart() {
        let mut arm = ArmTotals::default();
        assert_eq!(arm.arm(), Arm::default(), "nothing is known");
        arm.add(&window(Some(CANARY), 100, Some(400.0), 0.0), "orders", Some(CANARY));
        arm.add(&window(Some(CANARY), 300, Some(800.0), 100.0), "orders", Some(CANARY));
        arm.add(&window(None, 5_000, Some(9_000.0), 1.0), "orders", Some(CANARY));
        arm.add(&window(Some(CANARY), 5_000, Some(9_000.0), 1.0), "others", Some(CANARY));
        // (100 x 400 + 300 x 800) / 400; 400 of 500 left.
        let expected = Arm {
            excess: Some(2.0),
            excess_2: None,
            exempt_hold_ns: Some(800.0),
            dispatch_to_wire_p50_ns: Some(100.0),
            dispatch_to_wire_p99_ns: Some(700.0),
            goodput: Some(0.8),
        };
        assert_eq!((arm.arm(), arm.windows, arm.sent), (expected, 2, 400));
    }

    #[test]
    fn a_figure_that_is_absent_in_a_window_is_not_0_in_it() {
        let mut arm = ArmTotals::default();
        arm.add(&window(None, 10, None, 0.0), "orders", None);
        assert_eq!(arm.arm().dispatch_to_wire_p99_ns, None);
        assert_eq!(arm.arm().exempt_hold_ns, Some(0.0), "no exempt packet came: none was held");
        arm.add(&window(None, 30, Some(5.0), 0.0), "orders", None);
        assert_eq!(arm.arm().dispatch_to_wire_p99_ns, Some(5.0));
    }
}
