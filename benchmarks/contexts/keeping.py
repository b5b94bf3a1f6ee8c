"""A conversation as the gateway keeps it, without gateway: the rules of ``tidegate`` on a view that grows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.dialects.anthropic_messages import AnthropicMessages
from tidegate.dialects.gemini_generate import GeminiGenerate
from tidegate.dialects.openai_chat import OpenaiChat
from tidegate.dialects.openai_responses import OpenaiResponses
from tidegate.exchange.chat import ChatRequest, Message, Part
from tidegate.exchange.context import Added, Change, Ended, Item, Summed, View
from tidegate.exchange.context_policy import ContextPolicy
from tidegate.ports.dialect import Dialect, Voice
from tidegate.rules.compaction import summed, victims
from tidegate.rules.context_epoch import TOLD, Frozen
from tidegate.rules.context_fold import fold
from tidegate.rules.context_render import Ask, Rendered, Target, render, show
from tidegate.rules.context_segments import body_of, may_splice
from tidegate.rules.item_messages import estimate, items_of, items_of_answer

DIALECTS: dict[str, Dialect] = {
    "openai_chat": OpenaiChat(),
    "openai_responses": OpenaiResponses(),
    "anthropic_messages": AnthropicMessages(),
    "gemini_generate": GeminiGenerate(),
}
VENDORS = {"openai_chat": "openai", "openai_responses": "openai", "anthropic_messages": "anthropic",
           "gemini_generate": "gemini"}  # fmt: skip


def tell(item: Item) -> Item | None:
    return show(item, None)


class Kept:
    """``ask`` gives the body for the provider, ``answer`` takes what it said. ``stable``: tokens in front of the
    breakpoint of the last prompt; ``epochs``: why they began."""

    def __init__(self, settings: ChatRequest, dialect: str, policy: ContextPolicy, window: int = 0) -> None:
        self.settings = settings
        self.dialect = dialect
        self.policy = policy
        vendor = VENDORS[dialect]
        self.voice = Voice(vendor=vendor, model="m")
        self.target = Target(dialect, vendor, window, dialect == "anthropic_messages")
        self.view = View(context="ctx")
        self.frozen: Frozen | None = None
        self.epochs: list[str] = []
        self.now = 0
        self.number = 0
        self.summarise = False
        self._rendered: Rendered
        self._given: Ask
        self._input: list[Change] = []

    def _stamped(self, items: Sequence[Item]) -> tuple[Item, ...]:
        found = []
        for item in items:
            self.number += 1
            item = msgspec.structs.replace(item, id=f"it_{self.number:06d}", recorded=self.now)
            found.append(msgspec.structs.replace(item, tokens=estimate(item)))
        return tuple(found)

    def put(self, key: str, value: bytes) -> None:
        """A fact changes with the next turn."""
        place = self.view.by_key.get(key)
        old = "" if place is None else self.view.items[place].id
        if old:
            self._input.append(Ended(old, self.now))
        fact = Item(type="fact", key=key, content=value, supersedes=old)
        self._input.append(Added(self._stamped([fact])))

    def ask(self, messages: Sequence[Message]) -> bytes:
        self.prepare(messages)
        return self.render()

    def prepare(self, messages: Sequence[Message]) -> None:
        """The input is in the view, and nothing is rendered yet."""
        self.now += 1000
        new = self._stamped(items_of(messages))
        before = self.frozen
        others = list(self._input)
        self._input.append(Added(new))
        self.view = fold(self.view, self._input, f"cv_{self.number}", self.now)
        frozen = before.after(others, tell) if before is not None else None
        told = [item for item in new if item.type in TOLD]
        self._given = Ask(self.settings, self.view, frozen, told, self.policy, self.now, scale=1.0)

    def render(self) -> bytes:
        self._rendered = rendered = render(self._given, self.target, whole=False)
        body = b""
        if may_splice(rendered, self.dialect):
            body = body_of(rendered, self.dialect, self.target, self.write)
        if not body:
            self._rendered = rendered = render(self._given, self.target)
            body = self.write(rendered.request)
        return body

    def write(self, request: ChatRequest) -> bytes:
        return DIALECTS[self.dialect].write_request(request, self.voice).body

    @property
    def stable(self) -> int:
        return sum([self._rendered.tokens[name] for name in ("tools", "system", "epoch", "summary", "history")])

    def answer(self, parts: Sequence[Part]) -> None:
        rendered = self._rendered
        out: Change = Added(self._stamped(items_of_answer(parts, VENDORS[self.dialect], "m", self.dialect)))
        commit = [out]
        if rendered.begun is not None:
            commit.append(rendered.begun)
            self.epochs.append(rendered.begun.reason)
            frozen = rendered.frozen.after([Added(tuple(self._given.new))], tell)
        else:
            assert self.frozen is not None
            frozen = self.frozen.after(self._input, tell)
        self._input = []
        self.frozen = frozen.after([out], tell)
        self.view = fold(self.view, commit, f"cv_{self.number}", self.now)
        limit = rendered.limit
        if self.summarise and limit and rendered.used > 0.8 * self.policy.budget.trigger * limit:
            self._sum()

    def _sum(self) -> None:
        found = victims(self.view, self.policy)
        if not found:
            return
        text = "What was said before, in short. " * 100
        change: Summed | None = summed(f"it_s{self.number}", text, found, "", "m", self.now)
        if change is not None and self.frozen is not None:
            self.view = fold(self.view, [change], f"cv_s{self.number}", self.now)
            self.frozen = self.frozen.after([change], tell)
