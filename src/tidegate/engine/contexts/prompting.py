"""What a target is asked on a kept conversation, and what is to be said of that (CRP 7, 8).

The rules decide; here they get what they need: the prefix of the epoch out of the log, the window of the target, the
hour. A prefix once folded is kept beside its context and grows with it.
"""

from __future__ import annotations

from dataclasses import replace as dataclass_replace
from typing import Any, Final

import xxhash
from msgspec.structs import replace

from tidegate.engine.contexts.repository import Held
from tidegate.engine.models.choosing import Candidate
from tidegate.exchange.chat import ChatRequest, Extra, Message, State, Tool, Usage
from tidegate.exchange.context import Added, Budget, CacheReport, Change, Elided, Item, View
from tidegate.exchange.context_policy import ContextPolicy, TokenBudget
from tidegate.ports.dialect import Outgoing
from tidegate.rules.bm25 import recall
from tidegate.rules.context_cache import LIFE, LIVES, MINIMUM, SMALLEST, Warm, cache_key, report, wants_marks
from tidegate.rules.context_epoch import TOLD, Frozen, begin, begun_in
from tidegate.rules.context_render import SCALE, Ask, Rendered, Target, quarter_of, render, show
from tidegate.rules.context_segments import body_of, may_splice
from tidegate.rules.context_settings import system_of
from tidegate.rules.item_messages import quarter
from tidegate.rules.token_count import count_part
from tidegate.wire.chat_parts import spelled, spelling
from tidegate.wire.json_object import encode, strings
from tidegate.wire.response_items import RESPONSES

PREFIXES: Final = 8
"""Versions of one context whose prefix is kept."""
TELLING: Final = 1000
"""Tokens from which on a bill says something about our estimates."""
SEALED: Final = "reasoning.encrypted_content"
"""What a response is asked to include where nothing is stored."""
MOST: Final = 2.0
"""By what an estimate is corrected at most, either way."""


def frozen_at(held: Held, version: str) -> Frozen | None:
    """The prefix that *version* ended with; None where no epoch has begun yet. Folded from the nearest version that
    is known, else from the one its epoch began with."""
    history = held.history
    view: View = history.view(version)
    if not version or not view.epoch:
        return None
    kept: dict[tuple[str, int], Frozen] = held.prefixes
    gen = held.meta.gen
    steps: list[str] = []
    step = version
    frozen: Frozen | None = None
    while frozen is None:
        frozen = kept.get((step, gen))
        if frozen is not None:
            break
        if step == view.epoch:
            frozen = _first(history.view(step), [change for entry in history.entries(step) for change in entry.changes])
            if frozen is None:
                return None
            break
        steps.append(step)
        parents = history.versions[step].parents
        if not parents:
            return None
        step = parents[0]
    for step in reversed(steps):
        frozen = frozen.after([change for entry in history.entries(step) for change in entry.changes], _tell)
    kept[(version, gen)] = frozen
    if len(kept) > PREFIXES:
        del kept[next(iter(kept))]
    return frozen


def _first(view: View, changes: list[Change]) -> Frozen | None:
    begun = begun_in(changes)
    if begun is None:
        return None
    told = [
        shown for item in view.items
        if item.type in TOLD and (shown := show(item, begun.elided.get(item.id))) is not None
    ]  # fmt: skip
    return begin(view, begun, told)


def _tell(item: Item) -> Item | None:
    return show(item, None)


class Prompting:
    """The prompts of one turn, one for each target that is tried. Mutable: ``first``, the target that was chosen, for
    whom an epoch may begin; ``rendered``, the last prompt, and ``target`` who got it.

    turn    has call, held, base, before, view, version, request, wishes
    """

    def __init__(self, turn: Any, policy: ContextPolicy) -> None:
        self.turn: Any = turn
        self.policy: ContextPolicy = policy
        self.first: str = ""
        self.rendered: Rendered | None = None
        self.target: Target = Target("", "")
        self.warm: Warm | None = None
        self._asks: Ask | None = None

    # -- before the call -----------------------------------------------------------------------------------------------

    def request(self, candidate: Candidate) -> ChatRequest:
        """What *candidate* is asked, whole. Raises 413 ``context_overflow``."""
        return self._render(candidate, True).request

    def outgoing(self, candidate: Candidate) -> Outgoing | None:
        """The same as *candidate*'s dialect writes it, the history as it was written before; None where it must be
        written from ``request``."""
        dialect, voice = candidate.door.dialect, candidate.voice
        if dialect is None:
            return None
        rendered = self._render(candidate, False)
        if not may_splice(rendered, dialect.name):
            return None
        last: list[Outgoing] = []

        def write(request: ChatRequest) -> bytes:
            last.append(dialect.write_request(request, voice))
            return last[-1].body

        request = rendered.request
        spoken = encode((rendered.frozen.begun.tools, voice, request.fields, request.extra is not None))
        key = f"{dialect.name} {xxhash.xxh3_128_hexdigest(spoken)}"
        body = body_of(rendered, key, self.target, write)
        return replace(last[-1], body=body) if body else None

    def _render(self, candidate: Candidate, whole: bool) -> Rendered:
        self.first = self.first or candidate.key
        self.target = target = self._target(candidate)
        ask = self._asks
        if ask is None:
            ask = self._asks = self._ask()
        provider = candidate.target.provider
        salt = self.turn.meta().salt if self.turn.keeps or self.turn.held is not None else b""
        key = cache_key(provider.vendor, salt, candidate.voice.lacks) if salt else ""
        self._asks = ask = ask._replace(cache_key=key, asked=self._unstored(ask.asked, candidate))
        self.rendered = rendered = render(ask, target, whole)
        return rendered

    def _unstored(self, asked: ChatRequest, candidate: Candidate) -> ChatRequest:
        """The conversation is kept here: a vendor that would keep it too is told not to (R5), and then must seal its
        reasoning, or it could not be sent again."""
        dialect, route = candidate.door.dialect, self.turn.call.route.contexts
        extra = asked.extra
        if dialect is None or dialect.name != RESPONSES or extra is None or extra.dialect != RESPONSES:
            return asked  # writers of other dialects' requests do so by themselves
        store = route is not None and route.upstream_store
        members = extra.members
        if not store and "thinking" not in candidate.voice.lacks:
            words = [word for word in spelling(extra, "include", RESPONSES).split(",") if word]
            for name, value in members:
                words += strings(value) if name == "include" else []
            wanted = ",".join(dict.fromkeys([*words, SEALED]))
            members = tuple([each for each in members if each[0] != "include" and not each[0].startswith("include=")])
            members += (spelled("include", wanted),)
        return replace(asked, state=State(store=store), extra=Extra(RESPONSES, members))

    def _target(self, candidate: Candidate) -> Target:
        voice, dialect = candidate.voice, candidate.door.dialect
        assert dialect is not None
        return Target(
            dialect.name, voice.vendor, candidate.catalogue.window,
            wants_marks(dialect.name, voice.rename, voice.lacks), SMALLEST.get(voice.vendor, MINIMUM),
            candidate.key == self.first,
        )  # fmt: skip

    def _ask(self) -> Ask:
        turn = self.turn
        held: Held | None = turn.held
        view: View = turn.view
        before: View = turn.before
        frozen = frozen_at(held, turn.base) if held is not None and turn.base else None
        if frozen is not None and held is not None and turn.version in held.history.versions:
            changes = [change for entry in held.history.entries(turn.version) for change in entry.changes]
            frozen = frozen.after([change for change in changes if not _adds_turns(change)], _tell)
        new = [item for item in view.items if item.type in TOLD and item.id not in before.by_id]
        request: ChatRequest = turn.call.request  # with what was clamped
        settings: ChatRequest = turn.request
        lead = settings.messages[: system_of(settings.messages)]
        policy = self.policy
        share = policy.recall.share

        def bring_back(query: str, tokens: int, left: Any) -> list[Item]:
            return recall(query, left, tokens, policy.recall.k_max)

        return Ask(
            replace(request, messages=lead, state=None), view, frozen, new, policy, turn.repository.now(),
            turn.wishes.budget, bring_back if share > 0.0 else None, turn.tail,
            scale=self._scale(held, turn.base, frozen, lead, request.tools),
        )  # fmt: skip

    def _scale(
        self, held: Held | None, base: str, frozen: Frozen | None, lead: tuple[Message, ...], tools: tuple[Tool, ...]
    ) -> float:  # fmt: skip
        """By how much the last bill exceeded our estimate of the same prompt, with a margin (CRP 8.2)."""
        version = held.history.versions.get(base) if held is not None else None
        if held is None or frozen is None or version is None or version.use is None or not version.use.sent:
            return SCALE
        said = [
            item.tokens for entry in held.history.entries(base) if entry.kind == "commit"
            for change in entry.changes if isinstance(change, Added) for item in change.items
        ]  # fmt: skip
        estimated = frozen.tokens - sum(said) + sum([item.tokens for item in frozen.facts.values()])
        estimated += sum([item.tokens for item in frozen.sums]) + sum([quarter_of(tool) for tool in tools])
        estimated += sum([count_part(part, quarter) for message in lead for part in message.parts])
        if estimated < TELLING:
            return SCALE
        return SCALE * min(MOST, max(1.0 / MOST, version.use.sent / estimated))

    # -- after it ------------------------------------------------------------------------------------------------------

    def whole(self, version: str) -> ChatRequest | None:
        """The conversation up to *version* as the target of this turn would be asked next, nothing left out for its
        length; None where there is no prefix to go on from."""
        held: Held | None = self.turn.held
        ask = self._asks
        frozen = frozen_at(held, version) if held is not None else None
        if held is None or ask is None or frozen is None:
            return None
        policy = dataclass_replace(self.policy, budget=TokenBudget())
        ask = ask._replace(view=held.view(version), frozen=frozen, new=(), policy=policy, budget=Budget(), recall=None,
                           tail="")  # fmt: skip
        return render(ask, self.target._replace(window=0)).request

    def changes(self) -> tuple[Change, ...]:
        """What the commit logs of the prompt: the epoch that began with it."""
        rendered = self.rendered
        return (rendered.begun,) if rendered is not None and rendered.begun is not None else ()

    def elided(self) -> tuple[Elided, ...]:
        """What this turn left out that the turn before had."""
        return self.rendered.elided if self.rendered is not None else ()

    def recalled(self) -> tuple[str, ...]:
        return self.rendered.recalled if self.rendered is not None else ()

    def stable(self) -> int:
        """Tokens in front of the breakpoint, estimated."""
        rendered = self.rendered
        if rendered is None:
            return 0
        return sum([rendered.tokens[name] for name in ("tools", "system", "epoch", "summary", "history")])

    def saved(self) -> int:
        """Tokens that the whole history would have cost beyond what was sent, estimated."""
        rendered = self.rendered
        if rendered is None:
            return 0
        view: View = self.turn.view
        whole = sum([item.tokens for item in view.items])
        return max(0, whole + rendered.tokens["tools"] + rendered.tokens["system"] - rendered.used)

    def cache(self, candidate: Candidate, usage: Usage | None) -> CacheReport:
        """What was hoped of the provider's cache, and what came of it (CRP 7.5). Afterwards ``held.warm`` is this
        call."""
        held: Held | None = self.turn.held
        rendered = self.rendered
        if rendered is None or held is None:
            return CacheReport()
        begun = rendered.frozen.begun
        now = Warm(
            candidate.voice.vendor, candidate.model, self.turn.repository.now(), self.stable(), begun.system,
            begun.tools, f"{begun.at}:{begun.reason}:{self.target.dialect}", LIVES.get(candidate.voice.vendor, LIFE),
        )  # fmt: skip
        reported = usage.cache_read if usage is not None else None
        told = report(held.warm, now, self.stable(), reported, self._divergent())
        held.warm = now
        self._count(candidate, told, usage)
        return told

    def _divergent(self) -> str:
        """The first item of the history that is not as it was sent before; "" for none."""
        ask, rendered = self._asks, self.rendered
        if ask is None or ask.frozen is None or rendered is None or rendered.begun is None:
            return ""
        sent, now = ask.frozen.told.items[: ask.frozen.count], rendered.frozen.told.items
        for place, item in enumerate(sent):
            if place >= len(now) or now[place].id != item.id or now[place].content != item.content:
                return item.id
        return ""

    def _count(self, candidate: Candidate, told: CacheReport, usage: Usage | None) -> None:
        metrics = self.turn.call.runtime.metrics
        if self.rendered is not None and self.rendered.begun is not None:
            metrics.add("context_epochs_total", (self.rendered.begun.reason,), ("reason",))
        if usage is None:
            return
        for kind, tokens in (
            ("sent", usage.input), ("cached", usage.cache_read), ("cached_expected", told.expected),
            ("written", usage.cache_write), ("saved", self.saved()), ("output", usage.output),
        ):  # fmt: skip
            metrics.add("context_tokens_total", (kind,), ("kind",), tokens)
        if told.expected:
            name = candidate.target.provider.name
            metrics.add("context_prefix_expected_total", (name,), ("provider",), told.expected)
            metrics.add("context_prefix_reported_total", (name,), ("provider",), told.reported or 0)


def _adds_turns(change: Change) -> bool:
    return isinstance(change, Added) and any(item.type in TOLD for item in change.items)
