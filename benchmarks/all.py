"""Everything, one after another, within 20 minutes, and RESULTS.md written new.

    python benchmarks/all.py [--quick] [--only p1_proxy,p13_start]

A script that fails is named at the end and leaves its old result where it was; the rest goes on. Nothing else should
run on the machine meanwhile: `load before` in each result tells.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from gateway import builds
from results import write

HERE = Path(__file__).resolve().parent
SCRIPTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("p1_proxy.py", ()),
    ("p2_chat.py", ()),
    ("p4_stream.py", ("--runs", "2")),
    ("p7_context.py", ()),
    ("p13_start.py", ()),
    ("p9_memory.py", ()),
    ("p10_latency.py", ("--runs", "5", "--seconds", "4")),
    ("p12_workers.py", ("--runs", "5", "--seconds", "3")),
    ("p11_overload.py", ("--runs", "2", "--seconds", "4")),
    ("limits_exact.py", ()),
    ("kills.py", ()),
    ("p8_growth.py", ("--runs", "2", "--seconds", "3")),
    ("reloads.py", ()),
)
WHOLE = 20 * 60.0
EACH = 300.0

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    wanted = {each.removesuffix(".py") for each in given.only.split(",") if each}
    print("builds: " + ", ".join(each.name for each in builds()), flush=True)
    begun = time.monotonic()
    failed = []
    for script, arguments in SCRIPTS:
        if wanted and script.removesuffix(".py") not in wanted:
            continue
        left = WHOLE - (time.monotonic() - begun)
        if left < 20:
            failed.append(f"{script}: no time was left")
            continue
        print(f"== {script} ({time.monotonic() - begun:.0f} s)", flush=True)
        command = [sys.executable, str(HERE / script), *(["--quick"] if given.quick else arguments)]
        # A group of its own, so that what a script leaves behind at its deadline ends with it.
        process = subprocess.Popen(command, start_new_session=True)
        try:
            if process.wait(min(left, EACH)):
                failed.append(f"{script}: exit code {process.returncode}")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 2)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
            failed.append(f"{script}: took longer than {min(left, EACH):.0f} s")
    write()
    print(f"== {time.monotonic() - begun:.0f} s; RESULTS.md is written")
    for each in failed:
        print(f"failed: {each}")
    sys.exit(bool(failed))
