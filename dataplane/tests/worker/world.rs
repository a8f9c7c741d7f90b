//! A worker with two lanes between two stepped ports, its stop page, and what they all add up to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use dataplane::assemble::{self, TimeBase};
use dataplane::channel::{self, ControlLink, Event};
use dataplane::clock::TscModel;
use dataplane::intent::desk::Desk;
use dataplane::stop_page::{PageReader, Scope, StopPage};
use dataplane::worker::Clock;
use model::config::Config;
use model::drop_reason::DropReason;
use model::inflight::CompletionSource;
use model::kpi::{Block, Totals};
use model::sample::{End, Release, Sample};
use model::stop::StopWord;
use model::time::{Cycles, Nanos};

use crate::PIPELINE;
use crate::common::Bench;
use crate::cores::{Cores, OneCore, Setting, Way};
use crate::frames::Frame;
use crate::ports::{SimRx, SimTx, Source, TestRx, Wire};

/// Orders, replaces and the mixed sessions leave at one message per ms and wait at most 10 ms. Their
/// burst is two messages.
pub const CONFIG: &str = r#"
[gateway]
name = "safety"
clock = "virtual"
flows_max = 64
[[port]]
name = "in"
side = "inside"
device = "capture"
[[port]]
name = "out"
side = "venue"
device = "capture"
stall_time = "5ms"
#PORT
[[pair]]
inside = "in"
venue = "out"
[default_class]
inside = "other"
venue = "back"
[[class]]
name = "orders"
kind = "order"
messages = "1000/s"
message_burst = 2
max_hold = "10ms"
[[class]]
name = "replaces"
kind = "replace"
messages = "1000/s"
message_burst = 2
max_hold = "10ms"
[[class]]
name = "cancels"
kind = "cancel"
priority = 0
[[class]]
name = "fix"
kind = "mixed"
messages = "1000/s"
message_burst = 2
messages_per_segment = 1
max_hold = "10ms"
halt_mixed = "block"
cancel_on_disconnect = true
[[class]]
name = "fix-pass"
kind = "mixed"
messages = "1000/s"
message_burst = 2
messages_per_segment = 1
max_hold = "10ms"
halt_mixed = "pass"
cancel_on_disconnect = true
[[class]]
name = "cancel-session"
kind = "cancel"
[[class]]
name = "tcp-orders"
kind = "order"
max_hold = "10ms"
messages_per_segment = 1
halt_mixed = "block"
[[class]]
name = "logs"
rate = "1M"
burst = "1 packet"
[[class]]
name = "other"
[[class]]
name = "back"
from = "venue"
[[rule]]
class = "cancels"
protocol = "udp"
dst_port = "7000-7109"
dscp = 46
venue = "XCME"
[[rule]]
class = "cancels"
protocol = "udp"
dst_port = 7010
venue = "XCME"
[[rule]]
class = "replaces"
protocol = "udp"
dst_port = 7020
venue = "XCME"
[[rule]]
class = "fix"
protocol = "udp"
dst_port = 7030
venue = "XCME"
[[rule]]
class = "orders"
protocol = "udp"
dst_port = "7000-7099"
venue = "XCME"
[[rule]]
class = "orders"
protocol = "udp"
dst_port = 7100
venue = "XEUR"
[[rule]]
class = "fix"
protocol = "tcp"
dst_port = 9001
venue = "XCME"
[[rule]]
class = "fix-pass"
protocol = "tcp"
dst_port = 9002
venue = "XCME"
[[rule]]
class = "cancel-session"
protocol = "tcp"
dst_port = 9003
venue = "XCME"
[[rule]]
class = "tcp-orders"
protocol = "tcp"
dst_port = 9004
venue = "XCME"
[[rule]]
class = "logs"
protocol = "udp"
dst_port = 514
[[profile]]
name = "contain"
[[profile.class]]
name = "orders"
messages = "200/s"
"#;

/// The config with changes: pieces of text that are replaced, each found exactly once.
pub fn config(changes: &[(&str, &str)]) -> Config {
    let mut text = CONFIG.to_owned();
    for (from, to) in changes {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replace(from, to);
    }
    Config::from_toml("safety.toml", &text).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// Virtual time.
#[derive(Clone)]
pub struct StepClock(pub Rc<Cell<Nanos>>);

impl Clock for StepClock {
    fn now(&self) -> Nanos {
        self.0.get()
    }

    fn cycles(&self) -> Cycles {
        Cycles(self.0.get().0)
    }

    fn set_model(&mut self, _: TscModel) {}

    /// A TSC of 1 GHz that began with gateway time.
    fn tsc_model(&self) -> Option<TscModel> {
        Some(TscModel::new(Cycles(0), Nanos(0), 1_000_000_000))
    }
}

/// Sizes of what goes to control.
pub struct Rings {
    pub samples: usize,
    pub alarms: usize,
}

impl Default for Rings {
    fn default() -> Self {
        Self { samples: 1 << 14, alarms: 256 }
    }
}

/// The gateway in the arrangement of this program, stepped in one thread.
pub struct World {
    cores: Option<Cores>,
    pub control: ControlLink<Block>,
    /// Of the core that receives, where there is one.
    rx_control: Option<ControlLink<Block>>,
    /// From inside to the venue.
    pub inside: Rc<RefCell<Source>>,
    pub wire: Rc<RefCell<Wire>>,
    /// From the venue to inside.
    pub venue: Rc<RefCell<Source>>,
    pub back: Rc<RefCell<Wire>>,
    /// The stop page as `--direct` maps it.
    pub page: Rc<StopPage>,
    pub now: Nanos,
    /// Packets that cutting adds: a test says so before it sends super-frames.
    pub added: u64,
    clock: Rc<Cell<Nanos>>,
    slot: Nanos,
    next_number: u32,
    ended: bool,
    block: Block,
    // Last: the buffers of the ports are back before it counts them.
    bench: Bench,
    _dir: tempfile::TempDir,
}

/// What a world came to.
pub struct Books {
    pub totals: Totals,
    pub block: Block,
    pub events: Vec<Event>,
    pub samples: Vec<Sample>,
    /// Gaps between packets of one flow that were looked at.
    pub gaps: u64,
}

impl Books {
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.totals.drops[reason as usize].packets
    }

    pub fn releases(&self, wanted: Release) -> usize {
        self.samples.iter().filter(|row| row.end == End::Sent(wanted)).count()
    }
}

impl World {
    pub fn new(config: &Config) -> Self {
        Self::with(config, CompletionSource::Synchronous, &Rings::default(), Bench::new())
    }

    pub fn with(config: &Config, offered: CompletionSource, rings: &Rings, bench: Bench) -> Self {
        Self::build((TimeBase::Virtual, Wire::default(), None), config, offered, rings, bench)
    }

    /// Packets carry stamps of `base`: gateway time, or a device's own. They go out to `wire`.
    pub fn on(base: TimeBase, wire: Wire, config: &Config, bench: Bench) -> Self {
        let offered = CompletionSource::Synchronous;
        Self::build((base, wire, None), config, offered, &Rings::default(), bench)
    }

    /// The lane from inside takes what `desk` makes of senders' intent.
    pub fn with_intent(
        config: &Config,
        offered: CompletionSource,
        rings: &Rings,
        bench: Bench,
        desk: Option<Desk>,
    ) -> Self {
        let parts = (TimeBase::Virtual, Wire::default(), desk);
        Self::build(parts, config, offered, rings, bench)
    }

    fn build(
        (base, wire, desk): (TimeBase, Wire, Option<Desk>),
        config: &Config,
        offered: CompletionSource,
        rings: &Rings,
        bench: Bench,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let classes: Vec<&str> = config.classes.iter().map(|c| c.name.as_str()).collect();
        let path = dir.path().join("stop");
        let start = StopWord::Running;
        let page =
            StopPage::create_or_open(&path, "safety", &config.venues, &classes, start).unwrap();
        let inside = Rc::new(RefCell::new(Source::default()));
        let venue = Rc::new(RefCell::new(Source::default()));
        let wire = Rc::new(RefCell::new(wire));
        let back = Rc::new(RefCell::new(Wire::default()));
        let completion = assemble::completion_source(&config.ports[1], offered).unwrap();
        let sync = CompletionSource::Synchronous;
        let ways = [(&inside, &wire, (0, 1), completion), (&venue, &back, (1, 0), sync)].map(
            |(from, to, ports, completion)| {
                let rx = SimRx { source: Rc::clone(from), pool: bench.pool.clone() };
                let rx = TestRx::new(rx, &config.ports[ports.0].queues[0]);
                Way { rx, tx: SimTx { wire: Rc::clone(to) }, ports, completion }
            },
        );
        let setting = Setting { config, pool: &bench.pool, base };
        let plan = assemble::kpi_plan(config, &[(1, completion), (0, sync)], base);
        let normal = Box::new(config.profiles[0].clone());
        let (link, control) =
            channel::link(rings.samples, rings.alarms, normal, Box::new(Block::new(&plan)));
        let clock = Rc::new(Cell::new(Nanos::ZERO));
        let step_clock = StepClock(Rc::clone(&clock));
        let words = PageReader::new(Arc::new(page));
        let (cores, rx_control) = if PIPELINE {
            assert!(desk.is_none(), "a pipeline takes no intent");
            let (cores, rx_control) =
                Cores::pipeline(&setting, ways, link, &plan, words, step_clock);
            (cores, Some(rx_control))
        } else {
            (Cores::one(&setting, ways, desk, link, &plan, words, step_clock), None)
        };
        Self {
            cores: Some(cores),
            control,
            rx_control,
            inside,
            wire,
            venue,
            back,
            page: Rc::new(StopPage::open_existing(&path).unwrap()),
            now: Nanos::ZERO,
            added: 0,
            clock,
            slot: config.gateway.slot,
            next_number: 0,
            ended: false,
            block: Block::new(&plan),
            bench,
            _dir: dir,
        }
    }

    fn cores(&self) -> &Cores {
        self.cores.as_ref().unwrap()
    }

    /// The core that does everything.
    pub fn worker(&self) -> &OneCore {
        match self.cores() {
            Cores::One(worker) => worker,
            Cores::Pipeline { .. } => panic!("two cores"),
        }
    }

    /// Packets held.
    pub fn held(&self) -> u32 {
        self.cores().held()
    }

    /// Wire bytes below the TX queue towards the venue.
    pub fn in_flight_bytes(&self) -> u64 {
        self.cores().in_flight_bytes()
    }

    /// Flows from inside that found the table full.
    pub fn flow_table_full(&self) -> u64 {
        self.cores().flow_table_full()
    }

    /// A frame comes from inside at `at`; gives its number.
    pub fn send(&mut self, at: Nanos, frame: &Frame) -> u32 {
        Self::arrive(&self.inside, &mut self.next_number, at, frame)
    }

    /// A frame comes from the venue at `at`.
    pub fn answer(&mut self, at: Nanos, frame: &Frame) -> u32 {
        Self::arrive(&self.venue, &mut self.next_number, at, frame)
    }

    fn arrive(to: &RefCell<Source>, next: &mut u32, at: Nanos, frame: &Frame) -> u32 {
        *next += 1;
        to.borrow_mut().arrivals.push_back((at, frame.bytes(*next)));
        *next
    }

    /// Sends all of `frames` now; gives their numbers.
    pub fn send_all(&mut self, frames: impl IntoIterator<Item = Frame>) -> Vec<u32> {
        let now = self.now;
        frames.into_iter().map(|frame| self.send(now, &frame)).collect()
    }

    pub fn word(&self, scope: &str, word: StopWord) {
        self.page.set(&scope.parse::<Scope>().unwrap(), word).unwrap();
    }

    /// No caps: only the port makes packets wait.
    pub fn word_passthrough(&self) {
        self.word("all", StopWord::Passthrough);
    }

    pub fn resume(&self, scope: &str) {
        self.page.resume(&scope.parse().unwrap()).unwrap();
    }

    /// One turn of the worker at `now`, and the law of conservation, to the buffer.
    pub fn poll(&mut self) -> usize {
        self.clock.set(self.now);
        let turn = self.cores.as_mut().unwrap().poll(self.now);
        self.ended = turn.ended;
        self.check();
        turn.packets
    }

    fn check(&self) {
        let held = u64::from(self.held());
        let of = |source: &RefCell<Source>| source.borrow().delivered;
        let sent = |wire: &RefCell<Wire>| wire.borrow().sent.len() as u64;
        let (came, left) =
            (of(&self.inside) + of(&self.venue) + self.added, sent(&self.wire) + sent(&self.back));
        assert!(came >= left + held, "{came} came, {left} left and {held} are held");
        let kept = self.wire.borrow().kept_count() + self.back.borrow().kept_count();
        assert_eq!(u64::from(self.bench.pool.in_use()), held + u64::from(kept), "buffers");
    }

    /// Polls at every event up to and with `until`, and at least at each slot while packets wait for a
    /// port.
    pub fn run_until(&mut self, until: Nanos) {
        let mut idle = 0;
        loop {
            let moved = self.poll() > 0;
            idle = if moved { 0 } else { idle + 1 };
            let next = match self.cores().next_event(self.now) {
                Some(next) if next > self.now => next,
                Some(_) if idle < 64 => self.now,
                None if self.held() == 0 => Nanos::MAX,
                _ => self.now + self.slot,
            };
            if next > until || self.ended {
                break;
            }
            self.now = next;
        }
        if !self.ended {
            self.now = until;
            self.poll();
        }
    }

    pub fn run_for(&mut self, span: Nanos) {
        self.run_until(self.now + span);
    }

    /// Until nothing is left to do, for at most ten seconds.
    pub fn run_dry(&mut self) {
        for _ in 0..100 {
            self.run_for(Nanos::from_millis(100));
            let waiting = !self.inside.borrow().arrivals.is_empty()
                || !self.venue.borrow().arrivals.is_empty();
            if self.held() == 0 && !waiting {
                return;
            }
        }
        panic!("{} packets never leave", self.held());
    }

    /// Control asks for the end, of a core that receives first.
    pub fn ask_to_stop(&mut self) {
        if let Some(control) = &self.rx_control {
            control.stopper().stop();
            self.cores.as_mut().unwrap().end_receiving(self.now);
        }
        self.control.stopper().stop();
    }

    /// Control asks for the end; the worker drains.
    pub fn stop(&mut self) {
        self.ask_to_stop();
        let deadline = self.now + Nanos::from_secs(1);
        while !self.ended {
            self.poll();
            if !self.ended {
                let slot = self.slot;
                self.now = self.now + slot;
            }
            assert!(self.now < deadline, "the drain does not end");
        }
    }

    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Numbers that have left towards the venue, in order.
    pub fn out(&self) -> Vec<u32> {
        self.wire.borrow().numbers()
    }

    /// Departures towards the venue: time and number.
    pub fn story(&self) -> Vec<(Nanos, u32)> {
        self.wire.borrow().sent.iter().map(|sent| (sent.at, sent.number)).collect()
    }

    /// Control comes back at the end and reads what is left to be read. Every packet has one end.
    pub fn books(mut self) -> Books {
        let held = u64::from(self.held());
        self.cores.take().unwrap().finish();
        while let Some(block) = self.control.take_block() {
            self.block.merge(&block);
        }
        let totals = self.block.totals();
        let source = |s: &RefCell<Source>| s.borrow().delivered + s.borrow().missed;
        let sent = |w: &RefCell<Wire>| w.borrow().sent.len() as u64;
        assert_eq!(totals.packets_in, source(&self.inside) + source(&self.venue));
        assert_eq!(totals.packets_out, sent(&self.wire) + sent(&self.back));
        assert_eq!(totals.segments_added, self.added);
        let out = totals.packets_out + totals.dropped() + held;
        assert_eq!(totals.packets_in + totals.segments_added, out);
        assert_eq!((totals.held, totals.early, self.block.unplanned), (held, 0, 0));
        for wire in [&self.wire, &self.back] {
            wire.borrow_mut().complete();
        }
        assert_eq!(self.bench.pool.in_use(), 0);
        let (control, rx_control) = (&mut self.control, &mut self.rx_control);
        let from_rx = std::iter::from_fn(|| rx_control.as_mut()?.take_event());
        let events = from_rx.chain(std::iter::from_fn(|| control.take_event())).collect();
        Books {
            totals,
            gaps: self.block.cells.iter().map(|cell| cell.gap_error.count()).sum(),
            block: self.block,
            events,
            samples: std::iter::from_fn(|| control.take_sample()).collect(),
        }
    }
}

pub const fn ms(n: u64) -> Nanos {
    Nanos::from_millis(n)
}

pub const fn us(n: u64) -> Nanos {
    Nanos::from_micros(n)
}
