//! Whether the reference arm has won, by rules that stand before the run.
//!
//! For each workload of a question that has an arm in which the kernel paces, the reference is held against
//! the best of those arms. It has won when
//!
//! - its *shape* is better: the p99 of the gap error, or the burstiness beyond what was due. Either may win,
//!   so their p-values are corrected together (Holm), and an effect must be at least so many times as large as
//!   the observer's resolution;
//! - and every *guard* holds: added delay within the latency budget, and goodput, completion and CPU no worse
//!   than the margins. A guard holds when the end of its interval on the bad side is within the bound; each
//!   must hold, so none is corrected.
//!
//! The same is worked out with and without the blocks that are void. Unless both come to the same the verdict
//! is `not_settled`. What holds by construction, what only stands in for a figure, and what is absent takes no part.

use std::cmp::Ordering;

use serde::Serialize;

use super::contrast::{Contrast, Figure, How, Pair, Standing, median};
use super::direction::Better;
use super::holm::adjusted;
use super::result::{Asked, Block, Gates, Question, RunResult, Workload};

/// The class that is judged, where a workload has several.
const ORDERS: &str = "orders";
/// Payload bits per second that passed the observer.
const GOODPUT: &str = "goodput_bits_per_s";
/// |gap on the wire - due gap|.
const GAP_ERROR: (&str, Option<&str>, &str) = ("wire_cadence_variability_ns", None, "p99");
const CPU: &str = "CPU per packet";
const BURSTS: (&str, Option<&str>, &str) = ("burstiness_index", None, "excess");

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Better shape, and every guard holds.
    Win,
    /// Better shape, paid for: a guard does not hold, or the other shape is worse.
    Traded,
    /// Worse shape, and none is better.
    Loss,
    /// No shape differs.
    NoDifference,
    /// A difference is too small for the observer, or there are too few pairs to find any.
    NotResolved,
    /// With and without void blocks it is not the same.
    NotSettled,
    /// There is nothing to compare.
    NotComparable,
}

/// What became of one gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// A shape: the reference is better.
    Better,
    /// A shape: the reference is worse.
    Worse,
    /// A shape: no difference is found.
    Same,
    /// A shape: a difference below what the observer resolves, or too few pairs to find one.
    NotResolved,
    /// A guard: within its bound.
    Holds,
    /// A guard: not shown to be within its bound.
    Fails,
    /// It takes no part.
    NotGated,
}

/// One figure that gates.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// What it is, for people.
    pub what: &'static str,
    /// Shape or guard.
    pub is_shape: bool,
    /// What was found.
    pub finding: Finding,
    /// By what: the bound, or why it takes no part.
    pub because: String,
    /// The figure: reference against the other arm.
    pub contrast: Contrast,
    /// Of a shape: its p-value, corrected.
    pub p_adjusted: Option<f64>,
}

/// The gates over one set of blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What they come to.
    pub outcome: Outcome,
    /// All of them.
    pub gates: Vec<Gate>,
    /// Pairs.
    pub pairs: usize,
}

/// The verdict on one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Of which question.
    pub asked: Asked,
    /// Name of the workload.
    pub workload: String,
    /// Index of the arm that the reference was held against.
    pub opponent: usize,
    /// Names: reference, opponent.
    pub names: (String, String),
    /// Their titles.
    pub titles: (String, String),
    /// What it comes to.
    pub outcome: Outcome,
    /// Without void blocks.
    pub valid: Judgement,
    /// With them.
    pub all: Judgement,
    /// What the observer resolves, ns.
    pub resolution_ns: Option<f64>,
    /// The reference has a core that polls, and the other arm has none.
    pub polls: bool,
}

/// The verdict on a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What it comes to: that of all workloads, or of the first that is no win.
    pub outcome: Outcome,
    /// Why, where nothing was judged.
    pub because: Option<String>,
    /// Every workload that was judged.
    pub judged: Vec<Judged>,
}

impl Judged {
    /// CPU per packet does not hold, and that the reference polls is why.
    pub fn pays_by_polling(&self) -> bool {
        let fails = |gate: &Gate| gate.what == CPU && gate.finding == Finding::Fails;
        self.polls && self.shown().gates.iter().any(fails)
    }

    /// What is shown: without void blocks, or with them where that leaves no pair.
    pub fn shown(&self) -> &Judgement {
        if self.valid.pairs > 0 { &self.valid } else { &self.all }
    }
}

impl Outcome {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Win => "win",
            Self::Traded => "traded",
            Self::Loss => "loss",
            Self::NoDifference => "no_difference",
            Self::NotResolved => "not_resolved",
            Self::NotSettled => "not_settled",
            Self::NotComparable => "not_comparable",
        }
    }
}

impl Verdict {
    /// Judges `run`.
    pub fn of(run: &RunResult) -> Self {
        let nothing = |because: &str| Self {
            outcome: Outcome::NotComparable,
            because: Some(because.to_owned()),
            judged: Vec::new(),
        };
        if let Some(why) = &run.header.not_comparable {
            return nothing(why);
        }
        let judged: Vec<Judged> = run
            .questions
            .iter()
            .flat_map(|question| {
                question.workloads.iter().map(move |workload| (question, workload))
            })
            .filter_map(|(question, workload)| judge(run, question, workload))
            .collect();
        let first = judged.iter().map(|judged| judged.outcome).find(|one| *one != Outcome::Win);
        if judged.is_empty() {
            return nothing("no question of this run has an arm in which the kernel paces");
        }
        Self { outcome: first.unwrap_or(Outcome::Win), because: None, judged }
    }

    /// Whether the gates hold: what the exit code says.
    pub fn holds(&self) -> bool {
        self.outcome == Outcome::Win
    }
}

/// The settings of comparisons of a run.
pub const fn how(run: &RunResult) -> How {
    How { confidence: run.gates.confidence, seed: run.header.seed }
}

/// Held against the best arm in which the kernel paces; `None`: the question has no such arm.
fn judge(run: &RunResult, question: &Question, workload: &Workload) -> Option<Judged> {
    let opponent = opponent(question, workload)?;
    let reference = question.reference;
    let resolution_ns = resolution(workload, [opponent, reference]);
    let over = |only_valid| {
        let pairs = workload.pairs(opponent, reference, only_valid);
        Bench { gates: &run.gates, workload, resolution_ns, how: how(run), pairs: &pairs }.judge()
    };
    let (valid, all) = (over(true), over(false));
    let outcome = if valid.outcome == all.outcome { valid.outcome } else { Outcome::NotSettled };
    let arm = |arm: usize| question.arms.get(arm).cloned().unwrap_or_default();
    let (mine, other) = (arm(reference), arm(opponent));
    let polls = !mine.is_kernel && other.is_kernel;
    Some(Judged {
        asked: question.asked,
        workload: workload.name.clone(),
        opponent,
        names: (mine.name, other.name),
        titles: (mine.title, other.title),
        outcome,
        valid,
        all,
        resolution_ns,
        polls,
    })
}

/// The arm in which the kernel paces with the least gap error, as the median of its blocks. An arm that is held
/// against itself is as good.
fn opponent(question: &Question, workload: &Workload) -> Option<usize> {
    let gap_error = |arm: usize| {
        let blocks = workload.shown(arm);
        let values = blocks.filter_map(|block| figure(block, GAP_ERROR)?.in_block(block));
        median(values.collect()).unwrap_or(f64::INFINITY)
    };
    let reference = question.arms.get(question.reference);
    let paces = |(index, arm): &(usize, &super::result::Arm)| {
        let is_again = reference.is_some_and(|reference| reference.name == arm.name);
        arm.paces && (arm.is_kernel || is_again) && *index != question.reference
    };
    let arms = question.arms.iter().enumerate().filter(paces).map(|(index, _)| index);
    arms.min_by(|a, b| gap_error(*a).total_cmp(&gap_error(*b)))
}

/// What the observer resolves in blocks of `arms`: the worst arm's median of p99.
pub fn resolution(workload: &Workload, arms: [usize; 2]) -> Option<f64> {
    let of_arm = |arm: usize| {
        let blocks = workload.blocks.iter().filter(|block| block.arm == arm);
        let known = blocks.filter_map(|block| block.conditions.observer);
        median(known.map(|observer| observer.p99_ns as f64).collect())
    };
    let known = arms.into_iter().filter_map(of_arm);
    known.max_by(f64::total_cmp)
}

/// The series of a KPI that is judged: that of the orders, or the first.
fn figure(block: &Block, (name, part, value): (&str, Option<&str>, &str)) -> Option<Figure> {
    let fits = |kpi: &&super::result::Kpi| {
        kpi.name == name && (part.is_none() || kpi.part.as_deref() == part)
    };
    let of_orders = |kpi: &&super::result::Kpi| kpi.class.as_deref() == Some(ORDERS);
    let mut all = block.kpis.iter().filter(fits);
    let orders = block.kpis.iter().filter(fits).find(of_orders);
    orders.or_else(|| all.next()).map(|kpi| Figure::of(kpi, value))
}

/// One workload, one set of pairs: the other arm is A, the reference is B.
struct Bench<'a> {
    gates: &'a Gates,
    workload: &'a Workload,
    resolution_ns: Option<f64>,
    how: How,
    pairs: &'a [Pair<'a>],
}

impl Bench<'_> {
    fn judge(&self) -> Judgement {
        let mut gates =
            vec![self.shape("gap error p99", GAP_ERROR), self.shape("burstiness excess", BURSTS)];
        self.find_shapes(&mut gates);
        gates.extend(self.guards());
        Judgement { outcome: outcome(&gates), gates, pairs: self.pairs.len() }
    }

    fn contrast(&self, of: (&str, Option<&str>, &str)) -> Contrast {
        let block = self.pairs.first().map(|(_, b, _)| *b);
        match block.and_then(|block| figure(block, of)) {
            Some(figure) => Contrast::of_figure(figure, self.pairs, self.how),
            None => Contrast::of_value(of.0, self.pairs, |_| None, self.how),
        }
    }

    fn shape(&self, what: &'static str, of: (&str, Option<&str>, &str)) -> Gate {
        let contrast = self.contrast(of);
        let because = not_gated(&contrast).unwrap_or_default();
        let finding = if because.is_empty() { Finding::Same } else { Finding::NotGated };
        Gate { what, is_shape: true, finding, because, contrast, p_adjusted: None }
    }

    /// Holm over those that take part, then each by itself.
    fn find_shapes(&self, gates: &mut [Gate]) {
        let mut parts: Vec<&mut Gate> =
            gates.iter_mut().filter(|gate| gate.finding != Finding::NotGated).collect();
        let p_values: Vec<f64> =
            parts.iter().map(|gate| gate.contrast.p_value.unwrap_or(1.0)).collect();
        let count = p_values.len() as f64;
        for (gate, p) in parts.iter_mut().zip(adjusted(&p_values)) {
            gate.p_adjusted = Some(p);
            let least = (gate.contrast.p_value_least.unwrap_or(1.0) * count).min(1.0);
            (gate.finding, gate.because) = self.shape_finding(&gate.contrast, p, least);
        }
    }

    fn shape_finding(&self, contrast: &Contrast, p: f64, least: f64) -> (Finding, String) {
        let level = self.gates.level;
        if least > level {
            let pairs = pairs(contrast.pairs);
            let because =
                format!("{pairs}: chance alone has at least {least:.3}, the level is {level}");
            return (Finding::NotResolved, because);
        }
        let because = format!("p {p:.4} after Holm, the level is {level}");
        let sign = contrast.sign().filter(|_| p <= level);
        let Some(sign) = sign else { return (Finding::Same, because) };
        // Burstiness counts packets in windows that are long beside any stamp's error.
        if is_of_stamps(&contrast.figure.name) {
            let least = self.resolution_ns.map(|ns| self.gates.resolutions_min * ns);
            let size = contrast.shift.map_or(0.0, |shift| shift.value.abs());
            match least {
                None => {
                    return (
                        Finding::NotResolved,
                        "the observer's resolution is not known".to_owned(),
                    );
                }
                Some(least) if size < least => {
                    let because = format!("{size:.0} ns where only {least:.0} ns can be told");
                    return (Finding::NotResolved, because);
                }
                Some(_) => {}
            }
        }
        (if sign == Ordering::Less { Finding::Better } else { Finding::Worse }, because)
    }

    fn guards(&self) -> Vec<Gate> {
        let budget = self.workload.contract.latency_budget_ns as f64;
        let delay = |value| ("dispatch_to_wire_ns", Some("total"), value);
        let gates = self.gates;
        let mut all = Vec::new();
        for (what, value) in [("added delay p50", "p50"), ("added delay p99", "p99")] {
            let contrast = self.contrast(delay(value));
            let end = contrast.shift.and_then(|shift| shift.interval).map(|(_, high)| high);
            all.push(guard(
                what,
                contrast,
                end.map(|ns| ns <= budget),
                format!("at most {} us more", budget / 1e3),
            ));
        }
        let goodput = |block: &Block| block.totals.goodput_bits_per_s();
        let contrast = Contrast::of_value(GOODPUT, self.pairs, goodput, self.how);
        let end = contrast.ratio.and_then(|ratio| ratio.interval).map(|(low, _)| low);
        let bound = 1.0 - gates.goodput_margin;
        all.push(guard(
            "goodput",
            contrast,
            end.map(|ratio| ratio >= bound),
            format!("at least {bound} of it"),
        ));
        let contrast = self.contrast(("completion_ratio", None, "ratio"));
        let end = contrast.shift.and_then(|shift| shift.interval).map(|(low, _)| low);
        let bound = gates.completion_margin;
        all.push(guard(
            "completion",
            contrast,
            end.map(|shift| shift >= -bound),
            format!("at most {bound} less"),
        ));
        let contrast = self.contrast(("cpu_ns_per_packet", None, "mean"));
        let end = contrast.ratio.and_then(|ratio| ratio.interval).map(|(_, high)| high);
        let bound = 1.0 + gates.cpu_margin;
        all.push(guard(
            CPU,
            contrast,
            end.map(|ratio| ratio <= bound),
            format!("at most {bound} times"),
        ));
        all
    }
}

/// So many pairs.
pub fn pairs(count: usize) -> String {
    format!("{count} {}", if count == 1 { "pair" } else { "pairs" })
}

/// A figure that is made of the observer's stamps.
pub fn is_of_stamps(name: &str) -> bool {
    const OF_STAMPS: [&str; 9] = [
        "child_join_delay_ns",
        "decision_to_wire_ns",
        "delivery_delay_ns",
        "dispatch_to_wire_ns",
        "ingest_gap_ns",
        "release_error_ns",
        "wire_cadence_variability_ns",
        "wire_serialization_ns",
        "wire_to_ack_ns",
    ];
    OF_STAMPS.contains(&name)
}

/// Why a figure takes no part.
fn not_gated(contrast: &Contrast) -> Option<String> {
    match contrast.standing {
        Standing::StructuralZero => Some("structural_zero".to_owned()),
        Standing::Proxy => Some("proxy".to_owned()),
        Standing::Measured if contrast.pairs == 0 => {
            Some(contrast.absent.clone().unwrap_or_else(|| "absent".to_owned()))
        }
        Standing::Measured => None,
    }
}

/// `within`: `None` where there is no interval, which shows nothing.
fn guard(what: &'static str, contrast: Contrast, within: Option<bool>, bound: String) -> Gate {
    let (finding, because) = match (not_gated(&contrast), within) {
        (Some(why), _) => (Finding::NotGated, why),
        (None, Some(true)) => (Finding::Holds, bound),
        (None, Some(false)) => (Finding::Fails, bound),
        (None, None) => (Finding::Fails, format!("{bound}: there is no interval")),
    };
    Gate { what, is_shape: false, finding, because, contrast, p_adjusted: None }
}

fn outcome(gates: &[Gate]) -> Outcome {
    let any = |finding| gates.iter().any(|gate| gate.finding == finding);
    let shapes = gates.iter().filter(|gate| gate.is_shape);
    if shapes.clone().all(|gate| gate.finding == Finding::NotGated) {
        Outcome::NotComparable
    } else if any(Finding::Better) {
        let is_paid_for = any(Finding::Fails) || any(Finding::Worse);
        if is_paid_for { Outcome::Traded } else { Outcome::Win }
    } else if any(Finding::Worse) {
        Outcome::Loss
    } else if any(Finding::NotResolved) {
        Outcome::NotResolved
    } else {
        Outcome::NoDifference
    }
}

/// Whether a contrast says that A, the other arm, is better, as far as its own interval tells.
pub fn other_is_better(contrast: &Contrast) -> bool {
    let bad = match Better::of(&contrast.figure.name, &contrast.figure.value) {
        Better::Lower => Ordering::Greater,
        Better::Higher => Ordering::Less,
        Better::Neither => return false,
    };
    contrast.standing == Standing::Measured && contrast.sign() == Some(bad)
}
