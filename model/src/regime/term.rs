//! The smallest part of a condition: one KPI against one bound, or how long another entry has held.
//!
//! A term is written as text, so that a table of states can be read:
//!
//! ```text
//! cap_hit_ratio.ratio >= 0.2
//! dispatch_to_wire_ns[rest].p95 >= 2 b          two times the class's frozen baseline
//! release_error_ns[late].p95 >= 0.25 cadence    a quarter of the class's declared period
//! delivery_delay_ns[market_data].p95 >= 100us
//! child_join_delay_ns.value >= 5 b for 5s       at every tick of 5 s
//! tx_stall_rate.n over 10s >= 3                 computed over 10 s instead of the machine's window
//! fed.cost.breach >= 1                          an outside KPI
//! DEPHASED for 10s                              the entry of DEPHASED held at every tick of 10 s
//! ```

use std::fmt;
use std::str::FromStr;

use super::table::{ScopeKind, StateId};
use crate::config::units::parse_duration;
use crate::kpi::catalogue::{self, Place};
use crate::time::Nanos;

/// Suffix of a KPI as it would be under the operator-confirmed profile.
const AT_NORMAL: &str = "_at_normal";
/// Prefix of KPIs that come from outside.
const FED: &str = "fed.";
/// The probability that the engine itself computes.
pub const P_COMPRESSED_DRAIN: &str = "p_compressed_drain";
/// The value that stands for the number of observations behind a KPI.
pub const OBSERVATIONS: &str = "n";
/// Longest window over which an input is computed.
pub const WINDOW_MAX: Nanos = Nanos::from_secs(60);

/// What a term reads: a value of a series of a KPI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Input {
    /// Name in the catalogue; `fed.NAME` for an outside KPI; [`P_COMPRESSED_DRAIN`].
    pub kpi: String,
    /// The part of it, as in [`crate::kpi::Labels::part`].
    pub part: Option<String>,
    /// The named value: `p95`, `excess`, `ratio` ...; [`OBSERVATIONS`] = how many there were.
    pub value: String,
    /// As if the operator-confirmed profile were in force: what a profile moves by itself must not
    /// keep it in force.
    pub at_normal: bool,
}

impl Input {
    /// Whether it comes from outside.
    pub fn is_fed(&self) -> bool {
        self.kpi.starts_with(FED)
    }

    /// The name of an outside KPI without its prefix.
    pub fn fed_name(&self) -> Option<&str> {
        self.kpi.strip_prefix(FED)
    }

    /// Fewest observations that carry it: those of the KPI and those of the quantile.
    pub fn n_min(&self) -> u64 {
        let of_kpi = catalogue::find(&self.kpi).map_or(0, |definition| definition.n_min);
        let of_quantile = match &*self.value {
            "p50" => 20,
            "p95" => 200,
            "p99" => 1_000,
            "p999" => 10_000,
            _ => 0,
        };
        of_kpi.max(of_quantile)
    }

    /// Unit of what is read; `1` for what is fed.
    fn unit(&self) -> &'static str {
        catalogue::find(&self.kpi).map_or("1", |definition| definition.unit_of(&self.value))
    }

    /// Whether scopes of this kind ever have it. What is fed may be of any.
    pub fn is_of(&self, scope: ScopeKind) -> bool {
        let Some(definition) = catalogue::find(&self.kpi) else { return true };
        match definition.place {
            Place::Class => true,
            Place::InsideClass => matches!(scope, ScopeKind::Class | ScopeKind::TxQueue),
            Place::VenueClass => scope == ScopeKind::Feed,
            Place::Port | Place::Core => matches!(scope, ScopeKind::TxQueue | ScopeKind::Feed),
            Place::VenuePort | Place::VenueLimit => scope == ScopeKind::TxQueue,
            // What is told of the port counts for the feeds that leave there.
            Place::InsidePort => scope == ScopeKind::Feed,
            Place::Host => false,
        }
    }

    /// Whether a longer window has more observations of it: an oscillation looks back 60 s whatever
    /// window is asked for.
    pub fn grows_with_window(&self) -> bool {
        self.kpi != "limit_oscillation_score"
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kpi)?;
        if self.at_normal {
            f.write_str(AT_NORMAL)?;
        }
        if let Some(part) = &self.part {
            write!(f, "[{part}]")?;
        }
        if self.kpi != P_COMPRESSED_DRAIN {
            write!(f, ".{}", self.value)?;
        }
        Ok(())
    }
}

impl FromStr for Input {
    type Err = TermError;

    fn from_str(text: &str) -> Result<Self, TermError> {
        if text == P_COMPRESSED_DRAIN {
            let (kpi, value) = (text.to_owned(), "p".to_owned());
            return Ok(Self { kpi, part: None, value, at_normal: false });
        }
        let (series, value) = text.rsplit_once('.').ok_or_else(|| TermError::no_value(text))?;
        let (name, part) = match series.split_once('[') {
            None => (series, None),
            Some((name, rest)) => {
                let part = rest.strip_suffix(']').filter(|part| is_word(part));
                (name, Some(part.ok_or_else(|| TermError::no_value(text))?.to_owned()))
            }
        };
        let (kpi, at_normal) =
            name.strip_suffix(AT_NORMAL).map_or((name, false), |name| (name, true));
        if !is_word(value) {
            return Err(TermError::no_value(text));
        }
        match kpi.strip_prefix(FED) {
            Some(fed) if is_word(fed) && !at_normal => {}
            Some(_) => return Err(TermError::no_kpi(kpi)),
            None => check_figure(kpi, part.as_deref(), value)?,
        }
        Ok(Self { kpi: kpi.to_owned(), part, value: value.to_owned(), at_normal })
    }
}

/// A gateway gives this value of this part of this KPI.
fn check_figure(kpi: &str, part: Option<&str>, value: &str) -> Result<(), TermError> {
    let definition = catalogue::find(kpi).ok_or_else(|| TermError::no_kpi(kpi))?;
    if !definition.is_of_gateway() {
        let problem = format!("{kpi} is not computed by a gateway");
        return Err(TermError::new(
            problem,
            "a KPI with run or replay under `where` in `wirepace kpis`",
        ));
    }
    let Some(series) = definition.series_of(part) else {
        let problem = match part {
            Some(part) => format!("{kpi} has no part {part:?}"),
            None => format!("{kpi} has parts, of which one has to be named"),
        };
        let parts = definition.series.iter().map(|series| match series.part {
            Some(part) => format!("{kpi}[{part}]"),
            None => kpi.to_owned(),
        });
        return Err(TermError::new(problem, parts.collect::<Vec<_>>().join(", ")));
    };
    if value != OBSERVATIONS && !series.values.contains(&value) {
        let problem = format!("{kpi} has no value {value:?}");
        let allowed = format!("{}, {OBSERVATIONS}", series.values.join(", "));
        return Err(TermError::new(problem, allowed));
    }
    Ok(())
}

pub(super) fn is_word(text: &str) -> bool {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !text.is_empty() && text.chars().all(known)
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`.
    Above,
    /// `>=`.
    AtLeast,
    /// `<`.
    Below,
    /// `<=`.
    AtMost,
}

impl Comparison {
    /// As it is written.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
        }
    }

    /// Whether it asks for large values.
    pub const fn is_lower_bound(self) -> bool {
        matches!(self, Self::Above | Self::AtLeast)
    }

    /// Whether `value` passes.
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
        }
    }
}

/// What a bound is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The unit of the KPI.
    Plain,
    /// The frozen baseline of the input in the same scope.
    Baseline,
    /// The declared period of the class.
    Cadence,
}

/// One input against one limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// What is read.
    pub input: Input,
    /// The window it is computed over; `None` = the machine's.
    pub over: Option<Nanos>,
    /// How it is compared.
    pub comparison: Comparison,
    /// With how much, in `measure`.
    pub factor: f64,
    /// What `factor` counts.
    pub measure: Measure,
    /// For how long it must have held, at every tick; zero = now.
    pub span: Nanos,
}

/// A term of a condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// A value and its limit.
    Bound(Bound),
    /// The entry of another state of the machine held at every tick of `span`.
    Held {
        /// Name of the state.
        state: String,
        /// Its place in the machine; set by [`super::table::Machine::checked`].
        id: StateId,
        /// For how long.
        span: Nanos,
    },
}

impl Term {
    /// Its bound, if it is one.
    pub const fn bound(&self) -> Option<&Bound> {
        match self {
            Self::Bound(bound) => Some(bound),
            Self::Held { .. } => None,
        }
    }

    /// For how long it must have held.
    pub fn span(&self) -> Nanos {
        match self {
            Self::Bound(bound) => bound.span.saturating_add(bound.over.unwrap_or_default()),
            Self::Held { span, .. } => *span,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.input)?;
        if let Some(over) = self.over {
            write!(f, " over {over}")?;
        }
        write!(f, " {} {}", self.comparison.symbol(), self.factor)?;
        match self.measure {
            Measure::Plain => {}
            Measure::Baseline => f.write_str(" b")?,
            Measure::Cadence => f.write_str(" cadence")?,
        }
        if self.span > Nanos::ZERO {
            write!(f, " for {}", self.span)?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound(bound) => bound.fmt(f),
            Self::Held { state, span, .. } => write!(f, "{state} for {span}"),
        }
    }
}

impl serde::Serialize for Term {
    /// As it is written.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl serde::Serialize for Input {
    /// As it is written.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a text is no term.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; allowed: {allowed}")]
pub struct TermError {
    /// What was found.
    pub problem: String,
    /// What is allowed.
    pub allowed: String,
}

/// The forms of a term, for errors.
pub const TERM_FORMS: &str = "\"KPI.value >= NUMBER\" (also >, <, <=) with KPI[part], `over 10s`, NUMBER \
                              b, NUMBER cadence, 100us and `for 5s` where wanted, or \"STATE for 10s\"";

impl TermError {
    fn new(problem: String, allowed: impl Into<String>) -> Self {
        Self { problem, allowed: allowed.into() }
    }

    fn form(text: &str) -> Self {
        Self::new(format!("{text:?} is no condition"), TERM_FORMS)
    }

    fn no_kpi(kpi: &str) -> Self {
        let allowed = "a name that `wirepace kpis` lists, or fed.NAME for what is fed";
        Self::new(format!("{kpi:?} is no KPI"), allowed)
    }

    fn no_value(text: &str) -> Self {
        let allowed = "KPI.value or KPI[part].value, such as dispatch_to_wire_ns[rest].p95";
        Self::new(format!("{text:?} names no value of a KPI"), allowed)
    }

    fn no_time(input: &Input, unit: &str) -> Self {
        let allowed = match unit {
            "1" => "a plain number: it is a ratio or a count".to_owned(),
            unit => format!("a plain number of {unit}"),
        };
        Self::new(format!("{input} is no time"), allowed)
    }

    fn span(problem: String) -> Self {
        Self::new(problem, "\"100ms\" to \"60s\"")
    }
}

impl FromStr for Term {
    type Err = TermError;

    fn from_str(text: &str) -> Result<Self, TermError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (words, span) = match words[..] {
            [ref head @ .., "for", time] => (head, Some(span_of(time)?)),
            _ => (&words[..], None),
        };
        let state = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_uppercase())
                && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        };
        if let ([name], Some(span)) = (words, span)
            && state(name)
        {
            return Ok(Self::Held { state: (*name).to_owned(), id: StateId::LOWEST, span });
        }
        let (input, over, words) = match words {
            [input, "over", time, rest @ ..] => (input, Some(window_of(time)?), rest),
            [input, rest @ ..] => (input, None, rest),
            [] => return Err(TermError::form(text)),
        };
        let (comparison, limit) = match words {
            [">", limit @ ..] => (Comparison::Above, limit),
            [">=", limit @ ..] => (Comparison::AtLeast, limit),
            ["<", limit @ ..] => (Comparison::Below, limit),
            ["<=", limit @ ..] => (Comparison::AtMost, limit),
            _ => return Err(TermError::form(text)),
        };
        let input: Input = input.parse()?;
        let (factor, measure) = limit_of(limit, &input, text)?;
        let span = span.unwrap_or_default();
        Ok(Self::Bound(Bound { input, over, comparison, factor, measure, span }))
    }
}

/// The limit of a bound over `input`: in what it can be measured in.
fn limit_of(limit: &[&str], input: &Input, text: &str) -> Result<(f64, Measure), TermError> {
    match limit {
        [number, "b"] => {
            let factor = number_of(number, text)?;
            if input.is_fed() || input.kpi == P_COMPRESSED_DRAIN {
                let problem = format!("{input} has no baseline");
                return Err(TermError::new(problem, "a plain number"));
            }
            Ok((factor, Measure::Baseline))
        }
        [number, "cadence"] => match input.unit() {
            "ns" => Ok((number_of(number, text)?, Measure::Cadence)),
            unit => Err(TermError::no_time(input, unit)),
        },
        [number] if number.parse::<f64>().is_ok() => Ok((number_of(number, text)?, Measure::Plain)),
        [time] => {
            let time = parse_duration(time).map_err(|_| TermError::form(text))?;
            match input.unit() {
                "ns" => Ok((time.0 as f64, Measure::Plain)),
                "us" => Ok((time.0 as f64 / 1e3, Measure::Plain)),
                unit => Err(TermError::no_time(input, unit)),
            }
        }
        _ => Err(TermError::form(text)),
    }
}

fn number_of(number: &str, text: &str) -> Result<f64, TermError> {
    let number: Option<f64> = number.parse().ok();
    number.filter(|n| n.is_finite() && *n >= 0.0).ok_or_else(|| TermError::form(text))
}

/// A time for which something must have held.
fn span_of(text: &str) -> Result<Nanos, TermError> {
    let span = parse_duration(text).map_err(|e| TermError::span(e.problem))?;
    if (Nanos::from_millis(100)..=WINDOW_MAX).contains(&span) {
        return Ok(span);
    }
    Err(TermError::span(format!("{span} is out of range")))
}

/// A window, in whole seconds.
fn window_of(text: &str) -> Result<Nanos, TermError> {
    let window = parse_duration(text).map_err(|e| TermError::span(e.problem))?;
    let whole = window.0.is_multiple_of(Nanos::from_secs(1).0);
    if whole && (Nanos::from_secs(1)..=WINDOW_MAX).contains(&window) {
        return Ok(window);
    }
    let problem = format!("over {window}");
    Err(TermError::new(problem, "whole seconds, \"1s\" to \"60s\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in [
            "cap_hit_ratio.ratio >= 0.2",
            "dispatch_to_wire_ns[rest].p95 >= 2 b",
            "burstiness_index_at_normal.excess < 1.5",
            "release_error_ns_at_normal[late].p95 >= 0.25 cadence",
            "child_join_delay_ns.value >= 5 b for 5s",
            "tx_stall_rate.n over 10s >= 3",
            "tx_stall_rate.rate > 0",
            "p_compressed_drain <= 0.4",
            "fed.cost.breach >= 1",
            "DEPHASED for 10s",
        ] {
            let term: Term = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(term.to_string(), text);
        }
        let switch: Term = "effective_blocked_time_us.time_us >= 2ms".parse().expect("a term");
        assert_eq!(switch.bound().map(|bound| bound.factor), Some(2_000.0));
        let delay: Term = "delivery_delay_ns[market_data].p95 >= 100us".parse().expect("a term");
        assert_eq!(delay.bound().map(|bound| bound.factor), Some(100_000.0));
    }

    #[test]
    fn what_is_no_term_says_why() {
        let why = |text: &str| text.parse::<Term>().expect_err(text).to_string();
        assert!(why("burstyness.excess >= 3").contains("no KPI"));
        assert!(why("burstiness_index >= 3").contains("no value"));
        assert!(why("burstiness_index.excess == 3").contains("no condition"));
        assert!(why("burstiness_index.excess >= three").contains("no condition"));
        assert!(why("burstiness_index.excess >= -1").contains("no condition"));
        assert!(why("burstiness_index.excess >= NaN").contains("no condition"));
        assert!(why("burstiness_index.excess >= 3 for 2min").contains("out of range"));
        assert!(why("burstiness_index.excess over 1500ms >= 3").contains("whole seconds"));
        assert!(why("fed..breach >= 1").contains("no KPI"));
        // What no gateway gives would never hold.
        assert!(why("queue_loss_proxy.mean >= 1").contains("not computed"));
        assert!(why("run_queue_delay_ns.mean >= 1").contains("not computed"));
        assert!(why("dispatch_to_wire_ns.p95 >= 1").contains("[total], dispatch"));
        assert!(why("dispatch_to_wire_ns[rests].p95 >= 1").contains("no part \"rests\""));
        assert!(why("burstiness_index[canary].excess >= 1").contains("allowed: burstiness_index"));
        assert!(why("dispatch_to_wire_ns[rest].p90 >= 1").contains("p50, p95, p99, p999, max"));
        assert!(why("burstiness_index.excess >= 3ms").contains("a ratio or a count"));
        assert!(why("not_sent_bytes.p95 >= 3ms").contains("of bytes"));
        assert!(why("tx_stall_rate.n >= 0.5 cadence").contains("is no time"));
        assert!(why("fed.cost.breach >= 2 b").contains("no baseline"));
        assert!(why("p_compressed_drain >= 2 b").contains("no baseline"));
        assert!(why("").contains("no condition"));
    }

    #[test]
    fn observations_follow_kpi_and_quantile() {
        let n_min = |text: &str| text.parse::<Input>().expect("an input").n_min();
        assert_eq!(n_min("dispatch_to_wire_ns[rest].p99"), 1_000);
        assert_eq!(n_min("burstiness_index.excess"), 30);
        assert_eq!(n_min("wire_cadence_variability_ns.p95"), 200);
    }
}
