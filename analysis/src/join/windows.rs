//! What a decision found: the KPI window that ended last before it, and the state of each machine.
//!
//! "Last before" is a running maximum over times of both kinds in order: a sort, which spills, and no join
//! by inequality. Makes the tables `exposed` (correlation_id, a column for each of [`INPUTS`]) and `states`
//! (correlation_id, a column for each of [`MACHINES`]). Times are those of the gateway's clock.

use crate::error::Error;
use crate::inputs::{self, INPUTS, Input, MACHINES, Machine, Of, Watches};
use crate::tables::Source;

/// A window that ended longer ago says nothing of now.
const WINDOW_AGE_NS: i64 = 2_500_000_000;

pub(super) async fn run(source: &Source) -> Result<(), Error> {
    // Decisions by the clock of the gateway; a child without a row has the port of the gateway's only queue.
    source
        .materialise(
            "decisions",
            "SELECT c.correlation_id, c.gateway, c.class, m.port, m.mode, \
             c.t_decision + coalesce(k.offset_ns, 0) AS t \
             FROM children c LEFT JOIN clocks k ON c.gateway = k.gateway \
             LEFT JOIN matched m ON c.correlation_id = m.correlation_id",
        )
        .await?;
    exposed(source).await?;
    states(source).await
}

async fn exposed(source: &Source) -> Result<(), Error> {
    for (table, of, by) in [
        ("class_windows", Of::Class, "gateway, class"),
        ("gateway_windows", Of::Gateway, "gateway"),
    ] {
        let pivots: Vec<String> = inputs::of(of).map(Input::pivot_sql).collect();
        let wanted: Vec<String> = inputs::of(of).map(Input::condition_sql).collect();
        let sql = format!(
            "SELECT {by}, window_to, {} FROM features WHERE arm IS NULL AND ({}) GROUP BY {by}, window_to",
            pivots.join(", "),
            wanted.join(" OR "),
        );
        source.materialise(table, &sql).await?;
    }
    let ends = "SELECT DISTINCT gateway, window_to AS time FROM (SELECT gateway, window_to FROM class_windows \
        UNION ALL SELECT gateway, window_to FROM gateway_windows)";
    let last = last_before("gateway", ends, "SELECT * FROM decisions");
    let columns: Vec<&str> = INPUTS.iter().map(|input| input.column).collect();
    source
        .materialise(
            "exposed",
            &format!(
                "SELECT d.correlation_id, {} FROM ({last}) l \
                 JOIN decisions d ON d.correlation_id = l.correlation_id \
                 LEFT JOIN class_windows w ON w.gateway = d.gateway AND w.class = d.class \
                 AND w.window_to = l.time \
                 LEFT JOIN gateway_windows g ON g.gateway = d.gateway AND g.window_to = l.time \
                 WHERE l.t - l.time <= {WINDOW_AGE_NS}",
                columns.join(", ")
            ),
        )
        .await
}

async fn states(source: &Source) -> Result<(), Error> {
    source
        .materialise(
            "log",
            "SELECT gateway || '/' || machine || '/' || scope AS instance, gateway, machine, scope, time, \
             max(\"to\") AS state FROM regime_log WHERE \"from\" <> \"to\" \
             GROUP BY gateway, machine, scope, time",
        )
        .await?;
    let mut columns = String::new();
    let mut joins = String::new();
    for Machine { name, scope, states } in MACHINES {
        // A child without a row, and a feed, has the scope of the gateway's only one.
        let scope = match scope {
            Watches::Class => "'class:' || d.class",
            Watches::TxQueue => "coalesce('tx_queue:' || d.port, o.scope)",
            Watches::Feed => "o.scope",
        };
        let asked = format!(
            "SELECT d.correlation_id, d.t, d.mode, d.gateway || '/{name}/' || {scope} AS instance, \
             o.gateway IS NOT NULL AS logged FROM decisions d LEFT JOIN \
             (SELECT gateway, min(scope) AS scope FROM log WHERE machine = '{name}' \
              GROUP BY gateway) o ON o.gateway = d.gateway"
        );
        source.materialise(&format!("asked_{name}"), &asked).await?;
        let log = format!("SELECT instance, time FROM log WHERE machine = '{name}'");
        let last = last_before("instance", &log, &format!("SELECT * FROM asked_{name}"));
        // Before its first decision a machine is in its lowest state, where it decides at all.
        source
            .materialise(
                &format!("state_{name}"),
                &format!(
                    "SELECT a.correlation_id, coalesce(g.state, CASE WHEN a.logged OR a.mode <> 'observe' \
                     THEN '{lowest}' END) AS {name} FROM asked_{name} a \
                     LEFT JOIN ({last}) l ON l.correlation_id = a.correlation_id \
                     LEFT JOIN log g ON g.instance = a.instance AND g.time = l.time",
                    lowest = states[0],
                ),
            )
            .await?;
        columns.push_str(&format!(", state_{name}.{name}"));
        joins.push_str(&format!(
            " JOIN state_{name} ON state_{name}.correlation_id = d.correlation_id"
        ));
    }
    let sql = format!("SELECT d.correlation_id{columns} FROM decisions d{joins}");
    source.materialise("states", &sql).await
}

/// For each of `asked` (by, t, correlation_id) the largest `time` of `events` (by, time) at or before t; null
/// where there is none.
fn last_before(by: &str, events: &str, asked: &str) -> String {
    format!(
        "SELECT correlation_id, t, time FROM (SELECT correlation_id, t, \
         max(time) OVER (PARTITION BY {by} ORDER BY t, is_asked \
         ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS time FROM \
         (SELECT {by}, time AS t, 0 AS is_asked, time, CAST(NULL AS BIGINT UNSIGNED) AS correlation_id \
          FROM ({events}) \
          UNION ALL SELECT {by}, t, 1, CAST(NULL AS BIGINT), correlation_id FROM ({asked}))) \
         WHERE correlation_id IS NOT NULL"
    )
}
