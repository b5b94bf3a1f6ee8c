"""P1: what a plain proxied GET costs under the full policy chain, beside nginx, HAProxy and Envoy that only proxy.

    python benchmarks/p1_proxy.py [--quick] [--runs N] [--seconds S]

tidegate finds the route among 200 and the key among 1,000, holds a GCRA limit, chooses one of two targets by latency
behind a circuit breaker over 100 calls, edits the hop-by-hop fields, adds trace context and request id, counts a
latency histogram and writes an access record. The others get no policy at all. All take turns, run by run (A B C D, A
B C D...), each alone on its core, 64 keep-alive connections. The measure is the CPU time of every process of the
proxy for one request, and its instructions where the machine counts them.
"""

from __future__ import annotations

import load
from gateway import Gateway, builds
from results import Gate, Result, arguments, begin, finish, middle
from rivals import Rival, installed
from upstream import Upstream


def measure(seconds: float, runs: int) -> dict[str, list[load.Load]]:
    """Runs by the proxy's name. One proxy lives at a time; each run begins with a warm-up that is not counted."""
    found: dict[str, list[load.Load]] = {}
    with Upstream():
        for _ in range(runs):
            proxies: list[Gateway | Rival] = [Gateway(build=each) for each in builds()]
            proxies += [Rival(each) for each in installed()]
            for proxy in proxies:
                with proxy:
                    load.run(proxy.port, proxy.pids(), min(2.0, seconds))
                    found.setdefault(proxy.name, []).append(load.run(proxy.port, proxy.pids(), seconds))
    return found


def report(result: Result, found: dict[str, list[load.Load]]) -> None:
    counted = any(sum(each.instructions) for runs in found.values() for each in runs)
    unit = "instructions" if counted else "CPU µs"
    result.columns = ["proxy, one process", "CPU µs", "worst", "user µs", "system µs", "answers/s"]
    result.columns += ["user instructions", "kernel instructions"] if counted else []
    cost: dict[str, float] = {}
    for name, runs in found.items():
        user, system = (middle([each.split[n] for each in runs]) for n in (0, 1))
        row = [name, middle([each.microseconds for each in runs]), max(each.microseconds for each in runs)]
        row += [user, system, middle([each.rate for each in runs])]
        row += [middle([each.instructions[n] for each in runs]) for n in (0, 1)] if counted else []
        result.rows.append(row)
        cost[name] = sum(row[6:8]) if counted else row[1]
    ours = next((cost[name] for name in cost if "compiled" in name), None)
    pure = next((cost[name] for name in cost if "interpreted" in name), None)
    for label, mine, gates in (("compiled", ours, True), ("interpreted", pure, False)):
        if mine is None:
            continue
        for rival, steps in (
            ("envoy", (0.5, None, None)),
            ("haproxy", (None, 1.0, None)),
            ("nginx", (None, None, 1.0)),
        ):
            if rival in cost:
                asked = steps if gates else (None, None, None)
                result.gates.append(Gate(f"{label}, {unit} ÷ {rival}'s", mine / cost[rival], "×", *asked))
    if ours is None:
        result.notes.append("No compiled build was there: the gates are its own, so none is judged.")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    result = begin("p1", "P1: a proxied GET, full policy chain beside bare proxies", given.quick)
    runs, seconds = (1, 2.0) if given.quick else (given.runs, given.seconds)
    report(result, measure(seconds, runs))
    result.notes.append(
        "The rivals only proxy; tidegate does the whole policy chain. 64 keep-alive connections, load and"
        " upstream on the"
        f" other core, {runs} runs of {seconds:.0f} s in turn, every answer checked."
    )
    finish(result)
