//! All that decides what a pacer does next, in a form that can be compared: what may differ without
//! anybody being able to tell is brought to one form or left out.

use crate::meta::PacketMeta;
use crate::pacer::flow::{Flow, State};
use crate::pacer::list::List;
use crate::pacer::nodes::Node;
use crate::pacer::tree::Pacer;
use crate::time::Nanos;
use std::collections::VecDeque;

type Queue = VecDeque<PacketMeta>;

/// One line for each thing.
pub(super) fn of(pacer: &mut Pacer<Queue>, now: Nanos) -> Vec<String> {
    let mut lines = vec![
        format!("port {:?} asleep {}", pacer.port_level, pacer.port_on_wheel),
        format!("turns {:?}", pacer.turns),
        format!("express {:?}", members(&mut pacer.flows, pacer.express)),
        format!("lifted {:?}", members(&mut pacer.flows, pacer.lifted)),
        format!("held {} {}", pacer.queued_packets, pacer.queued_bytes),
        format!("counters {:?} {:?}", pacer.counters, pacer.guard.counters),
        format!("short way {} draws {}", pacer.short_way, pacer.draws),
        format!("to be committed {} {}", pacer.journal.len(), pacer.follow_up),
    ];
    lines.extend((0..pacer.flows.len()).map(|flow| of_flow(pacer, flow)));
    lines.extend((0..pacer.classes.len()).map(|class| of_class(pacer, class)));
    lines.extend((0..pacer.nodes.count() as u32).filter_map(|number| {
        let node = pacer.nodes.node(number);
        // A limit's timer that is too early finds nobody to wake and is set again.
        let is_limit = matches!(node, Node::Limit(_));
        let at = pacer.wheel.fires_at(number).filter(|_| !is_limit)?;
        Some(format!("{node:?} fires at {at}"))
    }));
    lines.extend(of_limits(pacer, now));
    lines
}

fn members(flows: &mut [Flow<Queue>], list: List) -> Vec<u32> {
    let mut members: Vec<u32> = Vec::new();
    let mut next = list.tail();
    while let Some(flow) = next {
        members.insert(0, flow);
        next = list.before(flows, flow);
    }
    members
}

fn of_flow(pacer: &Pacer<Queue>, flow: usize) -> String {
    let (f, cold) = (&pacer.flows[flow], &pacer.cold[flow]);
    // A turn begins when somebody looks at its head.
    let begun = if f.state.has(State::NEW_TURN) { pacer.wire_len_max } else { 0 };
    let turn = u32::from(f.deficit) + begun;
    let sched = if f.state.has(State::APART) { cold.sched } else { f.level };
    let counted = f.state.has(State::COUNTED).then_some((
        cold.forward,
        cold.exempt_queued,
        cold.gate_from,
        cold.gate_window,
        cold.opened_at,
    ));
    format!(
        "flow {flow}: {:?} class {} {:?} turn {turn} {:?} sched {sched:?} look {} counted {counted:?} \
         epoch {} path {:?}",
        f.state.place(),
        f.class,
        f.fifo,
        f.level,
        cold.look_at,
        cold.epoch,
        pacer.path_of(flow as u32),
    )
}

fn of_class(pacer: &mut Pacer<Queue>, class: usize) -> String {
    let c = &pacer.classes[class];
    let (ready, gated) = (c.ready, c.gated);
    let ready = members(&mut pacer.flows, ready);
    let gated = members(&mut pacer.flows, gated);
    let c = &pacer.classes[class];
    // Without flows it has no turn, and nothing waits.
    let turn = (c.ready_flows > 0).then_some((c.deficit, c.waits_since));
    format!(
        "class {class}: {:?} sched {:?} reserved {:?} {:?} ready {ready:?} of {} gated {gated:?} asleep {} \
         floor {} turn {turn:?} flushed {} {:?}",
        c.level,
        if c.is_apart { c.sched } else { c.level },
        c.reserved,
        c.backlog,
        c.ready_flows,
        c.on_wheel,
        c.floor_on_wheel,
        c.flushed,
        c.window,
    )
}

/// What every instance of a limit says to claims of all sizes that the tests have, and who waits for it.
fn of_limits(pacer: &mut Pacer<Queue>, now: Nanos) -> Vec<String> {
    let guard = &mut pacer.guard;
    let mut lines: Vec<String> =
        guard.limits.all_figures().map(|figures| format!("limit {figures:?}")).collect();
    for instance in 0..guard.limits.instances() as u32 {
        let opens_at: Vec<_> = (1..=16)
            .flat_map(|messages| [(messages, false), (messages, true)])
            .map(|(messages, exempt)| {
                guard.limits.instance_opens_at(instance, messages, exempt).max(now)
            })
            .collect();
        let waits = guard.waiting.lists(instance).map(|list| members(&mut pacer.flows, list));
        let promised = guard.waiting.promised_until(instance).max(now);
        lines.push(format!("instance {instance}: {opens_at:?} {waits:?} promised {promised}"));
    }
    for flow in 0..pacer.flows.len() as u32 {
        if guard.limits.instances() > 0 {
            let (held, senior) = (guard.waiting.held_until(flow), guard.waiting.is_senior(flow));
            lines.push(format!("waited {flow}: {held} {senior}"));
        }
        lines.push(format!("segments {flow}: {:?}", guard.connection(flow)));
    }
    lines
}
