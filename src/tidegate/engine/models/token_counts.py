"""Our own counts of a call's input, and what bills teach about them (LLM 11).

Counting is done aside, while the loop goes on, and what is counted of one call is bounded in characters and in time. A
model whose tokenizer nobody knows is counted by the usual one, corrected by what its provider was seen to bill.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.choosing import CHAT_KINDS, Candidate
from tidegate.engine.models.standing import ModelStates
from tidegate.engine.runtime import Runtime
from tidegate.engine.steps import Wait
from tidegate.exchange.chat import ChatRequest
from tidegate.exchange.fault import Fault
from tidegate.exchange.ledger import LedgerRecord
from tidegate.ports.tokens import Tokens
from tidegate.rules.call_bounds import reads_unseen
from tidegate.rules.plain_talk import plain_needs
from tidegate.rules.token_count import PER_REQUEST, PER_TURN, count_texts, texts_of

WAITING: Final = 16
"""Calls that may wait for the thread: more would wait longer than their clients do."""

SAMPLED: Final = 32 * 1024
"""Bytes of a call that is counted only to learn from it."""

EACH: Final = 64
"""Of so many calls of a model one is counted to learn from it, where this worker counts at all."""


class Counts:
    """What was counted of one call: ``tokens`` by tokenizer, as they are; ``whole``: nothing of it is a bound."""

    __slots__ = ("tokens", "whole")

    def __init__(self) -> None:
        self.tokens: dict[str, int] = {}
        self.whole = True

    def of(self, candidate: Candidate, states: ModelStates) -> int:
        """Tokens as *candidate* will bill them, as far as is known."""
        name = candidate.catalogue.tokenizer
        return corrected(states, candidate.key, name, self.tokens[name])


def corrected(states: ModelStates, key: str, tokenizer: str, tokens: int) -> int:
    """*tokens* as the target *key* bills them; a tokenizer that is known is right."""
    factor = None if tokenizer else states.factors.get(key)
    return tokens if factor is None else factor.of(tokens)


async def counted_call(call: ModelCall, candidates: list[Candidate]) -> Counts | None:
    """The input of *call* for the tokenizers of *candidates*; text beyond what is counted as a token a byte. None when
    counting failed. Raises ``invalid_request`` and, when too many wait for the thread, ``overloaded``."""
    fixed, texts = countable(call)
    counts = Counts()
    for name in {candidate.catalogue.tokenizer for candidate in candidates}:
        found = await counted_texts(call.runtime, texts, name)
        if found is None:
            return None
        counts.tokens[name] = fixed + found[0]
        counts.whole = counts.whole and found[1]
    call.runtime.models.counting = True
    return counts


def countable(call: ModelCall) -> tuple[int, list[str]]:
    """(tokens of all that is no text, the texts). The strings of plain talk are at hand: its body is not read again."""
    if call.dialect.name == "openai_chat" and not call.composed and plain_needs(call.members) is not None:
        turns = call.members["messages"]
        return PER_REQUEST + PER_TURN * len(turns), [turn["content"] for turn in turns]
    return texts_of(call.whole_request())


async def counted_request(runtime: Runtime, request: ChatRequest, tokenizer: str) -> int | None:
    """Tokens of *request*; text beyond what is counted as dense as the rest. None when counting failed."""
    fixed, texts = texts_of(request)
    found = await counted_texts(runtime, texts, tokenizer, dense=True)
    return None if found is None else fixed + found[0]


async def counted_texts(
    runtime: Runtime, texts: list[str], tokenizer: str, dense: bool = False
) -> tuple[int, bool] | None:
    """(tokens of *texts*, whether all of them were counted)."""
    tokens: Tokens = runtime.tools.tokens
    work = partial(_work, tokens, tokenizer, texts, runtime.clock, dense)
    wait = Wait(runtime.steps)
    if not runtime.tools.aside(work, wait.complete, "counting", WAITING):
        raise Fault("overloaded", "Too many calls wait to be counted.", reason="queue_full", retry_after=1.0)
    found: tuple[int, bool] | None = await wait
    return found


def _work(
    tokens: Tokens, tokenizer: str, texts: list[str], clock: Callable[[], float], dense: bool
) -> tuple[int, bool]:  # fmt: skip
    tokens.count("", tokenizer)  # the first time takes what is not the call's
    return count_texts(texts, partial(_count, tokens, tokenizer), clock, dense)


def _count(tokens: Tokens, tokenizer: str, text: str) -> int:
    return tokens.count(text, tokenizer)


# -- what bills teach --------------------------------------------------------------------------------------------------


def learn(call: ModelCall, candidate: Candidate, counts: Counts | None, record: LedgerRecord) -> None:
    """The call is billed: what its provider says it read is compared with our count. Never waits, never raises. Where
    nothing was counted, one call of many is, on the thread."""
    usage = record.usage
    if candidate.catalogue.tokenizer or usage is None or record.flags or call.surface.kind not in CHAT_KINDS:
        return
    states = call.runtime.models
    if counts is None and (candidate.figures.calls % EACH or len(call.body) > SAMPLED):
        return
    try:
        if not teaches(call):
            return
        fixed, texts = countable(call) if counts is None else (0, [])
    except Fault:
        return
    if counts is not None:
        if counts.whole:
            states.factor(candidate.key).learn(counts.tokens.get("", 0), usage.input)
        return
    factor = states.factor(candidate.key)
    billed = usage.input

    def done(found: Any) -> None:
        if found is not None and found[1]:
            factor.learn(fixed + found[0], billed)

    runtime = call.runtime
    work = partial(_work, runtime.tools.tokens, "", texts, runtime.clock, False)
    runtime.tools.aside(work, done, "counting", WAITING)


def teaches(call: ModelCall) -> bool:
    """Is its input all there, and all text? Pictures are billed by rule, and what a provider keeps is not seen here."""
    return call.needs.media == 0 and not reads_unseen(call.members)
