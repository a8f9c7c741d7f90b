//! Windows of each class of each gateway in the order of time.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};

use crate::error::Error;
use crate::inputs::{INPUTS, MACHINES, Watches};
use crate::tables::Source;

/// Windows further apart are not neighbours.
const GAP_NS: i64 = 2_500_000_000;
/// ns of a day.
const DAY_NS: i64 = 86_400_000_000_000;

/// A window.
#[derive(Clone, Debug)]
pub struct Window {
    /// When it ended, ns since 1970.
    pub end: i64,
    /// In the order of [`INPUTS`].
    pub features: [Option<f64>; INPUTS.len()],
    /// State of each of [`MACHINES`] at its end, as its place; `None` = the machine has decided nothing.
    pub states: [Option<usize>; MACHINES.len()],
}

/// Windows that follow each other without a gap.
#[derive(Clone, Debug)]
pub struct Run {
    /// Gateway.
    pub gateway: String,
    /// Class.
    pub class: String,
    /// Day since 1970.
    pub day: i64,
    /// In order.
    pub windows: Vec<Window>,
}

/// All runs.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By gateway, class, time.
    pub runs: Vec<Run>,
}

impl History {
    /// The days that there are.
    pub fn days(&self) -> Vec<i64> {
        let mut days: Vec<i64> = self.runs.iter().map(|run| run.day).collect();
        days.sort_unstable();
        days.dedup();
        days
    }

    /// Reads the windows that [`crate::join::join`] has made.
    ///
    /// # Errors
    /// The engine's.
    pub async fn read(source: &Source) -> Result<Self, Error> {
        let logs = Logs::read(source).await?;
        let columns: Vec<&str> = INPUTS.iter().map(|input| input.column).collect();
        let sql = format!(
            "SELECT w.gateway, w.class, w.window_to, {} FROM class_windows w LEFT JOIN gateway_windows g \
             ON g.gateway = w.gateway AND g.window_to = w.window_to WHERE w.class IS NOT NULL \
             ORDER BY w.gateway, w.class, w.window_to",
            columns.join(", ")
        );
        let mut history = Self::default();
        for batch in source.query(&sql).await? {
            let text = |column: usize| cast(batch.column(column), &DataType::Utf8);
            let (gateways, classes) = (text(0)?, text(1)?);
            let ends = batch.column(2).as_primitive::<Int64Type>();
            let features: Vec<_> = (3..batch.num_columns())
                .map(|c| batch.column(c).as_primitive::<Float64Type>())
                .collect();
            for row in 0..batch.num_rows() {
                let (gateway, class) =
                    (gateways.as_string::<i32>().value(row), classes.as_string::<i32>().value(row));
                let end = ends.value(row);
                let window = Window {
                    end,
                    features: std::array::from_fn(|place| {
                        let column = features[place];
                        (!column.is_null(row)).then(|| column.value(row)).filter(|v| v.is_finite())
                    }),
                    states: logs.states(gateway, class, end),
                };
                history.push(gateway, class, window);
            }
        }
        Ok(history)
    }

    fn push(&mut self, gateway: &str, class: &str, window: Window) {
        let follows = |run: &&mut Run| {
            run.gateway == gateway
                && run.class == class
                && run.windows.last().is_some_and(|last| window.end - last.end <= GAP_NS)
        };
        match self.runs.last_mut().filter(follows) {
            Some(run) => run.windows.push(window),
            None => self.runs.push(Run {
                gateway: gateway.to_owned(),
                class: class.to_owned(),
                day: window.end.div_euclid(DAY_NS),
                windows: vec![window],
            }),
        }
    }
}

/// Decisions by gateway and machine, then by scope, in the order of time.
#[derive(Default)]
pub struct Logs(HashMap<(String, usize), HashMap<String, Decisions>>);

/// Times and the states from then on, in order.
type Decisions = Vec<(i64, usize)>;

impl Logs {
    async fn read(source: &Source) -> Result<Self, Error> {
        let mut logs = Self::default();
        let sql = "SELECT gateway, machine, scope, state, time FROM log ORDER BY time";
        for batch in source.query(sql).await? {
            let text = |column: usize| cast(batch.column(column), &DataType::Utf8);
            let columns = [text(0)?, text(1)?, text(2)?, text(3)?];
            let times = batch.column(4).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let [gateway, machine, scope, state] =
                    columns.each_ref().map(|column| column.as_string::<i32>().value(row));
                logs.add(gateway, machine, scope, times.value(row), state);
            }
        }
        Ok(logs)
    }

    /// Adds a decision, not before those of the same scope that are there. Machines and states that are not
    /// built in are left out.
    pub fn add(&mut self, gateway: &str, machine: &str, scope: &str, time: i64, state: &str) {
        let Some(place) = MACHINES.iter().position(|known| known.name == machine) else { return };
        let Some(state) = MACHINES[place].states.iter().position(|s| *s == state) else { return };
        let of_machine = self.0.entry((gateway.to_owned(), place)).or_default();
        of_machine.entry(scope.to_owned()).or_default().push((time, state));
    }

    /// The state of each machine over a class at a time; `None` where it has decided nothing.
    pub fn states(&self, gateway: &str, class: &str, end: i64) -> [Option<usize>; MACHINES.len()] {
        std::array::from_fn(|machine| {
            let scopes = self.0.get(&(gateway.to_owned(), machine))?;
            let log = match MACHINES[machine].scope {
                Watches::Class => scopes.get(&format!("class:{class}")),
                // The worst of several would need all of them at each time; there is one as a rule.
                Watches::TxQueue | Watches::Feed => {
                    scopes.values().next().filter(|_| scopes.len() == 1)
                }
            }?;
            let after = log.partition_point(|(time, _)| *time <= end);
            Some(after.checked_sub(1).map_or(0, |last| log[last].1))
        })
    }
}
