"""Computes the figures of a report again, from the files that it was made of: DATA REPORT.json.

Shares no code with the report: joins are DuckDB's, statistics are written here. Figures that are drawn by a seed
(intervals) are held against a jackknife. Exit code 3 when a figure is not what it should be.
"""

import json
import math
import sys

import duckdb
import numpy as np

data, report = sys.argv[1], json.load(open(sys.argv[2]))
db = duckdb.connect()
wrong = []
checked = 0


def same(what, said, found, tolerance=1e-6):
    """Holds a figure of the report against what was found here."""
    global checked
    checked += 1
    if said is None or found is None:
        good = said is None and found is None
    else:
        good = abs(said - found) <= tolerance * max(1.0, abs(found))
    if not good:
        wrong.append(f"{what}: the report says {said}, and {found} is right")


for table in ["parents", "children", "fills", "quotes"]:
    db.execute(f"CREATE VIEW {table} AS SELECT * FROM '{data}/{table}.parquet'")
for table in ["packets", "features", "regime_log"]:
    db.execute(
        f"CREATE VIEW {table} AS SELECT * FROM "
        f"read_parquet('{data}/timelines/*/*/*.{table}.parquet', hive_partitioning = true)"
    )

# How children are found: by id, else by flow and end sequence. Nearest dispatches are for neither.
db.execute("""
CREATE TABLE orders AS SELECT *, epoch_ns(t_dispatch) AS sent, epoch_ns(t_wire) AS wired FROM packets
  WHERE kind IN ('order', 'mixed') AND coalesce(messages, 1) > 0;
CREATE TABLE found AS
  SELECT c.correlation_id, 'id' AS how, any_value(p.mode || '/' || p.profile) AS in_force FROM children c
    JOIN orders p ON p.correlation_id = c.correlation_id AND p.gateway = c.gateway GROUP BY ALL;
INSERT INTO found
  SELECT c.correlation_id, 'sequence', any_value(p.mode || '/' || p.profile) FROM children c
    JOIN orders p ON p.gateway = c.gateway AND p.flow_id = c.flow_id AND p.tcp_end_seq = c.tcp_end_seq
    WHERE c.correlation_id NOT IN (SELECT correlation_id FROM found) GROUP BY ALL;
""")
by = report["outcome"]["matched"]["by"]
same("children", report["outcome"]["matched"]["children"], db.execute("SELECT count(*) FROM children").fetchone()[0])
for how in ["id", "sequence"]:
    count = db.execute(f"SELECT count(*) FROM found WHERE how = '{how}'").fetchone()[0]
    same(f"found by {how}", by.get(how, 0), count)

# One row for each child.
db.execute("""
CREATE TABLE windows AS SELECT gateway, class, epoch_ns(window_to) AS t,
    max(value) FILTER (kpi = 'dispatch_to_wire_ns' AND part = 'total' AND value_name = 'p95') AS d2w,
    max(value) FILTER (kpi = 'burstiness_index' AND value_name = 'excess') AS bi
  FROM features WHERE arm IS NULL AND class IS NOT NULL GROUP BY ALL;
CREATE TABLE feeds AS SELECT gateway, epoch_ns(window_to) AS t,
    max(value) FILTER (kpi = 'burst_delivery_concentration' AND value_name = 'excess') AS bdc
  FROM features WHERE arm IS NULL GROUP BY ALL;
CREATE TABLE filled AS SELECT f.correlation_id, sum(f.quantity) AS filled,
    sum(f.quantity * f.price) / sum(f.quantity) AS price,
    sum(f.quantity * p.side * (q.m1 - f.price) / f.price * 1e4) / sum(f.quantity) AS m1,
    sum(f.quantity * p.side * (q.m5 - f.price) / f.price * 1e4) / sum(f.quantity) AS m5,
    sum(f.quantity * p.side * (q.m30 - f.price) / f.price * 1e4) / sum(f.quantity) AS m30
  FROM fills f JOIN children c USING (correlation_id) JOIN parents p USING (parent_id)
  JOIN (SELECT fill_id, max(mid) FILTER (point = 'fill+1s') AS m1, max(mid) FILTER (point = 'fill+5s') AS m5,
        max(mid) FILTER (point = 'fill+30s') AS m30 FROM quotes WHERE fill_id IS NOT NULL GROUP BY fill_id) q
    USING (fill_id) GROUP BY f.correlation_id;
CREATE TABLE market AS SELECT correlation_id, max(mid) FILTER (point = 'before') AS before_mid,
    max(mid) FILTER (point = 'end') AS ending, max(half_spread_bps) FILTER (point = 'end') AS end_half,
    max(half_spread_bps) FILTER (point = 'before') AS half_spread, max(volatility_bps) AS volatility,
    max(volume) AS volume FROM quotes WHERE fill_id IS NULL GROUP BY correlation_id;
CREATE TABLE seen AS SELECT c.correlation_id, c.gateway, c.class, epoch_ns(c.t_decision) AS t FROM children c;
CREATE TABLE units AS
  SELECT c.correlation_id, c.parent_id, c.gateway, c.class, coalesce(c.venue, '') AS venue,
    coalesce(c.tactic, '') AS tactic, c.passive, c.quantity, p.symbol, p.urgency, f.how, f.in_force, s.t, w.d2w, w.bi, g.bdc,
    p.side, p.target_quantity AS target, p.decision_price AS price, m.* EXCLUDE (correlation_id),
    coalesce(l.filled, 0) AS filled, l.price AS paid_price, l.m1, l.m5, l.m30
  FROM children c JOIN parents p USING (parent_id) JOIN market m USING (correlation_id)
  JOIN seen s USING (correlation_id) LEFT JOIN found f USING (correlation_id)
  LEFT JOIN filled l USING (correlation_id)
  ASOF LEFT JOIN windows w ON w.gateway = c.gateway AND w.class = c.class AND s.t >= w.t
  ASOF LEFT JOIN feeds g ON g.gateway = c.gateway AND s.t >= g.t
  ORDER BY s.t, c.correlation_id;
CREATE TABLE residuals AS SELECT u.correlation_id, coalesce(sum(f.quantity), 0) AS filled_before FROM units u
  LEFT JOIN children c2 ON c2.parent_id = u.parent_id
  LEFT JOIN fills f ON f.correlation_id = c2.correlation_id AND epoch_ns(f.t_fill) <= u.t GROUP BY ALL;
""")
u = db.execute("SELECT * FROM units JOIN residuals USING (correlation_id) ORDER BY t, correlation_id").fetchnumpy()


def real(name):
    """A column of reals, NaN where it is null."""
    column = u[name]
    return np.asarray(np.ma.filled(np.ma.asarray(column, dtype=float), np.nan))


def text(name):
    """A column of texts."""
    return np.array([str(value) for value in u[name]])


side, price = real("side"), real("price")
share = np.minimum(real("filled") / real("quantity"), 1.0)
paid = side * (real("paid_price") - price) / price * 1e4
at_end = side * (real("ending") - price) / price * 1e4 + real("end_half")
shortfall = np.where(share >= 1, paid, np.where(share <= 0, at_end, share * paid + (1 - share) * at_end))


def thirds(values):
    """1 in the top third, 0 in the bottom one, NaN in between."""
    known = np.sort(values[~np.isnan(values)])
    arms = np.full(len(values), np.nan)
    if len(known):
        low, high = known[len(known) // 3], known[len(known) * 2 // 3]
        arms[(values >= high) & (values > low)] = 1
        arms[(values < low) | ((values <= low) & (low < high))] = 0
    return arms


slow, bursty = thirds(real("d2w")), thirds(real("bi"))
both = np.where(slow == bursty, slow, np.nan)
delivery = thirds(real("bdc"))


def ln(values):
    """Logarithms of what is above 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(values > 0, np.log(values), np.nan)


def indicators(labels):
    """A column for each level but the first."""
    return [(labels == level).astype(float) for level in sorted(set(labels))[1:]]


def tilted(x, base, target):
    """The weights nearest to `base` under which the means of the columns are `target`; None where there are none."""
    l = np.zeros(x.shape[1])

    def at(l):
        e = x @ l
        w = base * np.exp(e - e.max())
        return w / w.sum(), np.log(w.sum()) + e.max() - l @ target

    w, dual = at(l)
    for _ in range(50):
        gap = x.T @ w - target
        if np.abs(gap).max() < 1e-7:
            return w
        mean = x.T @ w
        hessian = (x.T * w) @ x - np.outer(mean, mean) + 1e-9 * np.eye(len(l))
        step, size = np.linalg.solve(hessian, gap), 1.0
        while True:
            w_next, dual_next = at(l - size * step)
            if dual_next < dual + 1e-12:
                l, w, dual = l - size * step, w_next, dual_next
                break
            if size < 1e-4:
                return None
            size /= 2
    return None


def effect(kpi, arms, cost, others):
    """Holds a KPI of the report against matching, balance and adjustment as the docs have them."""
    said = report["outcome"]["kpis"][kpi]
    in_arms = ~np.isnan(arms) & ~np.isnan(cost) & found
    if min(np.sum(in_arms & (arms == arm)) for arm in [0, 1]) < 50:
        same(f"{kpi} absent", said["cost_bps"], None)
        return
    seconds = (u["t"].astype(np.int64) % 86_400_000_000_000) / 1e9
    columns = [
        (ln(real("volatility")), 5), (ln(real("half_spread")), 0), (ln(real("volume")), 0),
        (ln(real("target") / real("volume")), 0), (real("urgency"), 3),
        (1 - np.minimum(real("filled_before") / real("target"), 1), 0), (seconds, 2),
    ]
    use = in_arms & np.all([~np.isnan(values) for values, _ in columns], axis=0)
    columns = [(values[use], cells) for values, cells in columns]
    treated, y = arms[use] == 1, cost[use]
    cluster = np.array([f"{g}/{t // 86_400_000_000_000}" for g, t in zip(text("gateway"), u["t"])])[use]
    exact = [text(name)[use] for name in ["symbol", "passive", "tactic", "class", "in_force"]]

    def cuts(values, cells):
        ordered = np.sort(values)
        return [ordered[max(len(ordered) * cell // cells - 1, 0)] for cell in range(1, cells)]

    digits = [np.searchsorted(cuts(v, cells), v, side="left") for v, cells in columns if cells > 1]
    keys = list(zip(*exact, *digits))
    counts = {}
    for key, arm in zip(keys, treated):
        counts.setdefault(key, [0, 0])[int(arm)] += 1
    keep = np.array([min(counts[key]) > 0 for key in keys])
    same(f"{kpi} naive_cost_bps", said["naive_cost_bps"], y[treated].mean() - y[~treated].mean())
    same(f"{kpi} treated", said["treated"], int(np.sum(treated & keep)))
    same(f"{kpi} controls", said["controls"], int(np.sum(~treated & keep)))
    same(f"{kpi} matched_share", said["matched_share"], np.sum(treated & keep) / np.sum(treated))

    base = np.array([counts[key][1] / max(counts[key][0], 1) for key in keys])[keep]
    whole = [(v.mean(), v.std()) for v, _ in columns]
    treated, y, cluster = treated[keep], y[keep], cluster[keep]
    labels = [text(name)[use][keep] for name in ["symbol", "passive", "tactic", "class", "venue", "gateway"]]
    growing = [np.where(np.isnan(arm), 2, arm)[use][keep] for arm in others]
    columns = [(v[keep], cells) for v, cells in columns]

    def design(scales, powers, steps):
        scaled = [((v - m) / d if d > 0 else v * 0, cells) for (v, cells), (m, d) in zip(columns, scales)]
        out = [np.ones(len(y))] if steps else []
        for label in labels:
            out += indicators(label)
        of_others = [column for arm in growing for column in indicators(arm)]
        out += of_others
        if powers[0] > 1:
            out += [column * z for column in of_others for z, cells in scaled if cells > 1]
        for z, cells in scaled:
            out += [z**power for power in range(1, powers[0 if cells > 1 else 1] + 1)]
        if steps:
            out += [(v > cut).astype(float) for v, cells in columns for cut in cuts(v, max(cells, 1))]
        return np.array(out).T

    weights = base[~treated] / base[~treated].sum()
    for powers in [(3, 2), (2, 2), (1, 1)]:
        x = design(whole, powers, False)
        w = tilted(x[~treated], base[~treated], x[treated].mean(axis=0))
        if w is not None:
            weights = w
            break
    z = design([(v.mean(), v.std()) for v, _ in columns], (3, 2), True)
    w = np.zeros(len(y))
    w[~treated] = weights * treated.sum()
    penalty = 1e-6 * len(y) * np.eye(z.shape[1])

    def difference(rows):
        zr, wr, t = z[rows], w[rows], treated[rows]
        model = np.linalg.solve((zr.T * wr) @ zr + penalty, (zr.T * wr) @ y[rows])
        return y[rows][t].mean() - zr[t].mean(axis=0) @ model

    found_here = difference(np.full(len(y), True))
    same(f"{kpi} cost_bps", said["cost_bps"], found_here, 1e-3)
    names = sorted(set(cluster))
    same(f"{kpi} clusters", said["clusters"], len(names))
    moved = np.array([difference(cluster != name) for name in names])
    g = len(names)
    error = math.sqrt((g - 1) / g * np.sum((found_here - moved) ** 2))
    # Drawn by a seed in the report: 400 draws know a standard error to 4 %.
    half = (said["ci_high"] - said["ci_low"]) / 2
    same(f"{kpi} half-width", half, student(g - 1) * error, 0.12)


def student(degrees):
    """The 97.5 % quantile of Student's t, by its density."""
    x = np.linspace(0, 20, 400_001)
    density = (1 + x**2 / degrees) ** (-(degrees + 1) / 2)
    mass = np.cumsum(density) / (2 * np.sum(density))
    return x[np.searchsorted(mass, 0.475)]


found = text("how") != "None"
logged = {row[0] for row in db.execute("SELECT DISTINCT machine FROM regime_log").fetchall()}
if logged:
    sys.exit("the timelines have decisions of machines: this program is for a chain in mode observe")
for kpi, arms, cost, other in [
    ("QLP", both, -real("m1"), [delivery]), ("CTE_1", delivery, -real("m1"), [both]),
    ("CTE_5", delivery, -real("m5"), [both]), ("CTE_30", delivery, -real("m30"), [both]),
]:
    effect(kpi, arms, cost, other)
# No machine decided, so these have no arms.
for kpi in ["BTU", "BOT", "CCMD", "fill_ratio_delta", "completion_delta"]:
    same(f"{kpi} absent", report["outcome"]["kpis"][kpi]["cost_bps"], None)

# Branches of parents: TIMELY, BURST-SYNC, LATE-RECOVERY.
parents = {}
for i, parent in enumerate(u["parent_id"]):
    parents.setdefault(int(parent), []).append(i)
filled, target = real("filled"), real("target")
residual = 1 - np.minimum(real("filled_before") / target, 1)
passive = text("passive") == "True"
branch_parents, branch_costs = [0, 0, 0], [[], [], []]
for rows in parents.values():
    bursts = sum(delivery[i] == 1 for i in rows)
    last = rows[-1]
    late = bursts > 0 and not passive[last] and residual[last] >= 0.5
    branch = 2 if late else int(bursts >= 0.5 * len(rows))
    branch_parents[branch] += 1
    done = min(sum(filled[i] for i in rows) / target[last], 1)
    traded = sum(filled[i] for i in rows)
    mean_paid = sum(filled[i] * paid[i] for i in rows if filled[i] > 0) / traded if traded else 0
    branch_costs[branch].append(done * mean_paid + (1 - done) * at_end[last] if done < 1 else mean_paid)
for branch, count, costs in zip(report["models"]["branches"]["branches"], branch_parents, branch_costs):
    same(f"{branch['name']} parents", branch["parents"], count)
    same(f"{branch['name']} share", branch["share"], count / len(parents))
    same(f"{branch['name']} cost_bps", branch["cost_bps"], np.mean(costs) if costs else None, 1e-6)

# What the page is about.
same("provenance.children", report["provenance"]["children"], len(side))
same("provenance.gateways", report["provenance"]["gateways"], len(set(text("gateway"))))
windows = db.execute("SELECT count(*) FROM (SELECT DISTINCT gateway, class, window_to FROM features "
                 "WHERE arm IS NULL AND class IS NOT NULL)").fetchone()[0]
same("provenance.windows", report["provenance"]["windows"], windows)
for change in report["changes"]:
    same(f"change {change['kpi']}", change["cost_bps"], report["outcome"]["kpis"][change["kpi"]]["cost_bps"])
for cell in report["cells"]:
    same(f"cell {cell['symbol']} {cell['venue']}", cell["difference_bps"], None)

print(f"{checked} figures computed again, {len(wrong)} are not what they should be")
for line in wrong:
    print(line)
sys.exit(3 if wrong else 0)
