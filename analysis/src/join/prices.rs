//! Prices of each child: fills, markouts, and the market before its KPI window and at the end of its parent.
//!
//! Makes the tables `filled` (correlation_id, filled, value, m10ms to m30s), `market` (correlation_id, mids
//! and covariates) and `residuals` (correlation_id, filled_before: of its parent, when it was decided).

use crate::error::Error;
use crate::tables::Source;

/// Markouts, by the name of their point in `quotes`.
const LADDER: [(&str, &str); 5] = [
    ("fill+10ms", "m10ms"),
    ("fill+100ms", "m100ms"),
    ("fill+1s", "m1s"),
    ("fill+5s", "m5s"),
    ("fill+30s", "m30s"),
];

pub(super) async fn run(source: &Source) -> Result<(), Error> {
    let at = |point: &str, value: &str, name: &str| {
        format!("max(CASE WHEN point = '{point}' THEN {value} END) AS {name}")
    };
    let mids: Vec<String> = LADDER.iter().map(|(point, name)| at(point, "mid", name)).collect();
    // M = side x (mid(t_fill + tau) - P_fill) / P_fill: above 0 is good. By quantity where there are several.
    let markouts: Vec<String> = LADDER
        .iter()
        .map(|(_, name)| {
            format!(
                "sum(f.quantity * p.side * (q.{name} - f.price) / f.price * 10000) / \
                 sum(CASE WHEN q.{name} IS NOT NULL THEN f.quantity END) AS {name}"
            )
        })
        .collect();
    source
        .materialise(
            "filled",
            &format!(
                "SELECT f.correlation_id, sum(f.quantity) AS filled, sum(f.quantity * f.price) AS value, {} \
                 FROM fills f JOIN children c ON c.correlation_id = f.correlation_id \
                 JOIN parents p ON p.parent_id = c.parent_id \
                 LEFT JOIN (SELECT fill_id, {} FROM quotes WHERE fill_id IS NOT NULL GROUP BY fill_id) q \
                 ON q.fill_id = f.fill_id GROUP BY f.correlation_id",
                markouts.join(", "),
                mids.join(", "),
            ),
        )
        .await?;
    let market = [
        at("lead", "mid", "lead_mid"),
        at("before", "mid", "before_mid"),
        at("decision", "mid", "decision_mid"),
        at("end", "mid", "end_mid"),
        at("end", "half_spread_bps", "end_half_spread"),
        at("before", "half_spread_bps", "half_spread"),
        at("before", "volatility_bps", "volatility"),
        at("before", "volume", "volume"),
    ];
    source
        .materialise(
            "market",
            &format!(
                "SELECT correlation_id, {} FROM quotes WHERE fill_id IS NULL GROUP BY correlation_id",
                market.join(", ")
            ),
        )
        .await?;
    // A running sum over fills and decisions of a parent in the order of their times.
    source
        .materialise(
            "residuals",
            "SELECT correlation_id, filled_before FROM (SELECT correlation_id, is_decision, \
             sum(quantity) OVER (PARTITION BY parent_id ORDER BY t, is_decision \
             ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS filled_before FROM \
             (SELECT c.parent_id, f.t_fill AS t, 0 AS is_decision, f.quantity, f.correlation_id \
              FROM fills f JOIN children c ON c.correlation_id = f.correlation_id \
              UNION ALL SELECT parent_id, t_decision, 1, 0.0, correlation_id FROM children)) \
             WHERE is_decision = 1",
        )
        .await
}
