"""The join of analysis-scale by DuckDB: DATA [MEMORY [THREADS]] prints a line of JSON as the example `scale` does."""

import json
import sys
import time

import duckdb

data = sys.argv[1]
memory = sys.argv[2] if len(sys.argv) > 2 else "2GiB"
threads = sys.argv[3] if len(sys.argv) > 3 else "2"

begin = time.monotonic()
db = duckdb.connect()
db.execute(f"SET memory_limit = '{memory}'; SET threads = {threads}; SET temp_directory = '{data}/.duckdb'")
db.execute("SET preserve_insertion_order = false")
for table in ["parents", "children", "fills", "quotes"]:
    db.execute(f"CREATE VIEW {table} AS SELECT * FROM '{data}/{table}.parquet'")
for table in ["packets", "features", "regime_log"]:
    db.execute(
        f"CREATE VIEW {table} AS SELECT * FROM "
        f"read_parquet('{data}/timelines/*/*/*.{table}.parquet', hive_partitioning = true)"
    )

# The wire row of each child: by id, else by flow and end sequence, else by the nearest dispatch.
db.execute("""
CREATE VIEW orders AS SELECT gateway, class, correlation_id, flow_id, tcp_end_seq, port, mode, profile, canary,
    epoch_ns(t_dispatch) AS t, epoch_ns(t_wire) AS wired
  FROM packets WHERE kind IN ('order', 'mixed');
CREATE VIEW asked AS SELECT *, epoch_ns(t_dispatch) AS t FROM children;
CREATE TABLE by_id AS
  SELECT c.correlation_id, any_value(c.gateway) AS gateway, min(p.t) - min(c.t) AS ahead, min(p.port) AS port,
    min(p.mode) AS mode, min(p.profile) AS profile, min(p.canary::INT) AS canary, min(p.wired) - min(p.t) AS delay,
    CASE WHEN min(p.tcp_end_seq) <> max(p.tcp_end_seq)
      OR (min(p.tcp_end_seq) IS NULL AND min(p.t) <> max(p.t)) THEN 'ambiguous' ELSE 'id' END AS how
  FROM asked c JOIN orders p ON p.correlation_id = c.correlation_id AND p.gateway = c.gateway
  GROUP BY c.correlation_id;
CREATE TABLE rest AS SELECT * FROM asked ANTI JOIN by_id USING (correlation_id);
CREATE TABLE by_sequence AS
  SELECT c.correlation_id, any_value(c.gateway) AS gateway, min(p.t) - min(c.t) AS ahead, min(p.port) AS port,
    min(p.mode) AS mode, min(p.profile) AS profile, min(p.canary::INT) AS canary, min(p.wired) - min(p.t) AS delay,
    'sequence' AS how
  FROM rest c JOIN orders p ON p.gateway = c.gateway AND p.flow_id = c.flow_id AND p.tcp_end_seq = c.tcp_end_seq
  WHERE abs(p.t - c.t) <= 60000000000 GROUP BY c.correlation_id;
CREATE TABLE clocks AS SELECT gateway, median(ahead)::BIGINT AS ahead
  FROM (FROM by_id WHERE how <> 'ambiguous' UNION ALL FROM by_sequence) GROUP BY gateway;
CREATE TABLE near AS
  SELECT c.*, p.t AS p_t, p.wired, p.port, p.mode, p.profile, p.canary FROM
    (SELECT r.correlation_id, r.gateway, r.class, r.t + coalesce(k.ahead, 0) AS t,
       (r.t + coalesce(k.ahead, 0)) // 100000 + step AS bucket
     FROM rest r ANTI JOIN by_sequence USING (correlation_id) LEFT JOIN clocks k USING (gateway),
       (VALUES (-1), (0), (1)) AS v(step)) c
    JOIN orders p ON p.gateway = c.gateway AND p.class = c.class AND p.t // 100000 = c.bucket
  WHERE p.correlation_id IS NULL AND abs(p.t - c.t) <= 100000;
CREATE TABLE by_dispatch AS
  SELECT correlation_id, any_value(gateway) AS gateway, min(p_t - t) AS ahead, min(port) AS port, min(mode) AS mode,
    min(profile) AS profile, min(canary::INT) AS canary, min(wired - p_t) AS delay,
    CASE WHEN max(rows) > 1 OR max(children) > 1 THEN 'ambiguous' ELSE 'dispatch' END AS how
  FROM (SELECT *, count(*) OVER (PARTITION BY correlation_id) AS rows,
          count(*) OVER (PARTITION BY gateway, p_t) AS children FROM near) GROUP BY correlation_id;
CREATE TABLE matched AS FROM by_id UNION ALL BY NAME FROM by_sequence UNION ALL BY NAME FROM by_dispatch;
""")

# What a decision found: the last window, and the state of each machine.
columns = [
    ("d2w", "dispatch_to_wire_ns", "total", "p95"), ("rest", "dispatch_to_wire_ns", "rest", "p95"),
    ("bi", "burstiness_index", None, "excess"), ("sbf", "segmentation_burst_factor", None, "factor"),
    ("wst95", "wire_serialization_ns", None, "p95"), ("acr", "ack_compression_ratio", None, "ratio"),
    ("cpe", "cadence_phase_error", None, "p95"), ("nsq95", "not_sent_bytes", None, "p95"),
    ("fci", "flush_compression_index", None, "index"), ("bdr", "burst_drain_ratio", None, "ratio"),
    ("cjd", "child_join_delay_ns", None, "value"),
]
of_gateway = [
    ("bdc", "burst_delivery_concentration", None, "excess"), ("los", "limit_oscillation_score", "limit", "score"),
    ("tsr", "tx_stall_rate", None, "rate"), ("nud", "not_sent_urgency_divergence", None, "ratio"),
]


def pivots(of):
    """The columns of a window out of its rows."""
    part = lambda name: "part IS NULL" if name is None else f"part = '{name}'"
    return ", ".join(
        f"max(value) FILTER (kpi = '{kpi}' AND value_name = '{value}' AND {part(p)}) AS {name}"
        for name, kpi, p, value in of
    )


db.execute(f"""
CREATE TABLE decisions AS SELECT c.correlation_id, c.gateway, c.class, m.port, m.mode,
    epoch_ns(c.t_decision) + coalesce(k.ahead, 0) AS t
  FROM children c LEFT JOIN clocks k USING (gateway) LEFT JOIN matched m USING (correlation_id);
CREATE TABLE class_windows AS SELECT gateway, class, epoch_ns(window_to) AS ended, {pivots(columns)}
  FROM features WHERE arm IS NULL GROUP BY ALL;
CREATE TABLE gateway_windows AS SELECT gateway, epoch_ns(window_to) AS ended, {pivots(of_gateway)}
  FROM features WHERE arm IS NULL GROUP BY ALL;
CREATE TABLE exposed AS
  SELECT d.correlation_id, w.* EXCLUDE (gateway, class, ended), g.* EXCLUDE (gateway, ended)
  FROM decisions d ASOF JOIN (SELECT DISTINCT gateway, ended FROM gateway_windows) l
    ON l.gateway = d.gateway AND l.ended <= d.t
  LEFT JOIN class_windows w ON w.gateway = d.gateway AND w.class = d.class AND w.ended = l.ended
  LEFT JOIN gateway_windows g ON g.gateway = d.gateway AND g.ended = l.ended
  WHERE d.t - l.ended <= 2500000000;
CREATE TABLE log AS SELECT gateway, machine, scope, epoch_ns(time) AS time, max("to") AS state
  FROM regime_log WHERE "from" <> "to" GROUP BY ALL;
""")
machines = {
    "pacing": "'class:' || d.class", "segmentation": "'class:' || d.class",
    "byte_queue": "coalesce('tx_queue:' || d.port, o.scope)", "drain": "'class:' || d.class", "delivery": "o.scope",
}
lowest = {
    "pacing": "CLEAN_FLOW", "segmentation": "WIRE_CLEAN", "byte_queue": "BQL_STABLE", "drain": "SMOOTH_DRAIN",
    "delivery": "FLOW_CLEAN",
}
for machine, scope in machines.items():
    db.execute(f"""
    CREATE TABLE state_{machine} AS SELECT a.correlation_id,
        coalesce(l.state, CASE WHEN a.logged OR a.mode <> 'observe' THEN '{lowest[machine]}' END) AS {machine}
      FROM (SELECT d.*, {scope} AS scope, o.gateway IS NOT NULL AS logged FROM decisions d LEFT JOIN
              (SELECT gateway, min(scope) AS scope FROM log WHERE machine = '{machine}' GROUP BY gateway) o
              ON o.gateway = d.gateway) a
      ASOF LEFT JOIN (FROM log WHERE machine = '{machine}') l
        ON l.gateway = a.gateway AND l.scope = a.scope AND l.time <= a.t
    """)

# Prices, and a row for each child.
db.execute("""
CREATE TABLE filled AS SELECT f.correlation_id, sum(f.quantity) AS filled, sum(f.quantity * f.price) AS value,
    sum(f.quantity * p.side * (q.m10ms - f.price) / f.price * 1e4) / sum(f.quantity) FILTER (q.m10ms IS NOT NULL) AS m10ms,
    sum(f.quantity * p.side * (q.m100ms - f.price) / f.price * 1e4) / sum(f.quantity) FILTER (q.m100ms IS NOT NULL) AS m100ms,
    sum(f.quantity * p.side * (q.m1s - f.price) / f.price * 1e4) / sum(f.quantity) FILTER (q.m1s IS NOT NULL) AS m1s,
    sum(f.quantity * p.side * (q.m5s - f.price) / f.price * 1e4) / sum(f.quantity) FILTER (q.m5s IS NOT NULL) AS m5s,
    sum(f.quantity * p.side * (q.m30s - f.price) / f.price * 1e4) / sum(f.quantity) FILTER (q.m30s IS NOT NULL) AS m30s
  FROM fills f JOIN children c USING (correlation_id) JOIN parents p USING (parent_id)
  LEFT JOIN (SELECT fill_id, max(mid) FILTER (point = 'fill+10ms') AS m10ms,
      max(mid) FILTER (point = 'fill+100ms') AS m100ms, max(mid) FILTER (point = 'fill+1s') AS m1s,
      max(mid) FILTER (point = 'fill+5s') AS m5s, max(mid) FILTER (point = 'fill+30s') AS m30s
    FROM quotes WHERE fill_id IS NOT NULL GROUP BY fill_id) q USING (fill_id)
  GROUP BY f.correlation_id;
CREATE TABLE market AS SELECT correlation_id, max(mid) FILTER (point = 'lead') AS lead_mid,
    max(mid) FILTER (point = 'before') AS before_mid, max(mid) FILTER (point = 'decision') AS decision_mid,
    max(mid) FILTER (point = 'end') AS end_mid, max(half_spread_bps) FILTER (point = 'end') AS end_half_spread,
    max(half_spread_bps) FILTER (point = 'before') AS half_spread,
    max(volatility_bps) FILTER (point = 'before') AS volatility, max(volume) FILTER (point = 'before') AS volume
  FROM quotes WHERE fill_id IS NULL GROUP BY correlation_id;
CREATE TABLE residuals AS SELECT correlation_id, filled_before FROM (
    SELECT correlation_id, is_decision, sum(quantity) OVER (PARTITION BY parent_id ORDER BY t, is_decision
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS filled_before FROM (
        SELECT c.parent_id, epoch_ns(f.t_fill) AS t, 0 AS is_decision, f.quantity, f.correlation_id
          FROM fills f JOIN children c USING (correlation_id)
        UNION ALL SELECT parent_id, epoch_ns(t_decision), 1, 0.0, correlation_id FROM children))
  WHERE is_decision = 1;
CREATE TABLE units AS
  SELECT coalesce(m.how, 'unmatched') AS how, m.mode, m.canary, m.profile, c.gateway, epoch_ns(c.t_decision) AS t,
    c.parent_id, c.class, p.symbol, c.venue, c.tactic, c.passive, p.urgency, e.* EXCLUDE (correlation_id),
    s1.pacing, s2.segmentation, s3.byte_queue, s4.drain, s5.delivery,
    least(coalesce(f.filled, 0) / c.quantity, 1.0) AS fill_ratio,
    p.side * (f.value / f.filled - p.decision_price) / p.decision_price * 1e4 AS paid,
    p.side * (k.end_mid - p.decision_price) / p.decision_price * 1e4 + k.end_half_spread AS paid_at_end,
    CASE WHEN fill_ratio >= 1 THEN paid WHEN fill_ratio <= 0 THEN paid_at_end
      ELSE fill_ratio * paid + (1 - fill_ratio) * paid_at_end END AS shortfall,
    p.side * (f.value / f.filled - k.decision_mid) / k.decision_mid * 1e4 AS slippage,
    f.m10ms, f.m100ms, f.m1s, f.m5s, f.m30s,
    p.side * (k.before_mid - k.lead_mid) / k.lead_mid * 1e4 AS lead,
    p.side * (k.before_mid - p.decision_price) / p.decision_price * 1e4 AS drift,
    k.half_spread, k.volatility, k.volume, p.target_quantity / k.volume AS participation,
    1 - least(coalesce(r.filled_before, 0) / p.target_quantity, 1.0) AS residual,
    row_number() OVER (PARTITION BY c.parent_id ORDER BY c.t_decision, c.correlation_id) AS place,
    least(sum(coalesce(f.filled, 0)) OVER (PARTITION BY c.parent_id) / p.target_quantity, 1.0) AS completion
  FROM children c JOIN parents p USING (parent_id)
  LEFT JOIN matched m USING (correlation_id) LEFT JOIN exposed e USING (correlation_id)
  LEFT JOIN state_pacing s1 USING (correlation_id) LEFT JOIN state_segmentation s2 USING (correlation_id)
  LEFT JOIN state_byte_queue s3 USING (correlation_id) LEFT JOIN state_drain s4 USING (correlation_id)
  LEFT JOIN state_delivery s5 USING (correlation_id)
  LEFT JOIN filled f USING (correlation_id) LEFT JOIN market k USING (correlation_id)
  LEFT JOIN residuals r USING (correlation_id);
""")
names = ["children", "filled", "shortfall_bps", "markout_1s_bps", "dispatch_to_wire_ns", "residual"]
cells = {
    key: dict(zip(names, values))
    for key, *values in db.execute("""
      SELECT symbol || '/' || coalesce(segmentation, '') || '/' || how, count(*), sum(fill_ratio),
        sum(coalesce(shortfall, 0)), sum(coalesce(m1s, 0)), sum(coalesce(d2w, 0)), sum(residual)
      FROM units GROUP BY ALL ORDER BY ALL""").fetchall()
}
print(json.dumps({"total_s": time.monotonic() - begin, "cells": cells}))
