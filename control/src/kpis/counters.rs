//! Sums since the start, as numbers on the list.

use model::drop_reason::DropReason;
use model::kpi::Count;
use model::sample::Release;

use super::CoreKpis;
use crate::registry::Registry;

const PACKETS_IN: &str = "Packets that arrived for the egress port.";
const BYTES_IN: &str = "Frame bytes that arrived for the egress port.";

/// Sums since start, by port, class and kind; what has no class has a port only.
pub(super) fn put_counters(r: &mut Registry, core: &CoreKpis) {
    let (run, now) = (&core.run.block, &core.now.block);
    for (position, (run, now)) in run.ports.iter().zip(&now.ports).enumerate() {
        let labels = [("port", core.plan.ports[position].name.as_str())];
        let arrived = sum(run.unclassified, now.unclassified);
        r.counter("packets_in", PACKETS_IN, &labels, arrived.packets);
        r.counter("bytes_in", BYTES_IN, &labels, arrived.bytes);
        let help = "Bytes of intent shims taken out of frames for the egress port.";
        r.counter("bytes_stripped", help, &labels, run.bytes_stripped + now.bytes_stripped);
        put_drops(r, &labels, &run.unclassified_dropped, &now.unclassified_dropped);
        let help = "No completion for stall_time with bytes in flight.";
        r.counter("tx_stalls", help, &labels, run.stalls + now.stalls);
        let help = "In-flight limit reached, device empty, due packets waiting.";
        r.counter("tx_starvations", help, &labels, run.starvations + now.starvations);
        for ((tally, run), (_, now)) in run.tallies.iter().zip(now.tallies.iter()) {
            r.counter(tally.name(), tally.help(), &labels, run + now);
        }
        if let Some(levels) = now.levels.or(run.levels) {
            let help = "Flows in the table of the lane that sends to the port.";
            r.gauge("flows", help, &labels, levels.flows);
            if let Some(alive) = levels.path_alive {
                let help = "1 while the path that ends at the port has answered a probe lately.";
                r.gauge("path_alive", help, &labels, u64::from(alive));
            }
        }
        for (plan, (run, now)) in core.plan.limits.iter().zip(run.limits.iter().zip(&now.limits)) {
            let labels = [labels[0], ("limit", plan.name.as_str())];
            let help = "Messages counted by a venue limit.";
            r.counter("venue_limit_messages", help, &labels, run.messages + now.messages);
            let help = "Departures that had waited for a venue limit.";
            r.counter("venue_limit_waits", help, &labels, run.waits + now.waits);
            let help = "Sessions that found no window of their own and share one.";
            let shared = run.sessions_shared + now.sessions_shared;
            r.counter("venue_limit_sessions_shared", help, &labels, shared);
        }
    }
    for (run, now) in run.cells.iter().zip(&now.cells) {
        let class = &core.plan.classes[run.class];
        if class.arm.is_some() && run.is_silent() && now.is_silent() {
            continue;
        }
        let mut labels = vec![
            ("port", core.plan.ports[run.port].name.as_str()),
            ("class", class.name.as_str()),
            ("kind", class.kind.name()),
        ];
        labels.extend(class.arm.map(|arm| ("arm", arm)));
        let (arrived, departed) = (sum(run.arrived, now.arrived), sum(run.departed, now.departed));
        r.counter("packets_in", PACKETS_IN, &labels, arrived.packets);
        r.counter("bytes_in", BYTES_IN, &labels, arrived.bytes);
        let help = "Packets accepted by the egress port.";
        r.counter("packets_out", help, &labels, departed.packets);
        let help = "Frame bytes accepted by the egress port.";
        r.counter("bytes_out", help, &labels, departed.bytes);
        let segmented = sum(run.segmented, now.segmented);
        let help = "Packets that segmentation added.";
        r.counter("segments_added", help, &labels, segmented.packets);
        let help = "Frame bytes of the headers of added segments.";
        r.counter("bytes_added", help, &labels, segmented.bytes);
        let help = "Departures before their eligible time; must stay 0.";
        r.counter("early", help, &labels, run.early + now.early);
        let held = if core.now.fresh { now } else { run };
        let help = "Packets that wait, when the core last told.";
        r.gauge("held", help, &labels, held.backlog_packets);
        if let Some(flows) = now.flows.or(run.flows) {
            let help = "Flows of the class that leave by the port, the second path of its pair.";
            r.gauge("path_flows", help, &labels, flows);
            let moved = sum(run.moved_in, now.moved_in);
            let help =
                "Packets that had arrived for the first path of the pair and left by this one.";
            r.counter("path_packets_in", help, &labels, moved.packets);
        }
        put_drops(r, &labels, &run.dropped, &now.dropped);
        for (release, (run, now)) in Release::ALL.iter().zip(run.releases.iter().zip(&now.releases))
        {
            let mut labels = labels.clone();
            labels.push(("release", release.name()));
            r.counter("releases", "Departures, by why they left then.", &labels, run + now);
        }
    }
}

/// Where the cycles of a core went since start.
pub(super) fn put_cycles(r: &mut Registry, number: usize, core: &CoreKpis) {
    let (run, now) = (&core.run.block.core, &core.now.block.core);
    let number = number.to_string();
    let labels = [("core", number.as_str())];
    let help = "TSC cycles in polls that moved a packet.";
    r.counter("core_busy_cycles", help, &labels, run.busy_cycles + now.busy_cycles);
    let help = "TSC cycles in all polls.";
    r.counter("core_cycles", help, &labels, run.cycles + now.cycles);
}

fn sum(a: Count, b: Count) -> Count {
    Count { packets: a.packets + b.packets, bytes: a.bytes + b.bytes }
}

/// Reasons that have ended a packet.
fn put_drops(
    r: &mut Registry,
    labels: &[(&str, &str)],
    run: &[Count; DropReason::COUNT],
    now: &[Count; DropReason::COUNT],
) {
    for ((reason, run), now) in DropReason::ALL.iter().zip(run).zip(now) {
        let total = sum(*run, *now);
        if total.packets > 0 {
            let mut labels = labels.to_vec();
            labels.push(("reason", reason.name()));
            r.counter("drops", "Packets that ended, by reason.", &labels, total.packets);
        }
    }
}
