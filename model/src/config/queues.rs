//! `[[port.queue]]`: how packets are taken from each RX queue, and which classes are steered there.

use super::error::{At, Findings};
use super::raw::{RawPort, RawQueue};
use super::{Class, Port, RxQueue};
use crate::kind::{Kind, Side};
use crate::time::Nanos;

/// What a queue does that the file does not speak of: deliver at once.
pub(super) fn defaults(rx_queues: u16, rx_burst: u16) -> Vec<RxQueue> {
    let queue =
        RxQueue { burst: rx_burst, hold_frames: 1, hold_time: Nanos::ZERO, classes: Vec::new() };
    vec![queue; usize::from(rx_queues)]
}

/// Fills the tables of the ports, and refuses what would hold anything but market data.
pub(super) fn queues(findings: &Findings, raw: &[RawPort], ports: &mut [Port], classes: &[Class]) {
    let class_names: Vec<String> = classes.iter().map(|class| class.name.clone()).collect();
    for (raw, port) in raw.iter().zip(ports) {
        let mut seen = Vec::new();
        let mut steered: Vec<usize> = Vec::new();
        for queue in &raw.queues {
            let of = one_queue(findings, queue, port, classes, &class_names);
            let Some((index, at)) = queue.index.get() else { continue };
            if seen.contains(index) {
                let problem = format!("queue {index} is there twice");
                findings.error(at, problem, "a [[port.queue]] for each index");
            }
            seen.push(*index);
            refuse_second_queue(findings, queue, &of, &mut steered, classes);
            let count = port.queues.len();
            match port.queues.get_mut(usize::from(*index)) {
                Some(place) => *place = of,
                None => {
                    let problem = format!("queue {index} of {count}");
                    findings.error(at, problem, format!("0 to {}, or more `rx_queues`", count - 1));
                }
            }
        }
        require_rest(findings, raw, port);
    }
}

fn one_queue(
    findings: &Findings,
    raw: &RawQueue,
    port: &Port,
    classes: &[Class],
    class_names: &[String],
) -> RxQueue {
    let mut steered = Vec::new();
    if let Some((wanted, at)) = raw.classes.get() {
        for name in wanted {
            let Some(index) = class_names.iter().position(|known| known == name) else {
                let known = class_names.join(", ");
                findings.error(at, format!("there is no class {name:?}"), known);
                continue;
            };
            if classes[index].from != port.side {
                let side = classes[index].from.name();
                let problem = format!("class {name:?} is from {side:?}");
                findings.error(at, problem, format!("classes with from = {:?}", port.side.name()));
            }
            steered.push(u8::try_from(index).unwrap_or(u8::MAX));
        }
    }
    let queue = RxQueue {
        burst: raw.burst.or(port.rx_burst),
        hold_frames: raw.hold_frames.or(1),
        hold_time: raw.hold_time.or(Nanos::ZERO),
        classes: steered,
    };
    let at = raw.hold_frames.at(raw.hold_time.at(raw.at));
    if (queue.hold_frames > 1) != (queue.hold_time > Nanos::ZERO) {
        let problem = "`hold_frames` and `hold_time` make a hold only together";
        findings.error(
            at,
            problem,
            "`hold_frames` above 1 with a `hold_time` above 0us, or neither",
        );
    }
    refuse_hold(findings, &queue, at, port, classes);
    queue
}

/// Delivery may wait for market data and for nothing else.
fn refuse_hold(findings: &Findings, queue: &RxQueue, at: At, port: &Port, classes: &[Class]) {
    if queue.hold_frames <= 1 && queue.hold_time == Nanos::ZERO {
        return;
    }
    let allowed = "a hold on a queue whose `classes` are all market_data from the venue";
    if port.side != Side::Venue {
        findings.error(at, "an RX hold on a port of the inside", allowed);
    } else if queue.classes.is_empty() {
        findings.error(at, "an RX hold on a queue that takes whatever comes", allowed);
    }
    for class in queue.classes.iter().filter_map(|class| classes.get(usize::from(*class))) {
        if class.kind != Kind::MarketData && class.from == Side::Venue {
            let problem =
                format!("an RX hold on class {:?}, which is {}", class.name, class.kind.name());
            findings.error(at, problem, allowed);
        }
    }
}

/// Two queues of one class could change the order of a flow.
fn refuse_second_queue(
    findings: &Findings,
    raw: &RawQueue,
    queue: &RxQueue,
    steered: &mut Vec<usize>,
    classes: &[Class],
) {
    for class in queue.classes.iter().map(|class| usize::from(*class)) {
        if steered.contains(&class) && class < classes.len() {
            let problem = format!("class {:?} is steered to two queues", classes[class].name);
            findings.error(raw.classes.at(raw.at), problem, "a class in one queue of a port");
        }
        steered.push(class);
    }
}

/// What no queue names, ARP for instance, needs a queue as well.
fn require_rest(findings: &Findings, raw: &RawPort, port: &Port) {
    if let Some(queue) = raw.queues.iter().find(|queue| queue.classes.is_present())
        && port.queues.iter().all(|queue| !queue.classes.is_empty())
    {
        let problem = format!("no queue of port {:?} takes what no queue names", port.name);
        let allowed = "one more of `rx_queues`, without `classes`";
        findings.error(queue.classes.at(queue.at), problem, allowed);
    }
}
