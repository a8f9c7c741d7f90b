//! The wire row of each child: by correlation id; else by flow and TCP end sequence; else by the nearest
//! dispatch, where only one row and one child are near each other.
//!
//! Makes the tables `matched` (correlation_id, how, port, mode, profile, canary, wire_delay_ns) and
//! `clocks` (gateway, offset_ns: how far its clock is ahead of the strategies').

use crate::error::Error;
use crate::tables::Source;

/// How far apart the dispatch of a child and of its row may be when nothing else tells.
pub const NEAREST_NS: i64 = 100_000;
/// How far apart they may be when flow and sequence agree: sequences come again after 4 GiB.
const SEQUENCE_NS: i64 = 60_000_000_000;

/// How a child was matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// By correlation id.
    Id,
    /// By flow and TCP end sequence.
    Sequence,
    /// By the nearest dispatch.
    Dispatch,
    /// By something that several rows have.
    Ambiguous,
    /// Not at all.
    Unmatched,
}

impl How {
    const ALL: [Self; 5] =
        [Self::Id, Self::Sequence, Self::Dispatch, Self::Ambiguous, Self::Unmatched];

    /// As it stands in queries and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Sequence => "sequence",
            Self::Dispatch => "dispatch",
            Self::Ambiguous => "ambiguous",
            Self::Unmatched => "unmatched",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        Self::ALL.into_iter().find(|how| how.name() == text).unwrap_or(Self::Unmatched)
    }
}

/// Rows that can be the dispatch of a child. An acknowledgement alone carries the end sequence of what was sent
/// before it, and no message.
pub const ORDERS: &str = "p.kind IN ('order', 'mixed') AND coalesce(p.messages, 1) > 0";

/// What is kept of the rows of a child; more than one that differ make it ambiguous.
const KEPT: &str = "min(p.port) AS port, min(p.mode) AS mode, min(p.profile) AS profile, \
    min(CAST(p.canary AS INT)) AS canary, min(p.t_dispatch) - min(c.t_dispatch) AS offset_ns, \
    min(p.t_wire) - min(p.t_dispatch) AS wire_delay_ns";

pub(super) async fn run(source: &Source) -> Result<(), Error> {
    // Segments of one child that were sent again have its sequence; rows without one are told apart by time.
    let one_row = "CASE WHEN min(p.tcp_end_seq) <> max(p.tcp_end_seq) \
        OR (min(p.tcp_end_seq) IS NULL AND min(p.t_dispatch) <> max(p.t_dispatch)) THEN 'ambiguous' ELSE";
    source
        .materialise(
            "by_id",
            &format!(
                "SELECT c.correlation_id, {one_row} 'id' END AS how, min(c.gateway) AS gateway, {KEPT} \
                 FROM children c JOIN packets p \
                 ON c.correlation_id = p.correlation_id AND c.gateway = p.gateway \
                 WHERE {ORDERS} GROUP BY c.correlation_id"
            ),
        )
        .await?;
    rest(source, "rest_of_ids", "children", "by_id").await?;
    // The same bytes of the same connection again are a retransmission, and its first dispatch counts.
    source
        .materialise(
            "by_sequence",
            &format!(
                "SELECT c.correlation_id, 'sequence' AS how, min(c.gateway) AS gateway, {KEPT} \
                 FROM rest_of_ids c JOIN packets p ON c.gateway = p.gateway \
                 AND c.flow_id = p.flow_id AND c.tcp_end_seq = p.tcp_end_seq \
                 WHERE {ORDERS} AND abs(p.t_dispatch - c.t_dispatch) <= {SEQUENCE_NS} \
                 GROUP BY c.correlation_id"
            ),
        )
        .await?;
    source
        .materialise(
            "clocks",
            "SELECT gateway, CAST(median(offset_ns) AS BIGINT) AS offset_ns FROM \
             (SELECT * FROM by_id UNION ALL SELECT * FROM by_sequence) \
             WHERE how <> 'ambiguous' GROUP BY gateway",
        )
        .await?;
    rest(source, "rest_of_sequences", "rest_of_ids", "by_sequence").await?;
    by_dispatch(source).await?;
    source
        .materialise(
            "matched",
            "SELECT * FROM by_id UNION ALL SELECT * FROM by_sequence UNION ALL SELECT * FROM by_dispatch",
        )
        .await
}

/// The children of `from` that `found` does not have.
async fn rest(source: &Source, name: &str, from: &str, found: &str) -> Result<(), Error> {
    let sql = format!(
        "SELECT c.* FROM {from} c LEFT ANTI JOIN {found} f ON c.correlation_id = f.correlation_id"
    );
    source.materialise(name, &sql).await
}

async fn by_dispatch(source: &Source) -> Result<(), Error> {
    // Equal buckets, or the one before or after: an equality that a hash join can use.
    let pairs = format!(
        "SELECT c.correlation_id, c.gateway, c.t_dispatch, p.t_dispatch AS p_dispatch, p.t_wire, p.port, \
         p.mode, p.profile, p.canary FROM \
         (SELECT r.correlation_id, r.gateway, r.class, r.t_dispatch, \
          r.t_dispatch + coalesce(k.offset_ns, 0) AS t, \
          (r.t_dispatch + coalesce(k.offset_ns, 0)) / {NEAREST_NS} + v.step AS bucket \
          FROM rest_of_sequences r LEFT JOIN clocks k ON r.gateway = k.gateway \
          CROSS JOIN (VALUES (-1), (0), (1)) AS v(step)) c \
         JOIN packets p ON c.gateway = p.gateway AND c.class = p.class \
         AND c.bucket = p.t_dispatch / {NEAREST_NS} \
         WHERE {ORDERS} AND p.correlation_id IS NULL AND abs(p.t_dispatch - c.t) <= {NEAREST_NS}"
    );
    source.materialise("near", &pairs).await?;
    source
        .materialise(
            "by_dispatch",
            "SELECT correlation_id, CASE WHEN max(rows) > 1 OR max(children) > 1 THEN 'ambiguous' \
             ELSE 'dispatch' END AS how, min(gateway) AS gateway, min(port) AS port, min(mode) AS mode, \
             min(profile) AS profile, min(CAST(canary AS INT)) AS canary, \
             min(p_dispatch - t_dispatch) AS offset_ns, min(t_wire - p_dispatch) AS wire_delay_ns \
             FROM (SELECT *, count(*) OVER (PARTITION BY correlation_id) AS rows, \
             count(*) OVER (PARTITION BY gateway, p_dispatch) AS children FROM near) \
             GROUP BY correlation_id",
        )
        .await
}
