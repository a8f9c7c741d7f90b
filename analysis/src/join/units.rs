//! Units, column by column: what statistics read.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::matching::How;
use crate::error::Error;
use crate::inputs::{INPUTS, MACHINES, Machine};
use crate::tables::Source;

/// A text column as numbers: the levels, and the level of each row.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// Texts, in the order in which they came.
    pub names: Vec<String>,
    /// One for each row.
    pub of_row: Vec<u32>,
}

impl Labels {
    fn push(&mut self, text: &str, known: &mut HashMap<String, u32>) {
        let next = self.names.len() as u32;
        let level = *known.entry(text.to_owned()).or_insert(next);
        if level == next {
            self.names.push(text.to_owned());
        }
        self.of_row.push(level);
    }

    /// The text of a row.
    pub fn name(&self, row: usize) -> &str {
        &self.names[self.of_row[row] as usize]
    }
}

/// One row for each child order. Reals are bps where nothing else is said; `None` = not known.
#[derive(Clone, Debug, Default)]
pub struct Units {
    /// Matched to the wire how.
    pub how: Vec<How>,
    /// Labels. An unknown one is the empty text.
    pub gateway: Labels,
    /// Gateway and day.
    pub host_day: Labels,
    /// Day, since 1970.
    pub day: Vec<i64>,
    /// ns since 1970 of the decision, by the strategy's clock.
    pub t_decision: Vec<i64>,
    /// Parent.
    pub parent: Vec<i64>,
    /// The first child of its parent.
    pub first: Vec<bool>,
    /// See above.
    pub class: Labels,
    /// See above.
    pub symbol: Labels,
    /// See above.
    pub venue: Labels,
    /// See above.
    pub tactic: Labels,
    /// Mode and profile in force.
    pub regime_in_force: Labels,
    /// Mode in force; empty = not known.
    pub mode: Labels,
    /// In a trial: 1 = governed, 0 = compared.
    pub canary: Vec<Option<f64>>,
    /// 1 = passive.
    pub passive: Vec<bool>,
    /// 0 to 255.
    pub urgency: Vec<f64>,
    /// Features of the window before, in the order of [`INPUTS`].
    pub features: [Vec<Option<f64>>; INPUTS.len()],
    /// State of each of [`MACHINES`]; empty = not known.
    pub states: [Labels; MACHINES.len()],
    /// Implementation shortfall.
    pub shortfall: Vec<Option<f64>>,
    /// What its fills paid beyond the mid at its decision.
    pub slippage: Vec<Option<f64>>,
    /// What it costs at the end of the parent, half spread included, beyond the same.
    pub at_end: Vec<Option<f64>>,
    /// Share filled, 0 to 1.
    pub fill_ratio: Vec<f64>,
    /// Markouts at 10 ms, 100 ms, 1 s, 5 s, 30 s.
    pub markouts: [Vec<Option<f64>>; 5],
    /// How far the mid ran against the side in the 30 s before the window.
    pub lead: Vec<Option<f64>>,
    /// How far it ran from the parent's decision to the window.
    pub drift: Vec<Option<f64>>,
    /// Half spread before.
    pub half_spread: Vec<Option<f64>>,
    /// Volatility before, bps per square root of a second.
    pub volatility: Vec<Option<f64>>,
    /// Traded before.
    pub volume: Vec<Option<f64>>,
    /// Target over volume.
    pub participation: Vec<Option<f64>>,
    /// Share of the parent that is not filled yet.
    pub residual: Vec<f64>,
    /// Share of the parent that was filled in the end.
    pub completion: Vec<f64>,
    /// What the parent's fills paid, from its decision.
    pub parent_paid: Vec<Option<f64>>,
    /// What completing it cost at its end, from its decision.
    pub parent_at_end: Vec<Option<f64>>,
    /// How far the clock of each gateway is ahead of the strategies', ns.
    pub clock_offsets_ns: Vec<(String, i64)>,
}

impl Units {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.how.len()
    }

    /// A feature of the window before, by its column; empty for one that there is not.
    pub fn feature(&self, column: &str) -> &[Option<f64>] {
        let place = INPUTS.iter().position(|input| input.column == column);
        place.map_or(&[], |place| &self.features[place])
    }

    /// The states of a machine, by its name.
    pub fn states_of(&self, machine: &str) -> &Labels {
        let place = MACHINES.iter().position(|known| known.name == machine);
        &self.states[place.unwrap_or_default()]
    }

    /// There is none.
    pub const fn is_empty(&self) -> bool {
        self.how.is_empty()
    }
}

/// IS = side x (P_fill - P_decision) / P_decision over what was filled, the mid at the parent's end plus half a
/// spread over the rest: above 0 is cost.
const UNITS: &str = "
WITH rows AS (
  SELECT c.correlation_id, c.parent_id, c.gateway, c.class, c.passive, c.t_decision, c.quantity,
    coalesce(c.venue, '') AS venue, coalesce(c.tactic, '') AS tactic,
    p.symbol, p.side, p.urgency, p.target_quantity AS target, p.decision_price AS price,
    coalesce(m.how, 'unmatched') AS how, coalesce(m.mode, '') AS mode, m.canary,
    coalesce(m.mode || '/' || m.profile, '') AS in_force,
    {of_window},
    {of_states},
    coalesce(f.filled, 0.0) AS filled, f.value / f.filled AS fill_price,
    f.m10ms, f.m100ms, f.m1s, f.m5s, f.m30s,
    k.lead_mid, k.before_mid, k.decision_mid, k.end_mid, k.end_half_spread,
    k.half_spread, k.volatility, k.volume, coalesce(r.filled_before, 0.0) AS filled_before
  FROM children c
  JOIN parents p ON p.parent_id = c.parent_id
  LEFT JOIN matched m ON m.correlation_id = c.correlation_id
  LEFT JOIN exposed e ON e.correlation_id = c.correlation_id
  LEFT JOIN states s ON s.correlation_id = c.correlation_id
  LEFT JOIN filled f ON f.correlation_id = c.correlation_id
  LEFT JOIN market k ON k.correlation_id = c.correlation_id
  LEFT JOIN residuals r ON r.correlation_id = c.correlation_id
), costs AS (
  SELECT *, least(filled / quantity, 1.0) AS fill_ratio,
    side * (fill_price - price) / price * 10000 AS paid,
    side * (end_mid - price) / price * 10000 + end_half_spread AS paid_at_end,
    side * (fill_price - decision_mid) / decision_mid * 10000 AS slippage,
    side * (end_mid - decision_mid) / decision_mid * 10000 + end_half_spread AS at_end
  FROM rows
)
SELECT how, gateway, t_decision, CAST(parent_id AS BIGINT) AS parent, class, symbol, venue, tactic,
  in_force, mode, CAST(canary AS DOUBLE) AS canary, CAST(passive AS INT) AS passive, urgency,
  {features}, {states},
  CASE WHEN fill_ratio >= 1 THEN paid WHEN fill_ratio <= 0 THEN paid_at_end
    ELSE fill_ratio * paid + (1 - fill_ratio) * paid_at_end END AS shortfall,
  slippage, at_end, fill_ratio, m10ms, m100ms, m1s, m5s, m30s,
  side * (before_mid - lead_mid) / lead_mid * 10000 AS lead,
  side * (before_mid - price) / price * 10000 AS drift,
  half_spread, volatility, volume, target / volume AS participation,
  1 - least(filled_before / target, 1.0) AS residual,
  row_number() OVER (PARTITION BY parent_id ORDER BY t_decision, correlation_id) AS place,
  least(sum(filled) OVER (PARTITION BY parent_id) / target, 1.0) AS completion,
  sum(filled * paid) OVER (PARTITION BY parent_id)
    / nullif(sum(filled) OVER (PARTITION BY parent_id), 0) AS parent_paid,
  first_value(paid_at_end) OVER (PARTITION BY parent_id ORDER BY t_decision DESC, correlation_id DESC)
    AS parent_at_end
FROM costs ORDER BY t_decision, correlation_id";

/// ns of a day.
const DAY_NS: i64 = 86_400_000_000_000;

pub(super) async fn read(source: &Source) -> Result<Units, Error> {
    let mut reader = Reader::default();
    let features: Vec<&str> = INPUTS.iter().map(|input| input.column).collect();
    let of_window: Vec<String> = features.iter().map(|column| format!("e.{column}")).collect();
    let sql = UNITS
        .replace("{features}", &features.join(", "))
        .replace("{of_window}", &of_window.join(", "))
        .replace("{states}", &MACHINES.map(|machine| machine.name).join(", "))
        .replace(
            "{of_states}",
            &MACHINES
                .map(|Machine { name, .. }| format!("coalesce(s.{name}, '') AS {name}"))
                .join(", "),
        );
    for batch in source.query(&sql).await? {
        reader.take(&batch)?;
    }
    let mut units = reader.units;
    if units.is_empty() {
        return Err(Error::Empty("no child order can be used".to_owned()));
    }
    for batch in source.query("SELECT gateway, offset_ns FROM clocks ORDER BY gateway").await? {
        let names = cast(batch.column(0), &DataType::Utf8)?;
        let offsets = batch.column(1).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let name = names.as_string::<i32>().value(row).to_owned();
            units.clock_offsets_ns.push((name, offsets.value(row)));
        }
    }
    Ok(units)
}

#[derive(Default)]
struct Reader {
    units: Units,
    known: HashMap<&'static str, HashMap<String, u32>>,
}

impl Reader {
    fn take(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let column = |name: &str, kind: &DataType| -> Result<_, Error> {
            let column = batch
                .column_by_name(name)
                .ok_or_else(|| Error::Empty(format!("the query gives no column {name}")))?;
            Ok(cast(column, kind)?)
        };
        let reals = |name: &str| -> Result<Vec<Option<f64>>, Error> {
            let column = column(name, &DataType::Float64)?;
            let finite = |value: Option<f64>| value.filter(|v| v.is_finite());
            Ok(column.as_primitive::<Float64Type>().iter().map(finite).collect())
        };
        let wholes = |name: &str| -> Result<Vec<i64>, Error> {
            let column = column(name, &DataType::Int64)?;
            Ok(column.as_primitive::<Int64Type>().iter().map(Option::unwrap_or_default).collect())
        };
        let known = &mut self.known;
        let mut labels = |name: &'static str, labels: &mut Labels| -> Result<(), Error> {
            let column = column(name, &DataType::Utf8)?;
            let known = known.entry(name).or_default();
            let texts = column.as_string::<i32>();
            (0..texts.len()).for_each(|row| labels.push(texts.value(row), known));
            Ok(())
        };
        let units = &mut self.units;
        labels("gateway", &mut units.gateway)?;
        labels("class", &mut units.class)?;
        labels("symbol", &mut units.symbol)?;
        labels("venue", &mut units.venue)?;
        labels("tactic", &mut units.tactic)?;
        labels("in_force", &mut units.regime_in_force)?;
        labels("mode", &mut units.mode)?;
        for (of_machine, machine) in units.states.iter_mut().zip(&MACHINES) {
            labels(machine.name, of_machine)?;
        }
        let mut how = Labels::default();
        labels("how", &mut how)?;
        units.how.extend((0..how.of_row.len()).map(|row| How::parse(how.name(row))));
        let times = wholes("t_decision")?;
        let known = self.known.entry("host_day").or_default();
        for time in &times {
            let day = time.div_euclid(DAY_NS);
            let at = units.day.len();
            let text = format!("{}/{day}", units.gateway.name(at));
            units.host_day.push(&text, known);
            units.day.push(day);
        }
        units.t_decision.extend(times);
        units.parent.extend(wholes("parent")?);
        units.first.extend(wholes("place")?.into_iter().map(|place| place == 1));
        units.passive.extend(wholes("passive")?.into_iter().map(|passive| passive == 1));
        let zero = |values: Vec<Option<f64>>| values.into_iter().map(Option::unwrap_or_default);
        units.urgency.extend(zero(reals("urgency")?));
        units.fill_ratio.extend(zero(reals("fill_ratio")?));
        units.residual.extend(zero(reals("residual")?));
        units.completion.extend(zero(reals("completion")?));
        units.canary.extend(reals("canary")?);
        for (values, input) in units.features.iter_mut().zip(&INPUTS) {
            values.extend(reals(input.column)?);
        }
        units.shortfall.extend(reals("shortfall")?);
        units.slippage.extend(reals("slippage")?);
        units.at_end.extend(reals("at_end")?);
        for (place, name) in ["m10ms", "m100ms", "m1s", "m5s", "m30s"].iter().enumerate() {
            units.markouts[place].extend(reals(name)?);
        }
        units.lead.extend(reals("lead")?);
        units.drift.extend(reals("drift")?);
        units.half_spread.extend(reals("half_spread")?);
        units.volatility.extend(reals("volatility")?);
        units.volume.extend(reals("volume")?);
        units.participation.extend(reals("participation")?);
        units.parent_paid.extend(reals("parent_paid")?);
        units.parent_at_end.extend(reals("parent_at_end")?);
        Ok(())
    }
}
