//! The row that is kept of a sampled packet, and the count of one that ends here.

use model::drop_reason::DropReason;
use model::kind::Side;
use model::meta::{PacketMeta, flags};
use model::sample::{DepartureSource, End, Mode, Sample};
use model::time::Nanos;

use super::Core;
use crate::mbuf::Mbuf;

/// Counts the end of a packet and keeps its row where it is sampled.
pub(super) fn drop_packet(
    core: &mut Core<'_>,
    now: Nanos,
    from: Side,
    port: u8,
    has_class: bool,
    packet: &Mbuf,
    reason: DropReason,
) {
    let meta = packet.meta();
    core.aggregates.on_drop(port, has_class.then_some(meta.class), packet.len(), reason, now);
    if has_class {
        core.link.ended(reason);
    }
    if let Some(tap) = core.link.tap_mut() {
        tap.dropped(now, port, has_class.then_some(meta.class), packet, reason);
    }
    if has_class && meta.has(flags::SAMPLED) {
        let row = row(core, meta, from, port, End::Dropped(reason));
        core.link.sample(&row);
    }
}

/// The row of a packet, without what only its departure can tell.
pub(super) fn row(
    core: &mut Core<'_>,
    meta: &PacketMeta,
    from: Side,
    port: u8,
    end: End,
) -> Sample {
    let ago = |lag: u32| meta.arrival.saturating_sub(Nanos(u64::from(lag)));
    Sample {
        packet_id: core.sampler.next_row(),
        correlation_id: (meta.correlation_id != 0).then_some(meta.correlation_id),
        flow: 0,
        tcp_end_seq: meta.has(flags::TCP).then_some(meta.tcp_end_seq),
        tcp: None,
        class: meta.class,
        label: meta.label,
        kind: meta.kind(),
        urgency: meta.urgency,
        len: meta.len,
        messages: meta.messages,
        t_decision: (meta.decision_lag_ns != u32::MAX).then(|| ago(meta.decision_lag_ns)),
        t_dispatch: ago(meta.dispatch_lag_ns),
        t_due: meta.due,
        t_sched: Some(meta.sched),
        t_normal: (meta.normal_lag_ns != i32::MIN)
            .then(|| Nanos(meta.sched.0.saturating_add_signed(-i64::from(meta.normal_lag_ns)))),
        t_eligible: None,
        t_tx: None,
        t_wire: None,
        t_ingress: meta.arrival,
        t_carried: None,
        t_delivery: None,
        clock_error_ns: None,
        intent: meta.intent_source(),
        ingress_source: meta.stamp_source(),
        departure_source: DepartureSource::Tsc,
        simulated_link: false,
        from,
        port,
        queue: 0,
        backlog_bytes: 0,
        end,
        regime: None,
        profile: core.link.profile().index,
        mode: Mode::Observe,
        canary: None,
        weight: core.sampler.weight(meta.flags),
    }
}
