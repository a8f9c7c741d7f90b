//! A machine as data: its states, what enters and leaves them, and what they ask for.
//!
//! [`Machine::checked`] is the only way to one, so a value of this type has hysteresis: nothing that
//! satisfies an exit of a state satisfies its entry too.

use super::advice::Request;
use super::term::{Bound, Comparison, Measure, P_COMPRESSED_DRAIN, Term};
use crate::time::Nanos;

/// Most states of a machine above its lowest.
pub const STATES_MAX: usize = 7;
/// Ticks that a profile is looked at; see [`Timing`].
const DEFAULT_CONFIRM: u32 = 3;
const DEFAULT_RELEASE: u32 = 50;
const DEFAULT_DWELL: Nanos = Nanos::from_secs(10);
/// The KPI that counts stalls.
const STALLS: &str = "tx_stall_rate";

/// The place of a state in its machine: 0 is the lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct StateId(pub u8);

impl StateId {
    /// Where every machine starts, and where it returns to.
    pub const LOWEST: Self = Self(0);

    /// One step down.
    #[must_use]
    pub const fn below(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How bad a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// 0.
    Clean,
    /// 1.
    Elevated,
    /// 2.
    Distorted,
    /// 3: with a latch, left by the operator only.
    Contain,
}

impl Severity {
    /// The severity with number `n`.
    pub const fn from_u8(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Clean),
            1 => Some(Self::Elevated),
            2 => Some(Self::Distorted),
            3 => Some(Self::Contain),
            _ => None,
        }
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// What a machine has one instance for each of.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// Each class that comes from inside.
    Class,
    /// Each TX queue towards the venue: one for each such port.
    TxQueue,
    /// Each market-data class from the venue.
    Feed,
}

impl ScopeKind {
    /// The name in the config, in JSON and in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::TxQueue => "tx_queue",
            Self::Feed => "feed",
        }
    }
}

/// The profile that a state asks for on its scope.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Posture {
    /// The class table as the operator confirmed it.
    #[default]
    Normal,
    /// Shorter bursts at the same rate, segmentation in software.
    Smooth,
    /// Micro-jitter, a cap on each flush, release windows, a reserve for exempt kinds.
    AntiBurst,
    /// A shallow in-flight limit and tight queue budgets.
    Contain,
}

impl Posture {
    /// Those that change something, from the mildest.
    pub const ACTING: [Self; 3] = [Self::Smooth, Self::AntiBurst, Self::Contain];

    /// The name in the config, in JSON and in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Smooth => "smooth",
            Self::AntiBurst => "anti_burst",
            Self::Contain => "contain",
        }
    }
}

/// Any of the lists: all terms of one of them.
pub type Condition = Vec<Vec<Term>>;

/// What a state is left by.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// Lists of its own.
    When(Condition),
    /// The exit of the state below it.
    AsBelow,
}

/// A state above the lowest.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct State {
    /// Its name, in upper case.
    pub name: String,
    /// How bad it is; rises from state to state.
    pub severity: Severity,
    /// What it is entered by.
    pub enter: Condition,
    /// What it is left by.
    pub exit: Exit,
    /// The profile that it asks for.
    pub posture: Posture,
    /// What it asks of strategies.
    pub advice: Vec<Request>,
}

/// How quickly a machine moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Timing {
    /// Ticks for which an entry must hold.
    pub confirm_ticks: u32,
    /// Ticks for which an exit must hold.
    pub release_ticks: u32,
    /// Shortest stay in a state before a step down. Steps up do not wait for it: damage does not
    /// either.
    pub dwell: Nanos,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            confirm_ticks: DEFAULT_CONFIRM,
            release_ticks: DEFAULT_RELEASE,
            dwell: DEFAULT_DWELL,
        }
    }
}

/// A machine.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// What it has an instance for each of.
    pub scope: ScopeKind,
    /// Name of the lowest state.
    pub lowest: String,
    /// The states above it, from the mildest: state `n` is `states[n - 1]`.
    pub states: Vec<State>,
    /// How quickly it moves.
    pub timing: Timing,
    /// Severity 3 is left by the operator only; `None` = on scopes of order classes in active mode.
    pub latch: Option<bool>,
    /// Indices of classes that its states act on besides their own scope: an operator's word.
    pub widen: Vec<usize>,
}

/// Why a table is no machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// There is nothing to enter.
    #[error("machine {machine} has no state above {lowest}")]
    NoStates {
        /// The machine.
        machine: String,
        /// Its lowest state.
        lowest: String,
    },
    /// States do not get worse from one to the next.
    #[error("{state} is not more severe than the state before it")]
    Order {
        /// The state.
        state: String,
    },
    /// Two states have one name.
    #[error("{state} is the name of two states")]
    Twice {
        /// The name.
        state: String,
    },
    /// A state refers to one that does not stand below it.
    #[error("{state} is entered by {other}, which is no state below it")]
    Unknown {
        /// The state.
        state: String,
        /// What it refers to.
        other: String,
    },
    /// A list is empty, so it would always hold.
    #[error("{state} has an empty list in `{key}`")]
    Empty {
        /// The state.
        state: String,
        /// `enter` or `exit`.
        key: &'static str,
    },
    /// A term that no scope of the machine can ever meet.
    #[error("{state}: a {} has no {term}", scope.name())]
    Never {
        /// The state.
        state: String,
        /// `enter` or `exit`.
        key: &'static str,
        /// The term.
        term: String,
        /// What the machine watches.
        scope: ScopeKind,
    },
    /// The same values can enter and leave a state.
    #[error("{state} has no hysteresis: `{exit}` leaves it while `{enter}` enters it")]
    Hysteresis {
        /// The state.
        state: String,
        /// The entry.
        enter: String,
        /// The exit.
        exit: String,
    },
}

impl TableError {
    /// The state it is about.
    pub fn state(&self) -> Option<&str> {
        match self {
            Self::NoStates { .. } => None,
            Self::Order { state }
            | Self::Twice { state }
            | Self::Unknown { state, .. }
            | Self::Empty { state, .. }
            | Self::Never { state, .. }
            | Self::Hysteresis { state, .. } => Some(state),
        }
    }
}

impl Machine {
    /// Checks the table and finds the states that its terms name.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn checked(mut self) -> Result<Self, TableError> {
        if self.states.is_empty() || self.states.len() > STATES_MAX {
            return Err(TableError::NoStates { machine: self.name, lowest: self.lowest });
        }
        let names: Vec<String> = self.states.iter().map(|state| state.name.clone()).collect();
        let mut severity = Severity::Clean;
        for (index, state) in self.states.iter_mut().enumerate() {
            if state.name == self.lowest || names[..index].contains(&state.name) {
                return Err(TableError::Twice { state: state.name.clone() });
            }
            if state.severity <= severity {
                return Err(TableError::Order { state: state.name.clone() });
            }
            severity = state.severity;
            if state.enter.is_empty() || state.enter.iter().any(Vec::is_empty) {
                return Err(TableError::Empty { state: state.name.clone(), key: "enter" });
            }
            if let Exit::When(lists) = &state.exit
                && (lists.is_empty() || lists.iter().any(Vec::is_empty))
            {
                return Err(TableError::Empty { state: state.name.clone(), key: "exit" });
            }
            // The state below the first has no exit.
            if index == 0 && state.exit == Exit::AsBelow {
                return Err(TableError::Empty { state: state.name.clone(), key: "exit" });
            }
            for term in state.enter.iter_mut().flatten() {
                if let Term::Held { state: other, id, .. } = term {
                    let found = names[..index].iter().position(|name| name == other);
                    let Some(found) = found else {
                        let (state, other) = (state.name.clone(), other.clone());
                        return Err(TableError::Unknown { state, other });
                    };
                    *id = StateId(found as u8 + 1);
                }
            }
        }
        for id in self.above() {
            self.check_scope(id)?;
            self.check_hysteresis(id)?;
        }
        Ok(self)
    }

    /// The same machine without terms over [`P_COMPRESSED_DRAIN`], for a gateway without
    /// coefficients: an entry that asks for it never holds, an exit does without it.
    ///
    /// # Errors
    /// Nothing is left to enter or leave a state by.
    pub fn without_probability(mut self) -> Result<Self, TableError> {
        let asks = |term: &Term| term.bound().is_some_and(|b| b.input.kpi == P_COMPRESSED_DRAIN);
        for state in &mut self.states {
            state.enter.retain(|list| !list.iter().any(asks));
            if let Exit::When(lists) = &mut state.exit {
                lists.iter_mut().for_each(|list| list.retain(|term| !asks(term)));
                lists.retain(|list| !list.is_empty());
            }
        }
        self.checked()
    }

    /// Whether it has the scopes and states of `other`, each as severe: then one may take the place of the
    /// other while instances stand in those states.
    pub fn has_states_of(&self, other: &Self) -> bool {
        let of = |machine: &Self| {
            let states = machine.states.iter().map(|state| (state.name.clone(), state.severity));
            let states: Vec<_> = states.collect();
            (machine.name.clone(), machine.scope, machine.lowest.clone(), states)
        };
        of(self) == of(other)
    }

    /// Every state, from the lowest.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = StateId> + use<> {
        (0..=self.states.len() as u8).map(StateId)
    }

    /// Every state but the lowest, from the mildest.
    pub fn above(&self) -> impl DoubleEndedIterator<Item = StateId> + use<> {
        (1..=self.states.len() as u8).map(StateId)
    }

    /// A state above the lowest.
    pub fn state(&self, id: StateId) -> Option<&State> {
        self.states.get(id.index().checked_sub(1)?)
    }

    /// The name of any state.
    pub fn state_name(&self, id: StateId) -> &str {
        self.state(id).map_or(&self.lowest, |state| &state.name)
    }

    /// The state of that name.
    pub fn find(&self, name: &str) -> Option<StateId> {
        self.ids().find(|id| self.state_name(*id) == name)
    }

    /// How bad a state is.
    pub fn severity(&self, id: StateId) -> Severity {
        self.state(id).map_or(Severity::Clean, |state| state.severity)
    }

    /// The lists that leave a state; none for the lowest.
    pub fn exit(&self, id: StateId) -> &[Vec<Term>] {
        match self.state(id).map(|state| &state.exit) {
            None => &[],
            Some(Exit::When(lists)) => lists,
            Some(Exit::AsBelow) => self.exit(id.below()),
        }
    }

    /// Whether a state is entered by stalls alone. What it cures is no delay then: p95 of the delay before it
    /// does not see a stall, and any hold would look longer.
    pub fn is_of_stalls(&self, id: StateId) -> bool {
        let enter = self.state(id).map_or(&[][..], |state| &state.enter);
        let mut inputs = enter.iter().flat_map(|list| self.expanded(list)).flatten().peekable();
        inputs.peek().is_some() && inputs.all(|bound| bound.input.kpi == STALLS)
    }

    /// Every bound of the machine.
    pub fn bounds(&self) -> impl Iterator<Item = &Bound> {
        let terms = self.states.iter().flat_map(|state| {
            let exit: &[Vec<Term>] = match &state.exit {
                Exit::When(lists) => lists,
                Exit::AsBelow => &[],
            };
            state.enter.iter().chain(exit).flatten()
        });
        terms.filter_map(Term::bound)
    }

    /// The longest way down from the highest state when every exit holds, with ticks of `tick`: for
    /// each state its release, its dwell and the longest time that a term of its exit looks back.
    pub fn way_down(&self, tick: Nanos) -> Nanos {
        let mut way = Nanos::ZERO;
        for id in self.above() {
            let looks_back = self.exit(id).iter().flatten().map(Term::span).max();
            let release = Nanos(tick.0.saturating_mul(u64::from(self.timing.release_ticks)));
            for span in [release, self.timing.dwell, looks_back.unwrap_or_default()] {
                way = way.saturating_add(span);
            }
        }
        way
    }

    /// Each term reads what scopes of the machine have.
    fn check_scope(&self, id: StateId) -> Result<(), TableError> {
        let Some(state) = self.state(id) else { return Ok(()) };
        let exit = match &state.exit {
            Exit::When(lists) => lists.as_slice(),
            Exit::AsBelow => &[],
        };
        for (key, lists) in [("enter", state.enter.as_slice()), ("exit", exit)] {
            for bound in lists.iter().flatten().filter_map(Term::bound) {
                // A queue serves classes of any cadence.
                let by_cadence = bound.measure == Measure::Cadence;
                let fits = bound.input.is_of(self.scope)
                    && !(by_cadence && self.scope == ScopeKind::TxQueue);
                if !fits {
                    let (state, scope) = (state.name.clone(), self.scope);
                    let term = match by_cadence {
                        true => format!("cadence: {bound}"),
                        false => bound.input.to_string(),
                    };
                    return Err(TableError::Never { state, key, term, scope });
                }
            }
        }
        Ok(())
    }

    /// No values may satisfy an exit list and an entry list together. An entry by an outside KPI is
    /// bounded by its expiry instead, and a state that is left as the one below it by that one's
    /// rule; in both cases the engine does not leave while the entry still holds.
    fn check_hysteresis(&self, id: StateId) -> Result<(), TableError> {
        let Some(State { enter, exit: Exit::When(exits), name, .. }) = self.state(id) else {
            return Ok(());
        };
        for entry in enter.iter().flat_map(|list| self.expanded(list)) {
            for exit in exits {
                let fed = entry.iter().any(|bound| bound.input.is_fed());
                let mut left = exit.iter().filter_map(Term::bound);
                if !fed && !left.any(|x| entry.iter().any(|e| excludes(e, x))) {
                    let text = |list: &mut dyn Iterator<Item = String>| {
                        list.collect::<Vec<_>>().join(" and ")
                    };
                    return Err(TableError::Hysteresis {
                        state: name.clone(),
                        enter: text(&mut entry.iter().map(ToString::to_string)),
                        exit: text(&mut exit.iter().map(ToString::to_string)),
                    });
                }
            }
        }
        Ok(())
    }

    /// The bounds of a list, with the entry of a state that it names in its place: one list for each
    /// entry of that state.
    fn expanded<'a>(&'a self, list: &'a [Term]) -> Vec<Vec<&'a Bound>> {
        let mut lists: Vec<Vec<&Bound>> = vec![list.iter().filter_map(Term::bound).collect()];
        for term in list {
            let Term::Held { id, .. } = term else { continue };
            let inner = self.state(*id).map_or(&[][..], |state| &state.enter);
            let inner: Vec<_> = inner.iter().flat_map(|list| self.expanded(list)).collect();
            lists = lists
                .iter()
                .flat_map(|outer| {
                    inner.iter().map(move |inner| outer.iter().chain(inner).copied().collect())
                })
                .collect();
        }
        lists
    }
}

/// Whether what satisfies `exit` cannot satisfy `entry`, with room between the two.
fn excludes(entry: &Bound, exit: &Bound) -> bool {
    let same = (&entry.input, entry.over, entry.measure) == (&exit.input, exit.over, exit.measure);
    let apart = entry.comparison.is_lower_bound() != exit.comparison.is_lower_bound();
    // `> 0` against `<= 0` of a count is as far apart as it gets.
    let touching = entry.factor == exit.factor
        && entry.measure == Measure::Plain
        && entry.factor == 0.0
        && matches!((entry.comparison, exit.comparison), (Comparison::Above, Comparison::AtMost));
    let room = if entry.comparison.is_lower_bound() {
        exit.factor < entry.factor
    } else {
        exit.factor > entry.factor
    };
    same && apart && (room || touching)
}
