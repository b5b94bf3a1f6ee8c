"""P12: CPU a request with one worker and with two.

    python benchmarks/p12_workers.py [--quick] [--runs N] [--seconds S]

The claim wants load and service elsewhere. On two cores there is no elsewhere: with two workers the second shares its
core with the generator and the service, so it sees colder caches than it would alone. What is measured therefore is an
upper bound of the growth. CPU time is that of the workers; throughput is shown, and says nothing about scaling here.
"""

from __future__ import annotations

import load
from gateway import Gateway, build
from measure import CORES
from results import Gate, arguments, begin, finish, middle
from upstream import Upstream

if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    runs, seconds = (1, 2.0) if given.quick else (given.runs, given.seconds)
    result = begin("p12", "P12: one worker and two", given.quick)
    result.columns = ["workers", "CPU µs of the workers", "worst", "answers/s"]
    costs: dict[int, list[load.Load]] = {1: [], 2: []}
    with Upstream():
        for _ in range(runs):
            for workers in costs:
                with Gateway(build=build(given.build), workers=workers, core=None) as gateway:
                    load.run(gateway.port, gateway.pids(), 1)
                    costs[workers].append(load.run(gateway.port, gateway.worker_pids(), seconds))
    for workers, seen in costs.items():
        spent = [each.microseconds for each in seen]
        result.rows.append([str(workers), middle(spent), max(spent), middle([each.rate for each in seen])])
    growth = (result.rows[1][1] / result.rows[0][1] - 1) * 100
    result.gates.append(Gate("CPU a request, 1 → 2 workers", growth, "% more", 10, 3))
    result.notes.append(
        f"{build(given.build).name} build, {len(CORES)} cores, workers not pinned, load and service on core"
        f" {CORES[-1]}:"
        " an upper bound, see the script."
    )
    finish(result)
