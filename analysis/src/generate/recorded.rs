//! Timelines that gateways have written: which orders left when, and what the path did meanwhile.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};

use super::SECOND;
use super::places::{DAY, Place};
use super::transport::{MECHANISMS, Path, Window};
use crate::error::Error;
use crate::inputs::{INPUTS, Input, MACHINES};
use crate::join::ORDERS;
use crate::tables::Source;

/// An order that a gateway has sent. Times are ns of the session of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The id that its intent carried.
    pub correlation_id: Option<u64>,
    /// Flow and TCP end sequence.
    pub sequence: Option<(u32, u32)>,
    /// When it was decided; when it was handed over, where nobody said.
    pub decision: i64,
    /// When it was handed over.
    pub dispatch: i64,
}

/// Recorded timelines, place by place.
pub struct Recorded {
    pub(super) places: Vec<Place>,
    pub(super) paths: Vec<Path>,
    pub(super) orders: Vec<Vec<Order>>,
    pub(super) session_s: f64,
}

/// Rows of one kind, by gateway, date and class.
type ByPlace<T> = BTreeMap<(String, String, String), Vec<T>>;

impl Recorded {
    /// Reads what is registered of `source`: the orders of a class, on a gateway, on a day are a place.
    ///
    /// # Errors
    /// The engine's, or there is no order.
    pub async fn read(source: &Source) -> Result<Self, Error> {
        let orders = orders(source).await?;
        if orders.is_empty() {
            return Err(Error::Empty("the timelines have no order that was sent".to_owned()));
        }
        let mut features = of_windows(source).await?;
        let changes = changes(source).await?;
        let mut days: Vec<String> = orders.keys().map(|(_, date, _)| date.clone()).collect();
        days.sort_unstable();
        days.dedup();
        let mut recorded =
            Self { places: Vec::new(), paths: Vec::new(), orders: Vec::new(), session_s: f64::MAX };
        for (key, mut sent) in orders {
            sent.sort_unstable_by_key(|order| order.dispatch);
            let (first, last) = (sent[0].dispatch, sent[sent.len() - 1].dispatch);
            let windows = features.remove(&key).unwrap_or_default();
            let (gateway, date, class) = key;
            let of_gateway = |change: &&Change| {
                change.gateway == gateway
                    && change.time.div_euclid(DAY) == first.div_euclid(DAY)
                    && (change.scope == format!("class:{class}")
                        || !change.scope.starts_with("class:"))
            };
            let changes: Vec<&Change> = changes.iter().filter(of_gateway).collect();
            recorded.paths.push(path(windows, &changes, first));
            // Every session is as long as the shortest, so that each place has its share of parents.
            recorded.session_s = recorded.session_s.min((last - first) as f64 / SECOND as f64);
            for order in &mut sent {
                order.decision -= first;
                order.dispatch -= first;
            }
            let day = days.iter().position(|day| *day == date).unwrap_or_default();
            recorded.places.push(Place { gateway, date, day, class, start: first });
            recorded.orders.push(sent);
        }
        if recorded.session_s < SESSION_S_MIN {
            return Err(Error::Empty(format!(
                "a timeline has orders of {:.1} s only; {SESSION_S_MIN} s are needed",
                recorded.session_s
            )));
        }
        Ok(recorded)
    }
}

/// A session in which no parent would have room for its children makes no world.
const SESSION_S_MIN: f64 = 30.0;

async fn orders(source: &Source) -> Result<ByPlace<Order>, Error> {
    let mut found: ByPlace<Order> = BTreeMap::new();
    // What has neither an id nor a sequence could be anybody's; what was sent again is there already.
    let sql = format!(
        "SELECT gateway, date, class, correlation_id, CAST(flow_id AS BIGINT) AS flow_id, \
         CAST(tcp_end_seq AS BIGINT) AS tcp_end_seq, min(coalesce(t_decision, t_dispatch)) AS decision, \
         min(t_dispatch) AS dispatch FROM packets p WHERE {ORDERS} AND t_wire IS NOT NULL \
         AND (correlation_id IS NOT NULL OR tcp_end_seq IS NOT NULL) \
         GROUP BY gateway, date, class, correlation_id, flow_id, tcp_end_seq"
    );
    for batch in source.query(&sql).await? {
        let keys = Keys::of(&batch)?;
        let ids = cast(batch.column(3), &DataType::UInt64)?;
        let ids = ids.as_primitive::<UInt64Type>();
        let whole = |column: usize| batch.column(column).as_primitive::<Int64Type>();
        let (flows, ends) = (whole(4), whole(5));
        let (decisions, dispatches) = (whole(6), whole(7));
        let number = |column: &Int64Array, row: usize| {
            column.is_valid(row).then(|| column.value(row)).and_then(|v| u32::try_from(v).ok())
        };
        for row in 0..batch.num_rows() {
            found.entry(keys.at(row)).or_default().push(Order {
                correlation_id: ids.is_valid(row).then(|| ids.value(row)),
                sequence: number(flows, row).zip(number(ends, row)),
                decision: decisions.value(row),
                dispatch: dispatches.value(row),
            });
        }
    }
    Ok(found)
}

/// What tells the arms of a window, by the columns of [`INPUTS`].
const COLUMNS: [&str; 3] = ["d2w", "bi", "bdc"];

/// Ends of windows, with what [`COLUMNS`] were in them. Figures of feeds belong to every class.
async fn of_windows(source: &Source) -> Result<ByPlace<(i64, [f64; 3])>, Error> {
    let mut pivots = Vec::new();
    for column in COLUMNS {
        pivots.extend(INPUTS.iter().filter(|i| i.column == column).map(Input::pivot_sql));
    }
    let pivots = pivots.join(", ");
    let sql = format!(
        "SELECT c.gateway, c.date, c.class, c.window_to, c.d2w, c.bi, g.bdc FROM \
         (SELECT gateway, date, class, window_to, {pivots} FROM features \
          WHERE arm IS NULL AND class IS NOT NULL GROUP BY gateway, date, class, window_to) c \
         JOIN (SELECT gateway, window_to, {pivots} FROM features WHERE arm IS NULL \
          GROUP BY gateway, window_to) g ON g.gateway = c.gateway AND g.window_to = c.window_to"
    );
    let mut found: ByPlace<(i64, [f64; 3])> = BTreeMap::new();
    for batch in source.query(&sql).await? {
        let keys = Keys::of(&batch)?;
        let ends = batch.column(3).as_primitive::<Int64Type>();
        let figure = |column: usize, row: usize| {
            let column = batch.column(column).as_primitive::<Float64Type>();
            // Absent: in neither arm, as comparisons with it are false.
            if column.is_valid(row) { column.value(row) } else { f64::NAN }
        };
        for row in 0..batch.num_rows() {
            let figures = std::array::from_fn(|n| figure(4 + n, row));
            found.entry(keys.at(row)).or_default().push((ends.value(row), figures));
        }
    }
    Ok(found)
}

/// A decision of a machine.
struct Change {
    gateway: String,
    scope: String,
    time: i64,
    machine: usize,
    severity: usize,
}

async fn changes(source: &Source) -> Result<Vec<Change>, Error> {
    let sql = "SELECT gateway, scope, machine, \"to\", time FROM regime_log ORDER BY time";
    let mut changes = Vec::new();
    for batch in source.query(sql).await? {
        let texts: Vec<_> =
            (0..4).map(|n| cast(batch.column(n), &DataType::Utf8)).collect::<Result<_, _>>()?;
        let text = |n: usize, row: usize| texts[n].as_string::<i32>().value(row).to_owned();
        let times = batch.column(4).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let (name, state) = (text(2, row), text(3, row));
            // Machines of an operator's own have no outcome KPI.
            let known = MACHINES.iter().position(|machine| machine.name == name);
            let at = known.and_then(|n| {
                let severity = MACHINES[n].states.iter().position(|known| *known == state)?;
                Some((n, severity))
            });
            if let Some((machine, severity)) = at {
                let time = times.value(row);
                let (gateway, scope) = (text(0, row), text(1, row));
                changes.push(Change { gateway, scope, time, machine, severity });
            }
        }
    }
    Ok(changes)
}

/// What decisions find, from moment to moment: a new window, or a new state.
fn path(mut ends: Vec<(i64, [f64; 3])>, changes: &[&Change], session: i64) -> Path {
    ends.sort_by_key(|(end, _)| *end);
    let mut ends = ends.into_iter().peekable();
    let mut changes = changes.iter().peekable();
    let unknown = [f64::NAN; COLUMNS.len()];
    let (mut figures, mut severity) = (unknown, [0; MECHANISMS]);
    let mut windows = vec![window(i64::MIN, figures, severity)];
    loop {
        let next = [ends.peek().map(|(end, _)| *end), changes.peek().map(|change| change.time)];
        let Some(time) = next.into_iter().flatten().min() else { break };
        while let Some((_, of_window)) = ends.next_if(|(end, _)| *end == time) {
            figures = of_window;
        }
        while let Some(change) = changes.next_if(|change| change.time == time) {
            severity[change.machine] = change.severity;
        }
        windows.push(window(time - session, figures, severity));
    }
    Path { windows }
}

fn window(
    end: i64,
    [d2w, burstiness, delivery]: [f64; 3],
    severity: [usize; MECHANISMS],
) -> Window {
    Window { end, dispatch_to_wire: d2w, burstiness, delivery, severity, ..Window::default() }
}

/// Gateway, date and class of the rows of a batch: its first three columns.
struct Keys(Vec<ArrayRef>);

impl Keys {
    fn of(batch: &RecordBatch) -> Result<Self, Error> {
        let columns: Result<_, _> =
            (0..3).map(|n| cast(batch.column(n), &DataType::Utf8)).collect();
        Ok(Self(columns?))
    }

    fn at(&self, row: usize) -> (String, String, String) {
        let text = |n: usize| self.0[n].as_string::<i32>().value(row).to_owned();
        (text(0), text(1), text(2))
    }
}
