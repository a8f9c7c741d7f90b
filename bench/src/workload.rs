//! What the queues are put through: who gets which deadline, and in which order things happen.
//!
//! Deadlines are such that about one node is due in [`MEAN_GAP_NS`], whatever the number of nodes:
//! ten million releases a second, more than a core sends. Time goes on by one slot for each poll.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::draw::Draw;
use crate::queue::{DeadlineQueue, SLOT_NS};

/// Time from one release of the whole queue to the next, ns.
pub const MEAN_GAP_NS: u64 = 100;
/// Operations that are timed together: reading the clock costs some 25 ns.
pub const BATCH: u64 = 256;
/// Moves for each poll in [`Pattern::CancelHeavy`]: four times what is due.
const MOVES_PER_POLL: u64 = 40;

/// Who sends how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// All alike, gaps from half to one and a half times the mean.
    Uniform,
    /// The i-th flow sends 1/i as often as the first, gaps a quarter up or down.
    Zipf,
    /// One flow sends in every slot, all others are alike.
    OneHot,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// What is popped gets its next deadline at once: backlogged flows.
    Steady,
    /// All in, then all out.
    FillDrain,
    /// As steady, and four deadlines are moved for each that is popped.
    CancelHeavy,
}

impl Spread {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Uniform, Self::Zipf, Self::OneHot];

    /// For a table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf => "zipf",
            Self::OneHot => "one hot",
        }
    }
}

impl Pattern {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Steady, Self::FillDrain, Self::CancelHeavy];

    /// For a table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::FillDrain => "fill, drain",
            Self::CancelHeavy => "cancel-heavy",
        }
    }
}

/// Draws gaps. Without memory of its own for each node, so that what misses the cache is the queue.
#[derive(Clone, Debug)]
pub struct Gaps {
    draw: Draw,
    spread: Spread,
    nodes: u32,
    /// Of a zipf rank 1, of any node otherwise.
    base_ns: u64,
    rank_shift: u32,
}

impl Gaps {
    /// For nodes `0..nodes`.
    pub fn new(spread: Spread, nodes: u32, seed: u64) -> Self {
        let harmonic = f64::from(nodes).ln() + 0.577;
        Self {
            draw: Draw::new(seed),
            spread,
            nodes,
            base_ns: match spread {
                Spread::Zipf => ((MEAN_GAP_NS as f64 * harmonic) as u64).max(SLOT_NS),
                Spread::Uniform | Spread::OneHot => MEAN_GAP_NS * u64::from(nodes),
            },
            rank_shift: nodes.next_power_of_two().leading_zeros() + 1,
        }
    }

    /// The next gap of a node.
    #[inline]
    pub fn next(&mut self, node: u32) -> u64 {
        let drawn = self.draw.bits() >> 32;
        match self.spread {
            Spread::Zipf => {
                // The bits of the number turned round: frequent nodes are not neighbours in memory.
                let rank = u64::from(node.reverse_bits() >> self.rank_shift) + 1;
                let mean = rank * self.base_ns;
                mean * 3 / 4 + ((drawn * (mean / 2)) >> 32)
            }
            Spread::OneHot if node == 0 => SLOT_NS,
            Spread::Uniform | Spread::OneHot => self.base_ns / 2 + ((drawn * self.base_ns) >> 32),
        }
    }

    fn any_node(&mut self) -> u32 {
        self.draw.below(u64::from(self.nodes)) as u32
    }
}

/// A queue under load, from one block of measurement to the next.
pub struct Load<Q> {
    queue: Q,
    gaps: Gaps,
    nodes: u32,
    now: u64,
}

/// What a block measured: ns for each pair of operations, batch by batch.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// ns for each pair of operations of a batch.
    pub batches: Vec<f64>,
    /// Pairs of operations.
    pub pairs: u64,
    /// ns of all of them together.
    pub ns: f64,
}

/// How a queue keeps time: release against deadline.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Ordering {
    /// Releases before their deadline, share.
    pub early: f64,
    /// The earliest, ns before its deadline.
    pub earliest_ns: u64,
    /// Median of ns after the deadline, at the end of the poll's slot.
    pub late_p50_ns: u64,
    /// 99th percentile of it.
    pub late_p99_ns: u64,
    /// Releases behind one with a later slot, share.
    pub out_of_order: f64,
}

impl<Q: DeadlineQueue> Load<Q> {
    /// An empty queue.
    pub fn empty(spread: Spread, nodes: u32) -> Self {
        Self { queue: Q::new(nodes), gaps: Gaps::new(spread, nodes, 0x5eed), nodes, now: 0 }
    }

    /// A queue with all nodes in it that has gone round once or more.
    pub fn warm(spread: Spread, nodes: u32) -> Self {
        let mut load = Self::empty(spread, nodes);
        for node in 0..nodes {
            // Anywhere within a gap, as if it had long been running.
            let gap = load.gaps.next(node);
            let at = load.gaps.draw.below(gap.min(u64::from(u32::MAX)));
            load.queue.schedule(node, at);
        }
        load.steady(2 * u64::from(nodes));
        load
    }

    /// One block of a pattern, at least `pairs` long.
    pub fn block(&mut self, pattern: Pattern, pairs: u64) -> Block {
        match pattern {
            Pattern::Steady => self.steady(pairs),
            Pattern::FillDrain => self.fill_drain(pairs),
            Pattern::CancelHeavy => self.cancel_heavy(pairs),
        }
    }

    /// Once round, so that a block does not begin with the caches of another queue.
    pub fn warm_up(&mut self, pattern: Pattern) {
        if pattern != Pattern::FillDrain {
            self.steady(u64::from(self.nodes));
        }
    }

    #[inline(never)]
    fn steady(&mut self, pairs: u64) -> Block {
        let mut timer = Timer::start();
        while timer.pairs < pairs {
            self.now += SLOT_NS;
            self.queue.poll(self.now);
            while let Some(node) = self.queue.pop(self.now) {
                let at = self.now + self.gaps.next(node);
                self.queue.schedule(node, at);
                timer.pairs += 1;
            }
            timer.look();
        }
        timer.end()
    }

    fn cancel_heavy(&mut self, pairs: u64) -> Block {
        let mut timer = Timer::start();
        while timer.pairs < pairs {
            self.now += SLOT_NS;
            self.queue.poll(self.now);
            while let Some(node) = self.queue.pop(self.now) {
                let at = self.now + self.gaps.next(node);
                self.queue.schedule(node, at);
                timer.pairs += 1;
            }
            for _ in 0..MOVES_PER_POLL {
                let node = self.gaps.any_node();
                let at = self.now + self.gaps.next(node);
                self.queue.reschedule(node, at);
            }
            timer.pairs += MOVES_PER_POLL;
            timer.look();
        }
        timer.end()
    }

    fn fill_drain(&mut self, pairs: u64) -> Block {
        let mut block = Block::default();
        while block.pairs < pairs {
            let mut timer = Timer::start();
            for node in 0..self.nodes {
                let at = self.now + self.gaps.next(node);
                self.queue.schedule(node, at);
                timer.pairs += 1;
                timer.look();
            }
            let fill = timer.end();
            let mut timer = Timer::start();
            while timer.pairs < u64::from(self.nodes) {
                self.now += SLOT_NS;
                self.queue.poll(self.now);
                while self.queue.pop(self.now).is_some() {
                    timer.pairs += 1;
                }
                timer.look();
            }
            let drain = timer.end();
            block.pairs += drain.pairs;
            block.ns += fill.ns + drain.ns;
            block.batches.extend(fill.batches.iter().zip(&drain.batches).map(|(f, d)| f + d));
        }
        block
    }

    /// Runs steadily and compares each release with its deadline. Not timed.
    pub fn ordering(spread: Spread, nodes: u32, pairs: u64) -> Ordering {
        let mut load = Self::empty(spread, nodes);
        let mut deadlines = vec![0; nodes as usize];
        for node in 0..nodes {
            let at = load.gaps.next(node);
            deadlines[node as usize] = at;
            load.queue.schedule(node, at);
        }
        let (mut late, mut early, mut earliest) = (Vec::new(), 0u64, 0);
        let (mut last_slot, mut swapped) = (0, 0u64);
        while (late.len() as u64) < pairs {
            load.now += SLOT_NS;
            load.queue.poll(load.now);
            while let Some(node) = load.queue.pop(load.now) {
                let deadline = deadlines[node as usize];
                if load.now < deadline {
                    early += 1;
                    earliest = earliest.max(deadline - load.now);
                }
                late.push(load.now.saturating_sub(deadline) as f64);
                swapped += u64::from(deadline.div_ceil(SLOT_NS) + 1 < last_slot);
                last_slot = deadline.div_ceil(SLOT_NS);
                let at = load.now + load.gaps.next(node);
                deadlines[node as usize] = at;
                load.queue.schedule(node, at);
            }
        }
        let share = |n: u64| n as f64 / late.len() as f64;
        let (early, out_of_order) = (share(early), share(swapped));
        Ordering {
            early,
            earliest_ns: earliest,
            late_p50_ns: crate::stats::quantile(&mut late, 0.5) as u64,
            late_p99_ns: crate::stats::quantile(&mut late, 0.99) as u64,
            out_of_order,
        }
    }

    /// ns of a poll that finds nothing; time goes on by 40 ns from one to the next. `nodes` of the
    /// queue wait for far away.
    pub fn idle_poll(nodes: u32, polls: u64) -> f64 {
        let mut load = Self::empty(Spread::Uniform, nodes.max(1));
        for node in 0..nodes {
            load.queue.schedule(node, 1_900_000_000 + u64::from(node));
        }
        let start = cpu_time();
        for _ in 0..polls {
            load.now += 40;
            load.queue.poll(std::hint::black_box(load.now));
            std::hint::black_box(load.queue.pop(load.now));
        }
        (cpu_time() - start).as_nanos() as f64 / polls as f64
    }
}

/// What this thread has computed so far: what others do on its CPU does not count.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Times batches of operations by the wall, whole blocks by the time of this thread.
pub(crate) struct Timer {
    start: Duration,
    last: Instant,
    /// Pairs of operations so far; the caller counts them.
    pub(crate) pairs: u64,
    last_pairs: u64,
    batches: Vec<f64>,
}

impl Timer {
    pub(crate) fn start() -> Self {
        let batches = Vec::with_capacity(8192);
        Self { start: cpu_time(), last: Instant::now(), pairs: 0, last_pairs: 0, batches }
    }

    #[inline]
    pub(crate) fn look(&mut self) {
        if self.pairs - self.last_pairs >= BATCH {
            let now = Instant::now();
            let ns = (now - self.last).as_nanos() as f64;
            self.batches.push(ns / (self.pairs - self.last_pairs) as f64);
            (self.last, self.last_pairs) = (now, self.pairs);
        }
    }

    pub(crate) fn end(self) -> Block {
        let ns = (cpu_time() - self.start).as_nanos() as f64;
        Block { batches: self.batches, pairs: self.pairs, ns }
    }
}
