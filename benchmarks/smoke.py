"""A bounded check that P1 has not grown dear: what CI runs, about two minutes.

    python benchmarks/smoke.py [--build interpreted|compiled] [--update]

Times do not travel between machines, instructions nearly do. So the check is, in this order:

1. *Instructions* of one request inside the engine (``inside.py``; no kernel, fixed hash seed): the difference of a
   run with many requests and one with few, counted by the processor where it may be, else by valgrind. Fails at more
   than 15 % over ``baseline.json``.
2. Where neither counts: CPU time of a proxied GET as a ratio to nginx's in the same run, taken in turn, the best of
   three. Fails at more than 50 % over the baseline's ratio: a shared machine moves such a ratio by a third.
3. Without nginx and wrk too: CPU time inside the engine as a ratio to a fixed loop of Python, fails at 50 %.

``--update`` measures everything that can be measured here and writes it into ``baseline.json``; a change that is
meant to cost more commits the new figure with its reason.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import load
from gateway import Build, Gateway, build
from measure import counters
from rivals import Rival, installed
from upstream import Upstream

HERE = Path(__file__).resolve().parent
BASELINE = HERE / "baseline.json"
FEW, MANY = 300, 1300
TIGHT, LOOSE = 1.15, 1.5


def inside(which: Build, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run ``inside.py`` on that build, under *before*."""
    environment = {**which.environment(), "TIDEGATE_INSIDE": "1", "PYTHONHASHSEED": "0", "PYTHONSAFEPATH": ""}
    return subprocess.run(
        [*before, sys.executable, str(HERE / "inside.py"), *arguments],
        env=environment, capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip


def instructions(which: Build) -> float | None:
    """User instructions of a request, None where nothing counts them."""
    counted = []
    for requests in (FEW, MANY):
        if counters():
            perf = ("perf", "stat", "-x,", "-e", "instructions:u", "--")
            said = inside(which, "--requests", str(requests), before=perf).stderr
            found = re.search(r"^(\d+),.*instructions:u", said, re.MULTILINE)
        elif shutil.which("valgrind"):
            with tempfile.TemporaryDirectory(prefix="tidegate-callgrind-") as folder:
                grind = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out")
                said = inside(which, "--requests", str(requests), before=grind).stderr
            found = re.search(r"Collected : (\d+)", said)
        else:
            return None
        if found is None:
            raise SystemExit(f"no instructions were counted: {said[-1000:]}")
        counted.append(int(found.group(1)))
    return (counted[1] - counted[0]) / (MANY - FEW)


def beside_nginx(which: Build) -> float | None:
    """CPU time of a proxied GET ÷ nginx's; None without nginx or wrk."""
    if "nginx" not in installed() or not shutil.which("wrk"):
        return None
    ratios = []
    with Upstream():
        for _ in range(3):
            spent = []
            for proxy in (Gateway(build=which), Rival("nginx")):
                with proxy:
                    load.run(proxy.port, proxy.pids(), 1)
                    spent.append(load.run(proxy.port, proxy.pids(), 3).microseconds)
            ratios.append(spent[0] / spent[1])
    return min(ratios)


def beside_a_loop(which: Build) -> float:
    """CPU time inside the engine ÷ that of a fixed loop of Python."""
    best = 1.0
    for _ in range(7):
        begun = time.process_time()
        table = {}
        for number in range(20_000):
            table[str(number % 500)] = (number, table.get("7"))
        best = min(best, time.process_time() - begun)
    return float(inside(which).stdout) * 1e-6 / best * 1000


MEASURES = (
    ("instructions", instructions, TIGHT),
    ("ratio to nginx", beside_nginx, LOOSE),
    ("ratio to a loop", beside_a_loop, LOOSE),
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="interpreted")
    parser.add_argument("--update", action="store_true")
    given = parser.parse_args()
    which = build(given.build)
    known = json.loads(BASELINE.read_text("utf-8")) if BASELINE.is_file() else {}
    name = f"{which.name}, Python {sys.version_info[0]}.{sys.version_info[1]}"
    mine = known.setdefault(name, {})
    for what, measured, slack in MEASURES:
        if not given.update and what not in mine:
            continue
        value = measured(which)
        if value is None:
            continue
        if given.update:
            mine[what] = round(value, 2)
            print(f"{name}: {what} {value:,.2f}")
            continue
        growth = value / mine[what]
        print(f"{name}: {what} {value:,.2f}, {growth:.2f} × the baseline; {slack} at most")
        sys.exit(int(growth > slack))
    if given.update:
        BASELINE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")
    else:
        print(f"{name}: baseline.json has nothing to compare with: python benchmarks/smoke.py --update")
        sys.exit(1)
