"""P4: what each event of a stream costs, untouched and translated.

    python benchmarks/p4_stream.py [--quick] [--runs N] [--seconds S]

The model sends each piece of text in a write of its own, so no event shares a read with the next. A stream of many
pieces less a stream of few, divided by the difference: what begins and ends a call is not in the figure.
"""

from __future__ import annotations

from gateway import builds
from load import Load
from model_load import chat_body, gateway, run
from model_upstream import ModelUpstream
from results import Gate, Result, arguments, begin, finish, middle

FEW, MANY = 10, 210


def measure(seconds: float, runs: int) -> dict[tuple[str, str, int], list[Load]]:
    """Runs by (build, what was run, pieces)."""
    found: dict[tuple[str, str, int], list[Load]] = {}
    for _ in range(runs):
        for build in builds():
            for chunks in (FEW, MANY):
                with ModelUpstream(chunks, 0.004), gateway(build) as ours:
                    for name, model in (("untouched", "fast"), ("translated", "translated")):
                        body = chat_body(True, model)
                        run(ours.port, ours.pids(), 2.0, body, connections=16)
                        one = run(ours.port, ours.pids(), seconds, body, connections=16)
                        found.setdefault((build.name, name, chunks), []).append(one)
    return found


def report(result: Result, found: dict[tuple[str, str, int], list[Load]]) -> None:
    result.columns = ["build", "stream", "CPU µs an event", f"CPU µs a call of {FEW}", f"CPU µs a call of {MANY}"]
    compiled = any(build == "compiled" for build, _, _ in found)
    for build, name in dict.fromkeys((build, name) for build, name, _ in found):
        few, many = (middle([each.microseconds for each in found[build, name, count]]) for count in (FEW, MANY))
        each = (many - few) / (MANY - FEW)
        result.rows.append([build, name, each, few, many])
        steps = (10.0, 4.0, 2.0) if name == "untouched" else (40.0, 15.0, 8.0)
        if build == "interpreted" and compiled:
            result.gates.append(Gate(f"an event {name}, {build}", each, "µs"))
        else:
            result.gates.append(Gate(f"an event {name}, {build}", each, "µs", *steps))


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    result = begin("p4", "P4: events of a stream", given.quick)
    runs, seconds = (1, 2.0) if given.quick else (given.runs, given.seconds)
    report(result, measure(seconds, runs))
    result.notes.append(f"32 streams at once, an event every 4 ms in each; {runs} runs of {seconds:.0f} s.")
    finish(result)
