"""Runs both joins of analysis-scale on each data set and compares them: see there. DATA ROWS..."""

import json
import math
import os
import pathlib
import subprocess
import sys

data, sizes = sys.argv[1], [int(rows) for rows in sys.argv[2:]]
beside = pathlib.Path(__file__).parent
GIB = 1 << 30
# Of both engines. What they do not count, such as results, is in the rest of the 4 GiB.
MEMORY_MIB = 2048


def run(*command):
    """The JSON that a command prints, and the most memory that it took, bytes."""
    child = subprocess.Popen(["taskset", "-c", "0,1", *command], stdout=subprocess.PIPE)
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return json.loads(text), usage.ru_maxrss * 1024


wrong = []
times = []
print(f"{'rows':>12} {'children':>9} {'here s':>8} {'GiB':>5} {'DuckDB s':>9} {'GiB':>5} {'ratio':>6}")
for rows in sizes:
    place = f"{data}/{rows}"
    here, memory = run(os.environ["SCALE"], place, str(MEMORY_MIB), "2")
    other, of_other = run(sys.executable, str(beside / "analysis-duckdb.py"), place, f"{MEMORY_MIB}MiB", "2")
    if here["cells"].keys() != other["cells"].keys():
        wrong.append(f"{rows} rows: cells {sorted(here['cells'].keys() ^ other['cells'].keys())} are of one only")
    for key in here["cells"].keys() & other["cells"].keys():
        for name, value in here["cells"][key].items():
            if not math.isclose(value, other["cells"][key][name], rel_tol=1e-9, abs_tol=1e-6):
                wrong.append(f"{rows} rows: {name} of {key}: {value}, DuckDB {other['cells'][key][name]}")
    ratio = here["total_s"] / other["total_s"]
    children = sum(cell["children"] for cell in here["cells"].values())
    print(f"{rows:12} {children:9} {here['total_s']:8.1f} {memory / GIB:5.2f} "
          f"{other['total_s']:9.1f} {of_other / GIB:5.2f} {ratio:6.2f}", flush=True)
    if memory > 4 * GIB:
        wrong.append(f"{rows} rows: {memory / GIB:.2f} GiB")
    if ratio > 3:
        wrong.append(f"{rows} rows: {ratio:.2f} times DuckDB")
    times.append(here["total_s"])
for before, after, less, more in zip(times, times[1:], sizes, sizes[1:]):
    growth, of_rows = after / before, more / less
    print(f"{of_rows:.1f} times the rows, {growth:.1f} times the time")
    if growth > of_rows:
        wrong.append(f"from {less} to {more} rows time grows {growth:.1f} times")
print(*wrong, sep="\n", end="\n" if wrong else "")
sys.exit(3 if wrong else 0)
