"""Sums up the lines of `coverage`: see scripts/analysis-coverage."""

import collections
import json
import statistics
import sys

rows = collections.defaultdict(list)
for line in sys.stdin:
    row = json.loads(line)
    rows[row["scenario"], row["kpi"]].append(row)

failed = 0
print(f"{'scenario':11} {'KPI':16} {'seeds':>5} {'cost':>6} {'bias':>6} {'naive':>6} {'half':>5} "
      f"{'held':>6} {'clear':>6} {'ident.':>6}")
for (scenario, kpi), of in sorted(rows.items()):
    with_interval = [row for row in of if row["ci_low"] is not None]
    n = len(with_interval)
    if n == 0:
        print(f"{scenario:11} {kpi:16} no intervals")
        failed += 1
        continue
    truth = statistics.mean(row["truth"] for row in with_interval)
    bias = statistics.mean(row["cost_bps"] - row["truth"] for row in with_interval)
    naive = statistics.mean(row["naive"] - row["truth"] for row in with_interval)
    half = statistics.median((row["ci_high"] - row["ci_low"]) / 2 for row in with_interval)
    held = sum(row["ci_low"] <= row["truth"] <= row["ci_high"] for row in with_interval) / n
    clear = sum(row["ci_low"] > 0 or row["ci_high"] < 0 for row in with_interval) / n
    identified = sum(row["identified"] for row in of) / len(of)
    wrong = []
    if scenario == "unobserved":
        if identified > 0.10:
            wrong.append("identified")
    else:
        if not 0.91 <= held <= 0.98:
            wrong.append("held")
        if abs(truth) > 0.05:
            if half > truth:
                wrong.append("half-width")
            if clear < 0.80:
                wrong.append("power")
        elif clear > 0.08:
            wrong.append("false alarms")
    failed += bool(wrong)
    print(f"{scenario:11} {kpi:16} {n:5} {truth:6.2f} {bias:6.2f} {naive:6.2f} {half:5.2f} "
          f"{held:6.1%} {clear:6.1%} {identified:6.1%} {' '.join(wrong)}")
print(f"{failed} of {len(rows)} lines out of bounds")
sys.exit(3 if failed else 0)
