"""P10: what the gateway adds to the latency at half its peak: an open loop against the gateway and, at the same rate,
against the service behind it.

    python benchmarks/p10_latency.py [--quick] [--runs N] [--seconds S]

The peak is found first, with wrk, in the same run. The generator shares its core with the service, so its own delays
are in both figures; what is reported is the difference of the percentiles.
"""

from __future__ import annotations

import load
from gateway import Gateway, build, key, path
from open_loop import drive, get
from results import Gate, arguments, begin, finish, middle
from upstream import PORTS, Upstream

RATE_AT_MOST = 12_000.0
"""Requests a second that the generator keeps up beside the service on one core without being late itself."""

if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    given = parser.parse_args()
    result = begin("p10", "P10: latency added at half the peak", given.quick)
    runs, seconds = (1, 2.0) if given.quick else (given.runs, given.seconds)
    wanted = [get(f"{path(n % 200)}/items", key(n % 1000)) for n in range(1000)]
    added: dict[float, list[float]] = {50.0: [], 95.0: [], 99.0: []}
    result.columns = ["run", "rate/s", "through, p50 ms", "p95", "p99", "direct, p50 ms", "p95", "p99"]
    with Upstream(), Gateway(build=build(given.build)) as gateway:
        load.run(gateway.port, gateway.pids(), 1)
        peak = load.run(gateway.port, gateway.pids(), min(4.0, seconds)).rate
        rate = min(peak / 2, RATE_AT_MOST)
        for number in range(runs):
            direct = drive(PORTS[0], wanted, rate, seconds)
            through = drive(gateway.port, wanted, rate, seconds)
            for seen in (direct, through):
                if seen.failures():
                    raise SystemExit(f"not a result: {seen.failures()}")
            both = [[seen.percentile(share) for share in added] for seen in (through, direct)]
            result.rows.append([str(number + 1), round(rate), *both[0], *both[1]])
            for share, mine, theirs in zip(added, *both, strict=True):
                added[share].append(mine - theirs)
    result.gates = [
        Gate("added, p95", middle(added[95.0]), "ms", 5, 2, 1),
        Gate("added, p99", middle(added[99.0]), "ms", 10, 5, 2),
    ]
    result.notes.append(
        f"{gateway.name}; peak {peak:,.0f}/s; offered {rate:,.0f}/s"
        + (" (all that the generator can do here; half the peak is more)" if rate < peak / 2 else "")
        + f"; {runs} runs of {seconds:.0f} s; median of the differences."
    )
    finish(result)
