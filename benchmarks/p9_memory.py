"""P9: memory of an idle plain connection: the worker's resident memory before and after 5,000 clients that have had one
answer and stay.

    python benchmarks/p9_memory.py [--quick]

Kernel memory of the sockets is not in it: it is the same for every program. The transport of uvloop alone is 1.4 KB.
"""

from __future__ import annotations

import time

from gateway import Gateway, build, policy
from measure import resident
from p8_growth import Crowd
from results import Gate, arguments, begin, finish, middle
from upstream import Upstream

if __name__ == "__main__":
    parser = arguments(__doc__)
    given = parser.parse_args()
    count, runs = (1000, 1) if given.quick else (5000, 3)
    result = begin("p9", "P9: memory of an idle plain connection", given.quick)
    result.columns = ["run", "worker before, MiB", "with the crowd, MiB", "KiB a connection"]
    with Upstream():
        for number in range(runs):
            with Gateway(policy(), build(given.build)) as gateway:
                workers = gateway.worker_pids()
                with Crowd(500):
                    # What the first few hundred need once is no cost of a connection.
                    time.sleep(0.5)
                time.sleep(0.5)
                before = resident(workers)
                with Crowd(count):
                    time.sleep(1.5)
                    after = resident(workers)
                each = (after - before) / count / 1024
                result.rows.append([str(number + 1), before / (1 << 20), after / (1 << 20), each])
    result.gates.append(Gate("resident memory", middle([row[3] for row in result.rows]), "KiB", 8, 4, 2))
    result.notes.append(f"{build(given.build).name} build; {count:,} connections, one worker, PSS from the kernel.")
    finish(result)
