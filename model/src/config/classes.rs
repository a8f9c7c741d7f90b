//! `[[class]]`: what a class is, and what it may not be.

use super::bursts::Scale;
use super::caps::Stated;
use super::error::{At, Findings};
use super::names;
use super::raw::{OnOverflow, RawClass, RawConfig, RawGateway, RawPort};
use super::units::format_size;
use super::{Class, ClockKind, Gateway, Port, limits};
use crate::kind::{Kind, Side};
use crate::profile::CLASSES_MAX;
use crate::time::Nanos;

/// Names of the built-in classes of packets that are not IP, by side.
const NON_IP: [&str; 2] = ["non_ip_inside", "non_ip_venue"];

/// Packets that a class may hold by default.
pub(super) const QUEUE_PACKETS: u32 = 1024;
/// Wire bytes that a class may hold by default.
pub(super) const QUEUE_BYTES: u64 = 1 << 20;
/// Priority where the file says none.
const PRIORITY: u8 = 1;

/// The classes of the file with their names.
pub(super) struct RawClasses<'a> {
    pub names: Vec<String>,
    raw: &'a [RawClass],
}

impl<'a> RawClasses<'a> {
    pub fn new(findings: &Findings, root: At, raw: &'a [RawClass]) -> Self {
        let names = names::collect(findings, "class", raw.iter().map(|class| &class.name));
        for class in raw {
            if let Some((name, at)) = class.name.get()
                && NON_IP.contains(&name.as_str())
            {
                let problem = format!("{name:?} is a built-in class");
                findings.error(at, problem, "any other name");
            }
        }
        let most = CLASSES_MAX - NON_IP.len();
        if let Some(class) = raw.get(most) {
            findings.error(class.at, format!("{} classes", raw.len()), format!("up to {most}"));
        }
        if raw.is_empty() {
            findings.error(root, "there is no [[class]]", "a [[class]] for each side at least");
        }
        Self { names, raw }
    }

    pub fn side(&self, class: usize) -> Side {
        self.raw[class].from.or(Side::Inside)
    }

    pub fn at(&self, class: usize) -> At {
        let raw = &self.raw[class];
        raw.name.at(raw.at)
    }
}

/// What a class states for `normal`; profiles start from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub class: Stated,
    pub flow: Stated,
    pub priority: u8,
    pub max_hold: Nanos,
    pub queue_packets: u32,
    pub queue_bytes: u64,
    pub drops_when_full: bool,
    /// Longest jitter that any profile gives it.
    pub jitter: Nanos,
    pub scale: Scale,
}

/// The classes and their shapes in `normal`, the built-in ones last.
pub(super) fn classes(
    findings: &Findings,
    file: &RawConfig,
    may_carry_tcp: &[bool],
    ports: &[Port],
    gateway: &Gateway,
) -> (Vec<Class>, Vec<Shape>) {
    let mut classes = Vec::new();
    let mut shapes = Vec::new();
    for (raw, tcp) in file.classes.iter().zip(may_carry_tcp) {
        let shape = shape(findings, raw, longest_jitter(file, raw), ports, gateway);
        let limited = limits::counts_messages_of(&file.venue_limits, raw);
        let class = class(raw, *tcp, &shape, limited);
        check_kind_of_side(findings, raw, &class);
        check_venue_keys(findings, raw, &class);
        check_drop(findings, raw, &class);
        if file.observe.is_none() {
            check_messages(findings, raw, &class);
            check_halt(findings, raw, &class);
        }
        warn_exempt_caps(findings, raw, &class);
        classes.push(class);
        shapes.push(shape);
    }
    for (side, name) in [Side::Inside, Side::Venue].into_iter().zip(NON_IP) {
        classes.push(built_in(side, name));
        shapes.push(Shape {
            class: Stated::default(),
            flow: Stated::default(),
            priority: 0,
            max_hold: Nanos::MAX,
            queue_packets: QUEUE_PACKETS,
            queue_bytes: QUEUE_BYTES,
            drops_when_full: false,
            jitter: Nanos::ZERO,
            scale: scale(side, 1, Nanos::ZERO, ports, gateway),
        });
    }
    (classes, shapes)
}

/// The longest jitter that `normal` or any profile states for a class.
fn longest_jitter(file: &RawConfig, raw: &RawClass) -> Nanos {
    let profiles = file.profiles.iter().flat_map(|profile| &profile.classes);
    let of_class = profiles.filter(|class| class.name.value == raw.name.value);
    let stated = of_class.filter_map(|class| class.shape.shaping.jitter.value);
    stated.chain(raw.shape.shaping.jitter.value).max().unwrap_or(Nanos::ZERO)
}

/// Bursts of a class are measured in the largest frame that any port it leaves by may send.
fn scale(from: Side, messages: u16, jitter: Nanos, ports: &[Port], gateway: &Gateway) -> Scale {
    let leaves_by = ports.iter().filter(|port| port.side == from.peer());
    let frame = leaves_by.map(|port| port.frame_bytes_max).max().unwrap_or(1514);
    Scale::new(frame, u64::from(messages), gateway.slot, jitter)
}

fn built_in(from: Side, name: &str) -> Class {
    Class::new(name, from, Kind::Other)
}

fn shape(
    findings: &Findings,
    raw: &RawClass,
    jitter: Nanos,
    ports: &[Port],
    gateway: &Gateway,
) -> Shape {
    let from = raw.from.or(Side::Inside);
    let short = matches!(raw.kind.or(Kind::Other), Kind::Order | Kind::Replace | Kind::Mixed);
    let max_hold = if short { Nanos::from_millis(1) } else { Nanos::MAX };
    let scale = scale(from, raw.messages_per_segment.or(1), jitter, ports, gateway);
    let shape = Shape {
        class: Stated::over(Stated::default(), &raw.shape.class),
        flow: Stated::over(Stated::default(), &raw.shape.flow),
        priority: raw.priority.or(PRIORITY),
        max_hold: raw.shape.max_hold.or(max_hold),
        queue_packets: raw.shape.queue_packets.or(QUEUE_PACKETS),
        queue_bytes: raw.shape.queue_bytes.or(QUEUE_BYTES),
        drops_when_full: raw.on_overflow.value == Some(OnOverflow::Drop),
        jitter,
        scale,
    };
    check_queue_and_hold(findings, &raw.shape, raw.at, shape.max_hold, shape.queue_bytes, scale);
    shape
}

/// Bounds of a class's queue and hold; also for profiles.
pub(super) fn check_queue_and_hold(
    findings: &Findings,
    raw: &super::raw::RawShape,
    at: At,
    max_hold: Nanos,
    queue_bytes: u64,
    scale: Scale,
) {
    if max_hold < scale.slot {
        let problem = format!("max_hold: {max_hold} is shorter than the slot");
        findings.error(raw.max_hold.at(at), problem, format!("at least {}", scale.slot));
    }
    if queue_bytes < scale.frame_wire_bytes {
        let problem = format!("queue_bytes: {} holds no largest frame", format_size(queue_bytes));
        findings.error(
            raw.queue_bytes.at(at),
            problem,
            format!("at least {}B", scale.frame_wire_bytes),
        );
    }
}

fn class(raw: &RawClass, may_carry_tcp: bool, shape: &Shape, limited: bool) -> Class {
    let kind = raw.kind.or(Kind::Other);
    let allow_drop = raw.allow_drop.or(false).then(|| raw.allow_drop_reason.or(String::new()));
    // A datagram of an order session is one message unless it says otherwise. What TCP puts in a
    // segment is up to the sender's stack, so there the config has to say it.
    let counted = kind.is_order_entry()
        || limited
        || shape.class.limits_messages()
        || shape.flow.limits_messages();
    let one_per_datagram = (counted && !may_carry_tcp).then_some(1);
    Class {
        name: raw.name.or(String::new()),
        from: raw.from.or(Side::Inside),
        kind,
        may_carry_tcp,
        allow_drop,
        halt_mixed: raw.halt_mixed.value,
        cancel_on_disconnect: raw.cancel_on_disconnect.value,
        messages_per_segment: raw.messages_per_segment.value.or(one_per_datagram),
        cadence: raw.cadence.value,
        latency_budget: raw.latency_budget.value,
        legs: raw.legs.or(false),
        intent: raw.intent.or(false),
        segment: raw.shape.shaping.segment.value,
        // The limits are read after the classes and write these.
        participant_limit: None,
        session_limit: None,
        stated_caps: stated_caps(shape),
    }
}

fn stated_caps(shape: &Shape) -> String {
    let (class, flow) = (shape.class.in_words(), shape.flow.in_words());
    match (class.is_empty(), flow.is_empty()) {
        (true, true) => "unlimited".to_owned(),
        (false, true) => class,
        (true, false) => format!("each flow {flow}"),
        (false, false) => format!("{class}; each flow {flow}"),
    }
}

/// Only what strategies send can be order entry; a venue sends sessions, data and the rest.
fn check_kind_of_side(findings: &Findings, raw: &RawClass, class: &Class) {
    let fits = matches!(class.kind, Kind::Other | Kind::Session | Kind::MarketData);
    if class.from == Side::Venue && !fits {
        let problem = format!("kind = {:?} in a class from the venue", class.kind.name());
        findings.error(raw.kind.at(raw.at), problem, "other, session or market_data");
    }
}

/// From the venue packets are forwarded at once: a cap or a hold there would be a promise unkept.
fn check_venue_keys(findings: &Findings, raw: &RawClass, class: &Class) {
    if class.from != Side::Venue {
        return;
    }
    let flag = |key, field: &super::reader::Field<bool>| {
        field.value.filter(|on| *on).map(|_| (key, field.at(raw.at)))
    };
    let hold = raw.shape.max_hold.is_present().then(|| ("max_hold", raw.shape.max_hold.at(raw.at)));
    let caps = raw.shape.class.present().chain(raw.shape.flow.present());
    let others = hold.into_iter().chain(flag("legs", &raw.legs)).chain(flag("intent", &raw.intent));
    for (key, at) in caps.chain(raw.shape.shaping.present()).chain(others) {
        let problem = format!("`{key}` in a class from the venue");
        findings.error(at, problem, "no caps and no hold: it is forwarded at once");
    }
}

fn check_drop(findings: &Findings, raw: &RawClass, class: &Class) {
    let name = &class.name;
    if raw.on_overflow.value == Some(OnOverflow::Drop) && raw.allow_drop.value != Some(true) {
        let why = match (class.kind.is_order_entry(), class.may_carry_tcp) {
            (true, _) => format!(", which carries orders (kind {})", class.kind.name()),
            (false, true) => ", which may carry TCP".to_owned(),
            (false, false) => String::new(),
        };
        let problem = format!("on_overflow = \"drop\" in class {name:?}{why}");
        let allowed = "\"backpressure\", or allow_drop = true with an allow_drop_reason";
        findings.error(raw.on_overflow.at(raw.at), problem, allowed);
    }
    if raw.allow_drop.value == Some(true) && !raw.allow_drop_reason.is_present() {
        let problem = format!("class {name:?} allows drops without a reason");
        findings.error(raw.allow_drop.at(raw.at), problem, "an allow_drop_reason that says why");
    }
    if raw.allow_drop_reason.is_present() && raw.allow_drop.value == Some(false) {
        let at = raw.allow_drop_reason.at(raw.at);
        findings.warn(at, format!("class {name:?}: a reason for drops that are not allowed"));
    }
}

/// Where a message rate is stated, the messages have to be counted by something.
fn check_messages(findings: &Findings, raw: &RawClass, class: &Class) {
    if class.messages_per_segment.is_some() || raw.messages_per_segment.is_present() {
        return;
    }
    for field in [&raw.shape.class.messages, &raw.shape.flow.messages] {
        if let Some((Some(_), at)) = field.get() {
            refuse_uncounted(findings, class, at);
        }
    }
}

/// The error of a message rate on a class whose messages nothing counts; also for profiles.
pub(super) fn refuse_uncounted(findings: &Findings, class: &Class, at: At) {
    let problem = format!("a message rate on class {:?}, which may carry TCP", class.name);
    findings.error(at, problem, "a message rate with `messages_per_segment`");
}

fn check_halt(findings: &Findings, raw: &RawClass, class: &Class) {
    let mixed = class.kind == Kind::Mixed;
    let orders_by_tcp = class.may_carry_tcp && matches!(class.kind, Kind::Order | Kind::Replace);
    let name = &class.name;
    let allowed = "halt_mixed = \"block\" (a halt stops cancels too) or \"pass\" (orders pass too)";
    if (mixed || orders_by_tcp) && !raw.halt_mixed.is_present() {
        let why = if mixed { "mixed" } else { "open to TCP with orders" };
        findings.error(
            raw.kind.at(raw.at),
            format!("class {name:?} is {why} and has no `halt_mixed`"),
            allowed,
        );
    }
    if mixed && !raw.cancel_on_disconnect.is_present() {
        let problem = format!("class {name:?} is mixed and has no `cancel_on_disconnect`");
        let allowed =
            "cancel_on_disconnect = true or false: what the venue does when the session goes";
        findings.error(raw.kind.at(raw.at), problem, allowed);
    }
    if raw.halt_mixed.is_present() && !mixed && !orders_by_tcp {
        let text =
            format!("class {name:?}: halt_mixed has no effect, its kind is told by the class");
        findings.warn(raw.halt_mixed.at(raw.at), text);
    }
}

fn warn_exempt_caps(findings: &Findings, raw: &RawClass, class: &Class) {
    if class.kind.is_exempt() && class.from == Side::Inside {
        let caps = raw.shape.class.present().chain(raw.shape.flow.present());
        for (key, at) in caps {
            let text = format!(
                "class {:?}: kind {} is charged to `{key}` and never waits for it",
                class.name,
                class.kind.name()
            );
            findings.warn(at, text);
        }
    }
}

/// With order entry on a real clock nobody but the operator can say what a restart does.
pub(super) fn require_start_state(
    findings: &Findings,
    raw: &RawGateway,
    gateway: &Gateway,
    classes: &[Class],
) {
    let live = |class: &&Class| class.kind.is_order_entry() && class.from == Side::Inside;
    if gateway.clock == ClockKind::Tsc
        && !raw.start_state.is_present()
        && let Some(class) = classes.iter().find(live)
    {
        let problem = format!("no `start_state`, and class {:?} is order entry", class.name);
        findings.error(raw.at, problem, "start_state = \"halt\", \"passthrough\" or \"running\"");
    }
}

/// A message cap on a port needs every order session behind it to be counted.
pub(super) fn check_port_messages(findings: &Findings, raw: &[RawPort], classes: &[Class]) {
    for port in raw {
        let Some((Some(_), at)) = port.caps.messages.get() else { continue };
        refuse_uncounted_behind_port(findings, at, classes);
    }
}

/// The error of [`check_port_messages`]; also for profiles.
pub(super) fn refuse_uncounted_behind_port(findings: &Findings, at: At, classes: &[Class]) {
    let uncounted: Vec<&str> = classes
        .iter()
        .filter(|class| class.from == Side::Inside && class.kind.is_order_entry())
        .filter(|class| class.messages_per_segment.is_none())
        .map(|class| class.name.as_str())
        .collect();
    if !uncounted.is_empty() {
        let problem =
            format!("a message rate, but nothing counts those of {}", uncounted.join(", "));
        findings.error(
            at,
            problem,
            "`messages_per_segment` on every order class that may carry TCP",
        );
    }
}
