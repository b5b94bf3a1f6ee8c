"""P13: from the start of the program to its first answer, and the import of the command line.

    python benchmarks/p13_start.py [--quick]

*Start* is `tidegate run` with the config of P1 and an empty data folder until a proxied GET is answered with 200, the
operating system's file cache warm, measured as an operator sees it: Python's start, the config, key digests, fork.
*Import* is `import tidegate.cli` less a bare Python, by the wall clock.
"""

from __future__ import annotations

import subprocess
import sys
import time

from gateway import Build, Gateway, build, builds, policy
from results import Gate, arguments, begin, finish, middle
from upstream import Upstream


def python(code: str, which: Build) -> float:
    """Seconds that one Python with *code* takes."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=which.environment(), check=True)
    return time.perf_counter() - begun


def slowest(which: Build, count: int = 8) -> list[str]:
    """The imports that take longest by themselves, as ``-X importtime`` tells."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import tidegate.cli"],
        env=which.environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = []
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            found.append((int(parts[0]), parts[2].strip()))
    return [f"`{name}` {spent / 1000:.1f} ms" for spent, name in sorted(found, reverse=True)[:count]]


if __name__ == "__main__":
    parser = arguments(__doc__)
    given = parser.parse_args()
    runs = 2 if given.quick else 7
    result = begin("p13", "P13: start and import", given.quick)
    result.columns = ["build", "start to first answer, s", "worst", "import of the CLI, s", "worst"]
    with Upstream():
        for which in builds() if not given.build else [build(given.build)]:
            starts, imports = [], []
            for _ in range(runs):
                with Gateway(policy(), which) as gateway:
                    starts.append(gateway.started)
                imports.append(python("import tidegate.cli", which) - python("pass", which))
            result.rows.append([which.name, middle(starts), max(starts), middle(imports), max(imports)])
            result.gates.append(Gate(f"{which.name}: start to first answer", middle(starts), "s", 1.5, 0.6, 0.3))
            result.gates.append(Gate(f"{which.name}: import of the CLI", middle(imports), "s", 0.3, 0.15, 0.1))
    result.notes.append("Slowest imports by themselves: " + ", ".join(slowest(builds()[-1])) + ".")
    result.notes.append(f"{runs} runs; the gateway is pinned to one core with its supervisor, control and worker.")
    finish(result)
