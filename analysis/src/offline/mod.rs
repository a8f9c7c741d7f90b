//! History through the regime engine of the gateway: what its machines would have decided under other tables.
//!
//! The engine is the one of the gateway ([`model::regime::Engine`]). Features of a window are its figures for
//! all ticks of that window. Baselines are learned from the first day of each gateway and frozen.

mod figures;
mod verdict;

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, AsArray, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use model::config::Config;
use model::kpi::AckShares;
use model::regime::{Cause, Engine, EngineSettings, Leave};
use model::time::Nanos;

use crate::error::Error;
use crate::models::history::Logs;
use crate::tables::Source;
use figures::{Key, Snapshot, scopes};

pub use verdict::{Gate, Side, Validation, validation};

/// ns of a day.
const DAY_NS: i64 = 86_400_000_000_000;

/// What the machines of one config would have decided.
#[derive(Default)]
pub struct Decided {
    /// By gateway, machine and scope.
    pub logs: Logs,
    /// By machine: time in each state, ns.
    pub time_in: BTreeMap<String, BTreeMap<String, u64>>,
    /// By machine: transitions.
    pub transitions: BTreeMap<String, u64>,
    /// Instances that were frozen because they flapped.
    pub frozen: u64,
}

/// The windows of each gateway, in the order of time.
pub struct Recorded(BTreeMap<String, Vec<Snapshot>>);

impl Recorded {
    /// Reads all features.
    ///
    /// # Errors
    /// The engine's of queries.
    pub async fn read(source: &Source) -> Result<Self, Error> {
        let sql = "SELECT gateway, window_to, port, class, kpi, part, value_name, value FROM features \
            WHERE arm IS NULL ORDER BY gateway, window_to";
        let mut gateways: BTreeMap<String, Vec<Snapshot>> = BTreeMap::new();
        for batch in source.query(sql).await? {
            let text = |column: usize| texts(&batch, column);
            let (gateway, port, class) = (text(0)?, text(2)?, text(3)?);
            let (kpi, part, name) = (text(4)?, text(5)?, text(6)?);
            let ends = batch.column(1).as_primitive::<Int64Type>();
            let values = cast(batch.column(7), &DataType::Float64)?;
            let values = values.as_primitive::<Float64Type>();
            for row in 0..batch.num_rows() {
                let snapshots = gateways.entry(gateway.value(row).to_owned()).or_default();
                let end = ends.value(row);
                if snapshots.last().is_none_or(|last| last.end != end) {
                    snapshots.push(Snapshot::new(end));
                }
                if let Some(last) = snapshots.last_mut()
                    && !values.is_null(row)
                {
                    let known = |column: &StringArray| {
                        (!column.is_null(row)).then(|| column.value(row).to_owned())
                    };
                    let key = Key {
                        class: known(&class),
                        kpi: kpi.value(row).to_owned(),
                        part: known(&part),
                        value: name.value(row).to_owned(),
                    };
                    last.add(key, known(&port), values.value(row));
                }
            }
        }
        Ok(Self(gateways))
    }

    /// Runs the machines of `config` over it.
    pub fn decide(&self, config: &Config) -> Decided {
        let mut decided = Decided::default();
        for (gateway, snapshots) in &self.0 {
            let settings = EngineSettings {
                tick: config.regime.tick,
                absent_release: config.regime.absent_release,
                compressed_drain: config.regime.compressed_drain.clone(),
            };
            let scopes = scopes(snapshots, config);
            let names: Vec<String> = scopes.iter().map(|info| info.name.clone()).collect();
            let new =
                || Engine::new(config.regime.machines.clone(), scopes.clone(), settings.clone());
            let first = snapshots.first().map_or(0, |s| s.end.div_euclid(DAY_NS));
            let mut learning = new();
            let of_first = snapshots.iter().take_while(|s| s.end.div_euclid(DAY_NS) == first);
            for snapshot in of_first {
                let leave = Leave { learns: true, ..Leave::default() };
                run(&mut learning, snapshot, &names, config.regime.tick, leave, |_, _| {});
            }
            let now = Nanos(snapshots.first().map_or(0, |s| s.end.max(0) as u64));
            let baselines = learning.freeze(now, "", AckShares::default()).cloned();
            // A session ends the engine of a gateway, and the next day begins with another.
            for of_day in
                snapshots.chunk_by(|a, b| a.end.div_euclid(DAY_NS) == b.end.div_euclid(DAY_NS))
            {
                let mut engine = new();
                if let Some(baselines) = &baselines {
                    engine.load(baselines.clone());
                }
                for snapshot in of_day {
                    let leave = Leave { decides: true, ..Leave::default() };
                    run(
                        &mut engine,
                        snapshot,
                        &names,
                        config.regime.tick,
                        leave,
                        |engine, decision| {
                            decided.frozen += u64::from(decision.cause == Cause::Frozen);
                            let row = engine.row(decision);
                            if decision.is_transition() {
                                *decided.transitions.entry(row.machine.clone()).or_default() += 1;
                                let at = i64::try_from(row.at.0).unwrap_or(i64::MAX);
                                decided.logs.add(gateway, &row.machine, &row.scope, at, &row.to);
                            }
                        },
                    );
                }
                for standing in engine.standings() {
                    let of_machine =
                        decided.time_in.entry(standing.machine.to_owned()).or_default();
                    for (state, time) in standing.states.iter().zip(&standing.stays.time_in) {
                        *of_machine.entry((*state).to_owned()).or_default() += time.0;
                    }
                }
            }
        }
        decided
    }
}

/// The ticks of a window.
fn run(
    engine: &mut Engine,
    snapshot: &Snapshot,
    names: &[String],
    tick: Nanos,
    leave: Leave,
    mut each: impl FnMut(&Engine, &model::regime::Decision),
) {
    let figures = snapshot.figures(names);
    let ticks = (1_000_000_000 / tick.0).max(1);
    for number in 0..ticks {
        let before_end = (ticks - 1 - number) * tick.0;
        let now = Nanos((snapshot.end.max(0) as u64).saturating_sub(before_end));
        for decision in engine.tick(now, &figures, leave, |_| false) {
            each(engine, &decision);
        }
    }
}

fn texts(batch: &RecordBatch, column: usize) -> Result<StringArray, Error> {
    Ok(cast(batch.column(column), &DataType::Utf8)?.as_string::<i32>().clone())
}
