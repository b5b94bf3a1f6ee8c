"""P2 and P3: what a chat completion costs, passed and translated, beside LiteLLM and Portkey.

    python benchmarks/p2_chat.py [--quick] [--runs N] [--seconds S]

tidegate finds one of 1,000 virtual keys, takes the worst case from the key's budget, writes what the call may cost into
its ledger, calls the model, reads the usage, settles, and writes what it did cost, before the answer leaves. The others
check one master key and keep no books. P3 is the same call with an Anthropic-shaped model behind it: both bodies are
translated. All take turns, each alone on its core.
"""

from __future__ import annotations

from gateway import builds
from load import Failed, Load
from model_load import chat_body, gateway, run
from model_rivals import ModelRival, installed
from model_upstream import ModelUpstream
from results import Gate, Result, arguments, begin, finish, middle


def measure(seconds: float, runs: int) -> dict[str, list[Load]]:
    """Runs by what was run."""
    found: dict[str, list[Load]] = {}
    passed, translated = chat_body(False), chat_body(False, "translated")
    with ModelUpstream():
        for _ in range(runs):
            for build in builds():
                with gateway(build) as ours:
                    for name, body in (("passed", passed), ("translated", translated)):
                        key = f"tidegate {build.name}, {name}"
                        try:
                            run(ours.port, ours.pids(), min(2.0, seconds), body, connections=16)
                            found.setdefault(key, []).append(run(ours.port, ours.pids(), seconds, body, connections=16))
                        except Failed as failed:
                            raise Failed(f"{key}: {failed}: {ours.refused()}") from None
            for name in installed():
                with ModelRival(name) as rival:
                    run(rival.port, rival.pids(), min(3.0, seconds), passed, rival.fields, 16)
                    found.setdefault(name, []).append(run(rival.port, rival.pids(), seconds, passed, rival.fields, 16))
    return found


def report(result: Result, found: dict[str, list[Load]]) -> None:
    result.columns = ["gateway, one process", "CPU µs a call", "worst", "user µs", "system µs", "calls/s"]
    cost: dict[str, float] = {}
    for name, runs in found.items():
        user, system = (middle([each.split[n] for each in runs]) for n in (0, 1))
        cost[name] = middle([each.microseconds for each in runs])
        worst = max(each.microseconds for each in runs)
        result.rows.append([name, cost[name], worst, user, system, middle([each.rate for each in runs])])
    for build in ("compiled", "interpreted"):
        passed, translated = cost.get(f"tidegate {build}, passed"), cost.get(f"tidegate {build}, translated")
        if passed is None or translated is None:
            continue
        judged = build == "compiled" or not any("compiled" in name for name in cost)
        for rival, first, goal in (("litellm", 1 / 100, 1 / 200), ("portkey", 1 / 10, 1 / 20)):
            if rival in cost:
                gates = (first, goal) if judged else (None, None)
                result.gates.append(Gate(f"P2 {build} ÷ {rival}", passed / cost[rival], "×", *gates))
        steps = (2.0, 1.5, 1.2) if judged else (None, None, None)
        result.gates.append(Gate(f"P3 {build}: translated ÷ passed", translated / passed, "×", *steps))


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    result = begin("p2", "P2 and P3: a chat completion, passed and translated", given.quick)
    runs, seconds = (1, 2.0) if given.quick else (given.runs, given.seconds)
    report(result, measure(seconds, runs))
    missing = [name for name in ("litellm", "portkey") if name not in installed()]
    if missing:
        result.notes.append(f"Not installed here, so not compared: {', '.join(missing)}.")
    result.notes.append(
        "A call of about 2 KB, an answer of about 700 bytes; 16 kept connections for each: 64 of them make"
        " turns of over 50 ms where a call costs 0.8 ms, which is overload (S22.9);"
        f" {runs} runs of {seconds:.0f} s in turn, every answer checked."
    )
    finish(result)
