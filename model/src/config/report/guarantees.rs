//! What holds for a class and what cannot, in words.

use serde::Serialize;

use crate::config::{Class, Config, HaltMixed};
use crate::kind::{Kind, Side};
use crate::profile::Caps;

/// One sentence about a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Guarantee {
    /// It is kept; otherwise it is what cannot be kept.
    pub holds: bool,
    /// The sentence.
    pub text: String,
}

fn holds(text: impl Into<String>) -> Guarantee {
    Guarantee { holds: true, text: text.into() }
}

fn cannot(text: impl Into<String>) -> Guarantee {
    Guarantee { holds: false, text: text.into() }
}

/// What holds for class `index` of `config`, and what cannot.
pub fn guarantees(config: &Config, index: usize) -> Vec<Guarantee> {
    let class = &config.classes[index];
    let mut list = vec![holds("each flow leaves in the order in which it came")];
    if class.from == Side::Venue {
        list.push(holds("forwarded at once: no rate, no hold, and no halt stops it"));
    } else {
        pacing(config, index, class, &mut list);
        halting(class, &mut list);
        counting(config, index, class, &mut list);
        fragments(config, index, &mut list);
    }
    losing(config, index, class, &mut list);
    list
}

fn pacing(config: &Config, index: usize, class: &Class, list: &mut Vec<Guarantee>) {
    list.push(holds("nothing leaves before it is due"));
    let params = &config.profiles[0].classes[index];
    let capped = [params.flow, params.class].iter().any(|caps| *caps != Caps::default());
    if class.kind.is_exempt() {
        list.push(holds("never waits for a rate or a message rate; it is charged, and orders pay"));
        list.push(cannot("its own departures keep to no envelope"));
        return;
    }
    if capped {
        list.push(holds("governed departures keep to its envelopes in every window"));
    } else {
        list.push(cannot("no caps of its own: only those of the port hold"));
    }
    if params.max_hold != crate::time::Nanos::MAX {
        list.push(cannot(format!(
            "what has waited for max_hold {} leaves, also above the envelope",
            params.max_hold
        )));
    }
    if class.may_carry_tcp {
        list.push(holds("TCP SYN, FIN, RST and segments without payload never wait for a rate"));
    }
}

fn halting(class: &Class, list: &mut Vec<Guarantee>) {
    let disconnect = match class.cancel_on_disconnect {
        Some(true) => "; the venue cancels when the session goes away",
        Some(false) => "; the venue keeps orders when the session goes away",
        None => "",
    };
    list.push(match (class.kind, class.halt_mixed) {
        (Kind::Order | Kind::Replace, None) => {
            holds("a halt ends all of it as halted; cancels have classes of their own and pass")
        }
        (Kind::Order | Kind::Replace | Kind::Mixed, Some(HaltMixed::Block)) => cannot(format!(
            "cancels are not told apart: halt_mixed = block stops them too{disconnect}"
        )),
        (Kind::Order | Kind::Replace | Kind::Mixed, _) => cannot(format!(
            "orders are not told apart: halt_mixed = pass lets them through a halt{disconnect}"
        )),
        (kind, _) if kind.is_exempt() => holds("passes under a halt"),
        _ => holds("not order entry: passes under a halt"),
    });
}

fn counting(config: &Config, index: usize, class: &Class, list: &mut Vec<Guarantee>) {
    let params = &config.profiles[0].classes[index];
    let limited = params.class.messages.is_some() || params.flow.messages.is_some();
    match class.messages_per_segment {
        Some(count) if class.may_carry_tcp => list.push(cannot(format!(
            "messages are taken as {count} for each TCP segment with payload: the sender's stack may \
             put more or fewer in it"
        ))),
        Some(count) => {
            list.push(holds(format!("messages count as {count} for each datagram with payload")));
        }
        None if class.kind.is_order_entry() || limited => {
            list.push(cannot("messages are not counted: no messages_per_segment"));
        }
        None => {}
    }
}

fn fragments(config: &Config, index: usize, list: &mut Vec<Guarantee>) {
    if config.rules.non_ip_class.iter().any(|class| usize::from(*class) == index) {
        return;
    }
    let forwarded =
        config.ports.iter().any(|port| port.side == Side::Inside && port.forward_fragments);
    list.push(if forwarded {
        cannot("IP fragments hide their ports: they are classified without them")
    } else {
        cannot("IP fragments from inside end as ip_fragment")
    });
}

fn losing(config: &Config, index: usize, class: &Class, list: &mut Vec<Guarantee>) {
    let drops = config.profiles[0].classes[index].drops_when_full;
    match &class.allow_drop {
        Some(reason) if drops => list.push(cannot(format!(
            "loses packets as queue_full beyond its queue, or as profile_closed ({reason})"
        ))),
        Some(reason) => {
            list.push(cannot(format!(
                "loses packets as profile_closed where a profile closes it ({reason})"
            )));
        }
        None => list.push(holds(
            "no policy drops it: beyond its queue packets are kept and an alarm counts them",
        )),
    }
}
