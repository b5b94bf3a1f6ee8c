"""What keeping conversations saves, and what it does not: prefixes, cost, bytes, CPU (CRP 12; #43, #47, #61, P7).

    nice -n 10 python benchmarks/contexts/compare.py

Baselines and negative controls are printed beside every figure; a negative control that looks good voids the run, and
the exit code says so. The dialogues are made up (``dialogues``), so absolute figures are not those of CRP 12.5, which
stand on public data; ratios and laws are what is judged here.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any, NamedTuple

from msgspec.structs import replace

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from caching import PromptCache, cost
from dialogues import Turn, dialogue, prose, settings
from keeping import DIALECTS, Kept

from tidegate.exchange.chat import ChatRequest, Message, Text, Tool
from tidegate.exchange.context_policy import ContextPolicy, Keep, Recall, TokenBudget
from tidegate.ports.dialect import Voice
from tidegate.rules.context_render import render

RESULT = Path(__file__).resolve().parent.parent / "results" / "contexts.json"
SEEDS = range(1, 13)
TURNS = 14
PACE = 20.0
"""Seconds from one call to the next."""
PLAIN = ContextPolicy("plain", recall=Recall(share=0.0))
GOOD_HIT = 0.6
"""A negative control with such a hit rate looks good."""


class Run(NamedTuple):
    """Of one way over all dialogues: tokens sent and cached, units of cost; the lowest cached / prefix of a call."""

    tokens: int
    cached: int
    units: float
    worst: float

    @property
    def hit(self) -> float:
        return self.cached / self.tokens


Way = Callable[[int, ChatRequest, list[Turn]], Run]


def kept(dialect: str, facts: bool = False, policy: ContextPolicy = PLAIN, window: int = 0, sums: bool = False) -> Way:
    """As the gateway does it."""

    def run(seed: int, asked: ChatRequest, turns: list[Turn]) -> Run:
        conversation = Kept(asked, dialect, policy, window)
        conversation.summarise = sums
        cache = PromptCache()
        tokens = cached = 0
        units = 0.0
        worst = 1.0
        before = 0
        for number, turn in enumerate(turns):
            if facts:
                conversation.put("state.of.things", b'"%d"' % number)
            epochs = len(conversation.epochs)
            sent, hit = cache.ask(conversation.ask(turn.brings), number * PACE)
            conversation.answer(turn.answers)
            tokens, cached, units = tokens + sent, cached + hit, units + cost(sent, hit)
            if number and len(conversation.epochs) == epochs and before // 128 * 128 >= 1024:
                worst = min(worst, hit / (before // 128 * 128))
            before = conversation.stable
        return Run(tokens, cached, units, worst)

    return run


def resent(change: Callable[[int, ChatRequest, list[Message]], ChatRequest], hops: int = 1) -> Way:
    """As a client does it that sends everything, changed by *change*; *hops* providers in turn."""

    def run(seed: int, asked: ChatRequest, turns: list[Turn]) -> Run:
        caches = [PromptCache() for _ in range(hops)]
        history: list[Message] = []
        tokens = cached = 0
        units = 0.0
        for number, turn in enumerate(turns):
            history += turn.brings
            body = write(change(number, asked, history))
            sent, hit = caches[number % hops].ask(body, number * PACE)
            tokens, cached, units = tokens + sent, cached + hit, units + cost(sent, hit)
            history.append(Message("assistant", turn.answers))
        return Run(tokens, cached, units, 0.0)

    return run


def write(request: ChatRequest) -> bytes:
    return DIALECTS["openai_chat"].write_request(request, Voice(vendor="openai", model="m")).body


def whole(number: int, asked: ChatRequest, history: list[Message]) -> ChatRequest:
    return replace(asked, messages=(*asked.messages, *history))


def windowed(limit: int) -> Callable[[int, ChatRequest, list[Message]], ChatRequest]:
    """The newest turns that fit *limit* tokens, moved on with each message."""

    def change(number: int, asked: ChatRequest, history: list[Message]) -> ChatRequest:
        first = len(history)
        size = 0
        while first > 0:
            size += len(write(replace(asked, messages=(history[first - 1],), tools=()))) // 4
            if size > limit:
                break
            first -= 1
        while first < len(history) - 1 and history[first].role != "user":
            first += 1
        return replace(asked, messages=(*asked.messages, *history[first:]))

    return change


def shuffled(number: int, asked: ChatRequest, history: list[Message]) -> ChatRequest:
    random = Random(number)
    tools = []
    for tool in asked.tools:
        told = json.loads(tool.schema)
        names = list(told["properties"])
        random.shuffle(names)
        told["properties"] = {name: told["properties"][name] for name in names}
        tools.append(replace(tool, schema=json.dumps(told).encode()))
    return replace(asked, messages=(*asked.messages, *history), tools=tuple(tools))


def stamped(number: int, asked: ChatRequest, history: list[Message]) -> ChatRequest:
    lead = Message("system", (Text(text=f"Now: {number * PACE}. "), *asked.messages[0].parts))
    return replace(asked, messages=(lead, *history), tools=())


def rewritten(number: int, asked: ChatRequest, history: list[Message]) -> ChatRequest:
    facts = Message("system", (Text(text=f"Facts: turn {number}. " + prose(Random(number), 300)),))
    return replace(asked, messages=(facts, *asked.messages, *history), tools=())


def over(way: Way, dialogues: Sequence[tuple[int, ChatRequest, list[Turn]]]) -> Run:
    runs = [way(*each) for each in dialogues]
    return Run(sum(run.tokens for run in runs), sum(run.cached for run in runs), sum(run.units for run in runs),
               min(run.worst for run in runs))  # fmt: skip


# -- bytes -------------------------------------------------------------------------------------------------------------


def sizes(dialogues: Sequence[tuple[int, ChatRequest, list[Turn]]]) -> dict[str, float]:
    """Mean bytes of a call's body from the client, by way of sending it."""
    found: dict[str, list[int]] = {}
    for _, asked, turns in dialogues:
        history: list[Message] = []
        last = b""
        for number, turn in enumerate(turns):
            history += turn.brings
            body = write(whole(number, asked, history))
            new = json.loads(write(replace(asked, messages=turn.brings, tools=())))["messages"]
            told: dict[str, Any] = {"context_id": "ctx_" + "0" * 26, "parent": "cv_" + "0" * 26,
                                    "delta_updates": [{"op": "append", "items": new}]}  # fmt: skip
            delta = body if number == 0 else json.dumps(told, separators=(",", ":")).encode()
            again = write(replace(asked, messages=(*asked.messages, *turn.brings)))
            rival = zstd.compress(body, level=3, zstd_dict=zstd.ZstdDict(last, is_raw=True).as_prefix) if last else b""
            for name, size in (
                ("full resend", len(body)),
                ("full + gzip-6", len(gzip.compress(body, 6))),
                ("full + zstd-3", len(zstd.compress(body, level=3))),
                ("full against the previous body", len(rival or zstd.compress(body, level=3))),
                ("delta, tools and instructions sent anew", len(again)),
                ("delta", len(delta)),
                ("delta from the 2nd turn on", len(delta) if number else -1),
                ("delta + zstd-3", len(zstd.compress(delta, level=3))),
            ):
                if size >= 0:
                    found.setdefault(name, []).append(size)
            last = body
            history.append(Message("assistant", turn.answers))
    return {name: mean(each) for name, each in found.items()}


# -- CPU ---------------------------------------------------------------------------------------------------------------


def speed(dialect: str, turns: int = 200, tries: int = 300) -> tuple[float, float, float]:
    """Microseconds to render the prompt of turn *turns* as bytes: (p50, p99); and written whole, once."""
    conversation = Kept(settings(1), dialect, PLAIN)
    for turn in dialogue(1, turns):
        conversation.ask(turn.brings)
        conversation.answer(turn.answers)
    conversation.prepare([Message("user", (Text(text="And now?"),))])
    conversation.render()
    took = []
    for _ in range(tries):
        began = time.perf_counter()
        conversation.render()
        took.append(time.perf_counter() - began)
    took.sort()
    began = time.perf_counter()
    conversation.write(render(conversation._given, conversation.target).request)
    return took[tries // 2] * 1e6, took[tries * 99 // 100] * 1e6, (time.perf_counter() - began) * 1e6


def main() -> int:
    dialogues = [(seed, settings(seed), dialogue(seed, TURNS)) for seed in SEEDS]
    void: list[str] = []
    result: dict[str, Any] = {"dialogues": len(dialogues), "turns": TURNS, "seeds": [SEEDS[0], SEEDS[-1]]}

    print(
        f"{len(dialogues)} dialogues of {TURNS} turns. Prefix: hit rate, cost against no cache, worst cached / prefix"
    )
    rows: dict[str, Any] = {}
    for dialect in DIALECTS:
        for facts in (False, True):
            run = over(kept(dialect, facts), dialogues)
            name = f"kept, {dialect}" + (", a fact changed each turn" if facts else "")
            rows[name] = show_row(name, run)
            if not facts and run.worst < 0.98:
                void.append(f"{name}: cached / prefix is {run.worst:.3f}, below 0.98 (#43)")
    rows["full resend"] = show_row("full resend", over(resent(whole), dialogues))
    print("negative controls")
    for name, way in (
        ("sliding window of 800 tokens", resent(windowed(800))),
        ("keys in another order each turn", resent(shuffled)),
        ("the time in the system text", resent(stamped)),
        ("another provider each turn", resent(whole, TURNS)),
        ("facts rewritten in place", resent(rewritten)),
    ):
        chosen = [(seed, replace(asked, tools=()), turns) for seed, asked, turns in dialogues]
        if "keys" in name:
            chosen = dialogues
        if "window" in name:  # where there is more history than settings
            bare = replace(settings(1), messages=(), tools=(Tool("t"),))
            chosen = [(seed, bare, dialogue(seed, 60)) for seed in SEEDS]
        run = over(way, chosen)
        rows[name] = show_row(name, run)
        if run.hit > GOOD_HIT:
            void.append(f"negative control looks good: {name} hits {run.hit:.2f}")
    result["prefix"] = rows

    print("long dialogues (150 turns, 8,000 tokens): cost against never truncating, hit rate")
    bare = replace(settings(1), messages=(), tools=())
    long = [(seed, bare, dialogue(seed, 150)) for seed in range(1, 5)]
    never = over(kept("openai_chat"), long)
    stepped = ContextPolicy("s", budget=TokenBudget(0, 0, 0.8, 0.5), keep=Keep(1, 3), recall=Recall(share=0.0))
    rows = {}
    for name, way in (
        ("never truncating", kept("openai_chat")),
        ("sliding window", resent(windowed(8000))),
        ("steps to 50 %", kept("openai_chat", policy=stepped, window=8000)),
        ("summaries", kept("openai_chat", policy=stepped, window=8000, sums=True)),
    ):
        run = over(way, long)
        rows[name] = {"cost": round(run.units / never.units, 3), "hit": round(run.hit, 3)}
        print(f"  {name:<44}{run.units / never.units:8.2f}{run.hit:8.1%}")
    if rows["sliding window"]["cost"] < rows["steps to 50 %"]["cost"]:
        void.append("a sliding window is cheaper than steps")
    result["long"] = rows

    print("bytes of a body from the client, mean of all calls")
    told = sizes(dialogues)
    for name, size in told.items():
        print(f"  {name:<44}{size:10,.0f}{size / told['full resend']:8.1%}")
    result["bytes"] = {name: round(size) for name, size in told.items()}

    print("P7: the prompt of turn 200 as bytes, microseconds: p50, p99; written whole")
    result["p7"] = {}
    for dialect in DIALECTS:
        p50, p99, once = speed(dialect)
        result["p7"][dialect] = {"p50": round(p50), "p99": round(p99), "whole": round(once)}
        print(f"  {dialect:<44}{p50:8.0f}{p99:8.0f}{once:8.0f}")
        if p50 > 200:
            void.append(f"P7: {dialect} takes {p50:.0f} us")

    result["void"] = void
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    for reason in void:
        print("VOID:", reason)
    return 1 if void else 0


def show_row(name: str, run: Run) -> dict[str, float]:
    against = run.units / run.tokens
    worst = f"{run.worst:8.3f}" if run.worst else ""
    print(f"  {name:<52}{run.hit:8.1%}{against:8.2f}{worst}")
    return {"hit": round(run.hit, 4), "cost": round(against, 4), "worst": round(run.worst, 4)}


if __name__ == "__main__":
    sys.exit(main())
