"""P7: what a turn of a kept conversation costs the gateway, at turn 200, beside sending the whole history again.

    python benchmarks/p7_context.py [--quick] [--turns N]

One client goes on with one conversation over one kept connection: to turn 150 unmeasured, then to 250. The measure is
the CPU time of every process of the gateway for one turn, its call to the model and its books included; what the same
call costs without a context, with only the newest message, is shown beside it, and so is what the context adds.
"""

from __future__ import annotations

import http.client
import json
from typing import Any

from gateway import PORT, Build, Gateway, builds
from measure import usage
from model_load import config
from model_upstream import ModelUpstream
from results import Gate, Result, arguments, begin, finish

WORDS = "what does this mean for us, and what follows from it? " * 3
STORES: dict[str, dict[str, Any]] = {"memory": {"use": "memory"}, "SQLite": {"use": "sqlite"}}


def gateway(build: Build, store: str) -> Gateway:
    """tidegate that keeps conversations in *store*; "" for none."""
    made = config()
    if store:
        made["repository"] = STORES[store]
        made["routes"][-1]["llm"] = {"contexts": {}}
    return Gateway(made, build, probe=("/ready", "none-is-asked"))


class Client:
    """One kept connection; ``sent`` bytes of bodies."""

    def __init__(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", PORT)
        self.sent = 0

    def call(self, body: dict[str, Any]) -> dict[str, Any]:
        """One call to the model. ``SystemExit`` unless it is answered with 200."""
        raw = json.dumps(body, separators=(",", ":")).encode()
        self.sent += len(raw)
        fields = {"content-type": "application/json", "authorization": "Bearer bench-key-0000000"}
        self.connection.request("POST", "/v1/chat/completions", raw, fields)
        answer = self.connection.getresponse()
        told = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{answer.status}: {told[:500]!r}")
        found: dict[str, Any] = json.loads(told)
        return found


def said(turn: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Question {turn}: {WORDS}"}]


def measure(build: Build, way: str, first: int, last: int) -> tuple[float, float]:
    """CPU µs and bytes of bodies a turn, from turn *first* to *last*. *way*: a store, "newest" or "resent"."""
    with gateway(build, way if way in STORES else "") as ours:
        client = Client()
        context = ""
        history: list[dict[str, str]] = []
        before, sent = usage(ours.pids()), 0
        for turn in range(last):
            if turn == first:
                before, sent = usage(ours.pids()), client.sent
            body: dict[str, Any] = {"model": "fast", "messages": said(turn), "max_tokens": 256}
            if way in STORES:
                body |= {"context_id": context} if context else {"store": True}
            elif way == "resent":
                history += body["messages"]
                body["messages"] = history
            answer = client.call(body)
            if way in STORES:
                context = answer["context"]["id"]
            history.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})
        cost = usage(ours.pids()) - before
        turns = last - first
        return cost.total / turns * 1e6, (client.sent - sent) / turns


def report(result: Result, first: int, last: int) -> None:
    result.columns = ["way, build", "CPU µs a turn", "bytes a turn"]
    with ModelUpstream():
        for build in builds():
            found = {way: measure(build, way, first, last) for way in ("newest", "resent", *STORES)}
            names = {"newest": "one message, nothing kept", "resent": "whole history sent again"}
            for way, (cost, size) in found.items():
                result.rows.append([f"{names.get(way, f'delta, kept in {way}')}, {build.name}", cost, size])
            judged = build.name == "compiled" or len(builds()) == 1
            for way in STORES:
                steps = (200.0, 100.0, 50.0) if judged else (None, None, None)
                added = found[way][0] - found["newest"][0]
                result.gates.append(Gate(f"{build.name}: what a delta turn adds, {way}", added, "µs", *steps))


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--turns", type=int, default=200)
    given = parser.parse_args()
    result = begin("p7", "P7: a turn of a kept conversation", given.quick)
    middle = 40 if given.quick else given.turns
    report(result, middle * 3 // 4, middle * 5 // 4)
    result.notes.append(
        f"One client, turns {middle * 3 // 4} to {middle * 5 // 4} of one conversation, one worker. A model call of one"
        " message is what every way pays; a delta turn adds reading, rendering, two writes to the store and receipts."
    )
    finish(result)
