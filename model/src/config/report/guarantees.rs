//! What holds for a class and what cannot, in words.

use serde::Serialize;

use crate::config::units::format_bit_rate;
use crate::config::{Class, Config, HaltMixed};
use crate::kind::{Kind, Side};
use crate::profile::{Caps, Lateness};
use crate::time::Nanos;

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
        shaping(config, index, class, &mut list);
        venue_limits(config, index, class, &mut list);
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
        list.push(cannot(
            "a drain, passthrough and what exempt packets behind it release forward lift its envelopes \
             and the port's; they are charged and counted apart",
        ));
    } else {
        list.push(cannot("no caps of its own: only those of the port hold"));
    }
    if params.max_hold != Nanos::MAX {
        list.push(cannot(format!(
            "what has waited for max_hold {} leaves, also above the envelope",
            params.max_hold
        )));
    }
    if class.may_carry_tcp {
        list.push(holds("TCP SYN, FIN, RST and segments without payload never wait for a rate"));
    }
}

/// What of the shaping holds in any profile.
fn shaping(config: &Config, index: usize, class: &Class, list: &mut Vec<Guarantee>) {
    let in_profiles = || config.profiles.iter().map(|profile| &profile.classes[index].shaping);
    if class.intent {
        list.push(cannot("a sender's tag may name it: what is in it is what the sender says"));
    }
    if class.kind.is_exempt() {
        return;
    }
    if let Some(floor) = in_profiles().map(|shaping| shaping.flow_floor_bits_per_s).min()
        && floor > 0
    {
        list.push(holds(format!(
            "each flow that is ready gets {} ahead of strict priority, as far as the caps allow",
            format_bit_rate(floor)
        )));
    }
    if let Some(rate) = in_profiles().map(|s| s.reserved.map_or(0, |b| b.rate_per_s)).min()
        && rate > 0
    {
        let rate = format_bit_rate(rate);
        list.push(holds(format!("{rate} of the port are its own, whatever its priority")));
    }
    if let Some(jitter) = in_profiles().map(|shaping| shaping.jitter_max).max()
        && jitter != Nanos::ZERO
    {
        list.push(holds(format!(
            "jitter makes a packet up to {jitter} later, never earlier, and its bursts hold that much"
        )));
    }
    if let Some(hold) = in_profiles().map(|shaping| shaping.hold_time).max()
        && hold != Nanos::ZERO
    {
        list.push(cannot(format!("a release window may hold a packet for {hold}")));
    }
    let lateness = |wanted| in_profiles().any(|shaping| shaping.lateness == wanted);
    if lateness(Lateness::SendNow) {
        list.push(cannot("a late packet leaves at once, also above the envelope"));
    }
    if lateness(Lateness::ReAnchor) {
        list.push(holds("what was lost by a late packet is not made up"));
    }
}

fn venue_limits(config: &Config, index: usize, class: &Class, list: &mut Vec<Guarantee>) {
    for (limit, derivation) in config.venue_limits.iter().zip(&config.limit_derivations) {
        if !derivation.classes.contains(&index) {
            continue;
        }
        let (most, per) = (limit.messages_max, limit.per);
        let of = &derivation.scope;
        let held = limit.counts_cancels || !class.kind.is_exempt();
        list.push(if held {
            holds(format!("at most {most} messages of {of} in every {per}, whatever is lifted"))
        } else {
            cannot(format!("its messages are not counted in the limit of {of}"))
        });
        if class.kind.is_exempt() && held {
            list.push(cannot(format!(
                "venue limit {:?} may hold it; {} messages of each window are kept free for its kind",
                limit.name, limit.cancel_reserve
            )));
        }
        if class.kind == Kind::Mixed {
            list.push(cannot(format!(
                "an order that venue limit {:?} holds also holds the cancels behind it",
                limit.name
            )));
        }
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
    let in_profiles = || config.profiles.iter().map(|profile| &profile.classes[index].shaping);
    if in_profiles().any(|shaping| shaping.lateness == Lateness::Drop) {
        list.push(cannot("loses late packets as late"));
    }
    if in_profiles().any(|shaping| shaping.horizon_drops) {
        list.push(cannot("loses packets that are due beyond the horizon as horizon"));
    }
    match &class.allow_drop {
        Some(reason) if drops => list.push(cannot(format!(
            "loses packets as queue_full beyond its queue, as pool_low, or as profile_closed ({reason})"
        ))),
        Some(reason) => {
            list.push(cannot(format!(
                "loses packets as pool_low, and as profile_closed where a profile closes it ({reason})"
            )));
        }
        None => list.push(holds(
            "no policy drops it: beyond its queue packets are kept and an alarm counts them",
        )),
    }
}
