"""A kept conversation in miniature: what the engine does of a turn, without engine, store or clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from tidegate.dialects.anthropic_messages import AnthropicMessages
from tidegate.dialects.gemini_generate import GeminiGenerate
from tidegate.dialects.openai_chat import OpenaiChat
from tidegate.dialects.openai_responses import OpenaiResponses
from tidegate.exchange.chat import ChatRequest, Message, Part, Text, Tool
from tidegate.exchange.context import Added, Budget, Change, Item, View
from tidegate.exchange.context_policy import ContextPolicy
from tidegate.ports.dialect import Voice
from tidegate.rules.bm25 import recall
from tidegate.rules.context_epoch import TOLD, Frozen
from tidegate.rules.context_fold import fold
from tidegate.rules.context_render import Ask, Rendered, Target, render, show
from tidegate.rules.context_segments import body_of, may_splice
from tidegate.rules.item_messages import estimate, items_of, items_of_answer

DIALECTS: dict[str, Any] = {
    "openai_chat": OpenaiChat(),
    "openai_responses": OpenaiResponses(),
    "anthropic_messages": AnthropicMessages(),
    "gemini_generate": GeminiGenerate(),
}
VENDORS = {
    "openai_chat": "openai",
    "openai_responses": "openai",
    "anthropic_messages": "anthropic",
    "gemini_generate": "gemini",
}
SCHEMA = b'{"type":"object","properties":{"a":{"type":"string"}}}'
TOOLS = tuple([Tool(f"tool_{number}", "Does a thing.", SCHEMA) for number in (2, 0, 1)])


def said(text: str) -> Message:
    return Message("user", (Text(text=text),))


class Talk:
    """``ask`` renders a turn, ``answer`` commits it; ``view`` and ``frozen`` are what a worker would know then."""

    def __init__(
        self,
        dialect: str = "openai_chat",
        policy: ContextPolicy | None = None,
        window: int = 0,
        system: str = "You help.",
        tools: Sequence[Tool] = TOOLS,
        minimum: int = 0,
    ) -> None:
        self.dialect = dialect
        self.policy = policy or ContextPolicy("p")
        marks = dialect == "anthropic_messages"
        self.target = Target(dialect, VENDORS[dialect], window, marks, minimum)
        lead = (Message("system", (Text(text=system),)),) if system else ()
        self.asked = ChatRequest("m", lead, tools=tuple(tools), max_output=100)
        self.view = View(context="ctx")
        self.frozen: Frozen | None = None
        self.now = 1000
        self.number = 0
        self.turn = 0
        self.epochs: list[str] = []
        self.last: Rendered
        self._changes: list[Change] = []

    def stamped(self, items: Sequence[Item]) -> tuple[Item, ...]:
        made = []
        for item in items:
            self.number += 1
            named = msgspec.structs.replace(item, id=item.id or f"it_{self.number:05d}", recorded=self.now)
            made.append(msgspec.structs.replace(named, tokens=item.tokens or estimate(named)))
        return tuple(made)

    def change(self, *changes: Change) -> None:
        """Part of the next turn's input."""
        self._changes += changes

    def add(self, *items: Item) -> tuple[Item, ...]:
        made = self.stamped(items)
        self.change(Added(made))
        return made

    def ask(self, *messages: Message, target: Target | None = None, budget: Budget | None = None) -> Rendered:
        """Begin a turn with *messages*."""
        self.now += 1000
        self.turn += 1
        self.change(Added(self.stamped(items_of(messages))))
        before = self.view
        self.view = fold(self.view, self._changes, f"cv_{self.turn}", self.now)
        self.input = self._changes
        self._changes = []
        return self.again(before, target, budget)

    def again(self, before: View, target: Target | None = None, budget: Budget | None = None) -> Rendered:
        new = [item for item in self.view.items if item.type in TOLD and item.id not in before.by_id]
        frozen = self.frozen
        if frozen is not None:
            told = {item.id for item in new}
            others = [
                change
                for change in self.input
                if not (isinstance(change, Added) and told & {i.id for i in change.items})
            ]
            frozen = frozen.after(others, tell)
        self.given = Ask(
            self.asked,
            self.view,
            frozen,
            new,
            self.policy,
            self.now,
            budget or Budget(),
            lambda query, tokens, left: recall(query, left, tokens, self.policy.recall.k_max),
            scale=1.0,
        )
        self.last = render(self.given, target or self.target)
        return self.last

    def answer(self, *parts: Part, text: str = "") -> None:
        """The model has answered; the turn is committed."""
        vendor = VENDORS[self.dialect]
        out = self.stamped(items_of_answer(parts or (Text(text=text or "Yes."),), vendor, "m", self.dialect))
        commit: list[Change] = [Added(out)]
        if self.last.begun is not None:
            commit.append(self.last.begun)
            self.epochs.append(self.last.begun.reason)
            frozen = self.last.frozen.after([Added(tuple(self.given.new))], tell)
        else:
            assert self.frozen is not None
            frozen = self.frozen.after(self.input, tell)
        self.frozen = frozen.after([Added(out)], tell)
        self.view = fold(self.view, commit, f"cv_{self.turn}", self.now)

    def talk(self, text: str, back: str = "Yes.") -> Rendered:
        rendered = self.ask(said(text))
        self.answer(text=back)
        return rendered

    # -- as bytes ------------------------------------------------------------------------------------------------------

    def write(self, request: ChatRequest) -> bytes:
        voice = Voice(vendor=VENDORS[self.dialect], model="m", version="2023-06-01")
        body: bytes = DIALECTS[self.dialect].write_request(request, voice).body
        return body

    def body(self) -> bytes:
        """The last prompt, written whole."""
        return self.write(self.last.request)

    def spliced(self) -> bytes:
        """The same out of segments; written whole where there are none."""
        rendered = render(self.given, self.target, whole=False)
        body = body_of(rendered, self.dialect, self.target, self.write) if may_splice(rendered, self.dialect) else b""
        return body or self.body()

    def atoms(self, stable: bool = False) -> list[Any]:
        """The last prompt, or what of it stands before the breakpoint, block by block without marks."""
        request = self.last.request
        if stable:
            request = msgspec.structs.replace(request, messages=request.messages[: self.last.prefix])
        return atoms_of(json.loads(self.write(request)))


def tell(item: Item) -> Item | None:
    return show(item, None)


def atoms_of(body: dict[str, Any]) -> list[Any]:
    """Everything that a cache sees of *body*, in its order, marks apart."""
    found: list[Any] = [unmarked(body.get(name)) for name in ("tools", "system", "systemInstruction", "instructions")]
    for turn in body.get("messages") or body.get("input") or body.get("contents") or []:
        turn = unmarked(turn)
        content = turn.get("content", turn.get("parts"))
        if isinstance(content, list) and turn.get("role") != "assistant":
            found += [(turn.get("role"), block) for block in content]
        else:
            found.append(turn)
    return found


def unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: unmarked(inner) for name, inner in value.items() if name not in ("cache_control", "cachePoint")}
    return [unmarked(inner) for inner in value] if isinstance(value, list) else value
