"""P11: five times the peak offered: what still gets through, and how late.

    python benchmarks/p11_overload.py [--quick] [--runs N] [--seconds S]

Nothing on this machine can offer five times what a bare proxied GET takes on a core: the generator has one core too,
and shares it with the service. So two overloads that can be offered are measured, one for each thing that runs out:

- *the service*: it takes 20 ms an answer and the bulkhead lets 20 calls in, so 1,000/s is its peak; the rest may
  wait for 10 ms, then it is refused;
- *the gateway's own core*: each answer of 64 KiB is compressed, which takes about a millisecond of the gateway's core.

The peak is what an open loop at rising rates gets through with every answer good. *Served* are the 2xx answers of the
overload, latencies from the intended moment, refusals are 503 and 429 answers; anything else is a failure and shown.
"""

from __future__ import annotations

from typing import Any

from gateway import Gateway, build, key, path, policy
from open_loop import Seen, drive, get
from results import Gate, Result, arguments, begin, finish, middle
from upstream import Upstream

CONNECTIONS = 400
PATIENT = 250.0
"""Milliseconds: beyond this p99 a rate is over the peak."""


def service_bound() -> tuple[dict[str, Any], Upstream, float]:
    config = policy()
    config["upstreams"][0]["bulkhead"] = {"max_in_flight": 20, "max_waiting": 20, "max_wait": "10ms", "adaptive": False}
    return config, Upstream(delay=0.020), 1000.0


def core_bound() -> tuple[dict[str, Any], Upstream, float]:
    config = policy()
    for route in config["routes"]:
        route["filters"] = [*route["filters"], {"use": "compress"}]
    return config, Upstream(size=64 * 1024), 2000.0


def peak(port: int, wanted: list[bytes], most: float, seconds: float) -> Seen:
    """The highest rate up to *most*, within 3 %, at which every request is served and 99 % within ``PATIENT``."""
    low, high = 0.0, most
    best: Seen | None = None
    for _ in range(6):
        rate = (low + high) / 2 if best is not None or high < most else most * 0.6
        seen = drive(port, wanted, rate, seconds, CONNECTIONS)
        if seen.failures() or seen.percentile(99) > PATIENT:
            high = rate
        else:
            low, best = rate, seen
    if best is None:
        raise SystemExit(f"a peak was not found: {seen.counts} at {rate:.0f}/s, p99 {seen.percentile(99):.0f} ms")
    return best


def measure(result: Result, name: str, case: Any, given: Any, runs: int, seconds: float) -> None:
    config, upstream, most = case()
    wanted = [
        get(f"{path(n % 200)}/items", key(n % 1000)).replace(b"accept:", b"accept-encoding: gzip\r\naccept:")
        for n in range(1000)
    ]
    shares, stretches = [], []
    with upstream, Gateway(config, build(given.build)) as gateway:
        for _ in range(runs):
            top = peak(gateway.port, wanted, most, seconds / 2)
            over = drive(gateway.port, wanted, top.rate * 5, seconds, CONNECTIONS)
            shares.append(over.goodput / top.goodput * 100)
            stretches.append(over.percentile(99) / top.percentile(99))
            for label, seen in (("peak", top), ("5 × peak", over)):
                failed = ", ".join(f"{what}: {count:,}" for what, count in seen.failures().items()) or "none"
                row = [f"{name}, {label}", round(seen.rate), round(seen.goodput), seen.percentile(50)]
                result.rows.append([*row, seen.percentile(99), failed])
    result.gates += [
        Gate(f"{name}: goodput in % of the peak's", middle(shares), "%", 80, 90, 97, at_least=True),
        Gate(f"{name}: p99 of the served ÷ p99 at the peak", middle(stretches), "×", None, 2, 1.3),
    ]


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    runs, seconds = (1, 2.0) if given.quick else (given.runs, given.seconds)
    result = begin("p11", "P11: five times the peak", given.quick)
    result.columns = ["overload", "offered/s", "served/s", "p50 ms", "p99 ms", "not served"]
    measure(result, "service full", service_bound, given, runs, seconds)
    measure(result, "gateway's core full", core_bound, given, runs, seconds)
    result.notes.append(
        f"{build(given.build).name} build; {runs} runs of {seconds:.0f} s, {CONNECTIONS} connections at most."
    )
    result.notes.append("A bare proxied GET cannot be offered at five times its peak from the one core that is left.")
    finish(result)
