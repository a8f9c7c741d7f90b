//! KPIs over the last seconds, for the regime engine.

use model::kpi::{KpiPlan, Report};
use model::time::Nanos;

use super::{PacketKpis, Sums};
use crate::windows::{History, Spot, Traffic, Windows};

impl PacketKpis {
    /// Keeps the last minute too, in steps of `tick`: [`Kpis::windows`] is computed from it.
    #[must_use]
    pub fn sliding(mut self, tick: Nanos) -> Self {
        self.slide = Some((tick, None));
        for core in &mut self.cores {
            core.sliding = Some((Sums::new(&core.plan), History::new(&core.plan)));
        }
        self
    }

    /// Ends a step of the sliding windows when it is over.
    pub(super) fn slide(&mut self, now: Nanos) {
        let Some((tick, last)) = &mut self.slide else { return };
        let since = *last.get_or_insert(now);
        if now.saturating_sub(since) < *tick {
            return;
        }
        *last = Some(now);
        for (sums, history) in self.cores.iter_mut().filter_map(|core| core.sliding.as_mut()) {
            history.push(sums, now.saturating_sub(since));
        }
    }

    /// The KPIs over each of `windows_s`, in seconds up to now.
    pub(super) fn windows_of(&mut self, windows_s: &[u8]) -> Windows {
        let mut windows = Windows {
            reports: windows_s.iter().map(|length| (*length, Report::default())).collect(),
            ..Windows::default()
        };
        for core in &mut self.cores {
            // Apart from its history, which a window is added up in.
            let Some((sums, mut history)) = core.sliding.take() else { continue };
            let profile = core.in_force(&self.profiles);
            history.windows(windows_s, |at, sums, span| {
                if at == 0 {
                    Self::put_offered(&core.plan, sums, span, &mut windows);
                }
                let report = Report::build(&[core.inputs_of(sums, profile, span)]);
                windows.reports[at].1.merge(report);
            });
            Self::put_traffic(&core.plan, &history, &mut windows);
            core.sliding = Some((sums, history));
        }
        windows
    }

    /// What moved in the last step.
    fn put_traffic(plan: &KpiPlan, history: &History, windows: &mut Windows) {
        let Some(last) = history.last().filter(|last| last.sums.fresh) else { return };
        for cell in &last.sums.block.cells {
            let (port, class) = (&plan.ports[cell.port], &plan.classes[cell.class]);
            let traffic = Traffic {
                packets: cell.arrived.packets,
                backlog_packets: cell.backlog_packets,
                backlog_bytes: cell.backlog_bytes,
                dropped: cell.dropped.iter().map(|count| count.packets).sum(),
            };
            let (port, class, arm) = (port.name.clone(), class.name.clone(), class.arm);
            windows.traffic.push((Spot { port, class, arm }, traffic));
        }
    }

    /// What was offered to each class in `span`, on top of what other cores say.
    fn put_offered(plan: &KpiPlan, sums: &Sums, span: Nanos, windows: &mut Windows) {
        for cell in &sums.block.cells {
            // Frames of at least 60 bytes, each with 24 of preamble, FCS and gap.
            let bytes = cell.arrived.bytes.max(60 * cell.arrived.packets);
            let bits = (bytes + 24 * cell.arrived.packets) * 8;
            let rate = u128::from(bits) * 1_000_000_000 / u128::from(span.0.max(1));
            let rate = u64::try_from(rate).unwrap_or(u64::MAX);
            let name = &plan.classes[cell.class].name;
            match windows.offered.iter_mut().find(|(class, _)| class == name) {
                Some((_, offered)) => *offered = offered.saturating_add(rate),
                None => windows.offered.push((name.clone(), rate)),
            }
        }
    }
}
