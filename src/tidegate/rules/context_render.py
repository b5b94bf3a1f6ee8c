"""A conversation as one call's prompt: stable parts first, volatile ones behind the breakpoint (CRP 7.1, 7.2).

``[tools] [system text] [block of the epoch] [summaries] [history] | [results of tools] [tail] [new input]``. Everything
before the bar is a function of the epoch and of what was added since, so that the next call begins with the same
bytes. A new input that begins with results of tools has them in front of the tail: dialects want a result right behind
its call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import xxhash
from msgspec.structs import replace

from tidegate.exchange.chat import CacheMark, ChatRequest, Message, Part, Text, Thought, Tool
from tidegate.exchange.context import Budget, Elided, EpochBegun, Item, View
from tidegate.exchange.context_policy import ContextPolicy
from tidegate.rules.context_epoch import FACTS, TOLD, Frozen, begin
from tidegate.rules.context_trim import PLACEHOLDER_TOKENS, is_due, limit_of, reduce
from tidegate.rules.context_words import (
    RENDERER,
    changes_block,
    document_text,
    facts_block,
    placeholder_arguments,
    placeholder_text,
    recalled_text,
    revised_text,
    summary_text,
)
from tidegate.rules.item_messages import Fit, Turns, messages_of, quarter
from tidegate.rules.item_selector import alive
from tidegate.rules.provider_bound import for_target
from tidegate.rules.token_count import count_part
from tidegate.wire.json_object import encode

MARKS: Final = 4
"""Breakpoints a call may have, the client's own included (R5)."""
SCALE: Final = 1.05
"""What an estimate is taken for where no bill has corrected it: 5 % more (CRP 8.2)."""


class Target(NamedTuple):
    """Who will hear it. ``marks``: breakpoints are set for it; ``minimum``: tokens of the shortest prefix its cache
    takes; ``first``: it is the target that was chosen, not one that stands in for it."""

    dialect: str
    vendor: str
    window: int = 0
    marks: bool = False
    minimum: int = 1024
    first: bool = True


class Ask(NamedTuple):
    """What is to be rendered.

    asked    the call's settings: its messages are the leading system text alone
    view     the context with this call's input in it
    frozen   the prefix of the epoch it runs in, up to the parent; None where there is none
    new      the items of the input that are told, in order
    recall   (query, tokens, left out) -> items to bring back (``rules/bm25``)
    tail     what a template puts into the tail, "" for nothing
    scale    by how much bills exceed our estimates
    """

    asked: ChatRequest
    view: View
    frozen: Frozen | None
    new: Sequence[Item]
    policy: ContextPolicy
    now: int
    budget: Budget = Budget()
    recall: Callable[[str, int, Sequence[Item]], list[Item]] | None = None
    tail: str = ""
    cache_key: str = ""
    scale: float = SCALE


class Rendered:
    """A prompt, and what is to be said of it.

    request      whole
    lead         its messages before the history: system text, the epoch's block, summaries
    frozen       the prefix it stands on; ``begun`` where it begins an epoch, for the commit to log
    live         the messages behind the last whole chunk of the history: what ``context_segments`` writes anew
    chunk        where in ``frozen.told.items`` those begin
    prefix       how many messages stand before the breakpoint
    breakpoints  marks set, the client's own included
    tokens       estimates by segment: tools system epoch summary history tail new
    """

    __slots__ = ("begun", "breakpoints", "chunk", "elided", "frozen", "lead", "limit", "live", "prefix", "recalled",
                 "request", "tokens")  # fmt: skip

    def __init__(self, request: ChatRequest, frozen: Frozen) -> None:
        self.request: ChatRequest = request
        self.frozen: Frozen = frozen
        self.begun: EpochBegun | None = None
        self.lead: tuple[Message, ...] = ()
        self.live: tuple[Message, ...] = ()
        self.chunk: int = 0
        self.prefix: int = 0
        self.breakpoints: int = 0
        self.tokens: dict[str, int] = {}
        self.elided: tuple[Elided, ...] = ()
        self.recalled: tuple[str, ...] = ()
        self.limit: int = 0

    @property
    def used(self) -> int:
        """Tokens of the whole prompt, estimated."""
        return sum(self.tokens.values())


def render(ask: Ask, target: Target, whole: bool = True) -> Rendered:
    """*ask* for *target*. Not *whole*: ``request`` holds only ``lead`` and ``live``, for somebody who has the rest as
    bytes. Raises 413 ``context_overflow``."""
    work = _Work(ask, target)
    work.settle()
    return work.rendered(whole)


class _Work:
    def __init__(self, ask: Ask, target: Target) -> None:
        self.ask = ask
        self.target = target
        self.tools = tuple(sorted(ask.asked.tools, key=_name_of))
        self.system = tuple([_bare(message) for message in ask.asked.messages])
        self.elided: dict[str, str] = {}
        self.told: list[Elided] = []
        self.begun: EpochBegun | None = None
        budget = ask.policy.budget
        self.limit = limit_of(
            ask.budget.max_input or budget.max_input, target.window,
            ask.budget.reserve_output or budget.reserve_output,
        )  # fmt: skip
        new_tokens = sum([item.tokens for item in ask.new])
        self.fixed = {
            "tools": sum([quarter_of(tool) for tool in self.tools]),
            "system": sum([count_part(part, quarter) for message in self.system for part in message.parts]),
            "new": new_tokens,
        }
        self.frozen: Frozen
        self._diff: tuple[Frozen, list[Item], list[Item]] | None = None

    # -- which epoch ---------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Choose the epoch: the one that lasts, or a new one where that must be, or where the prompt has outgrown its
        budget."""
        ask = self.ask
        system = digest_of(encode([_unmarked(message) for message in self.system]) if self.system else b"")
        tools = digest_of(
            encode([replace(tool, cache=None) if tool.cache else tool for tool in self.tools]) if self.tools else b""
        )
        frozen = ask.frozen
        reason = "created"
        if frozen is not None:
            reason = frozen.reason(self.target.dialect if self.target.first else "", system, tools, ask.now)
            self.elided = frozen.begun.elided
        if frozen is None or reason:
            begun = EpochBegun(reason, RENDERER, ask.now, self.target.dialect, system, tools, self.elided)
            frozen = self._begin(begun)
        self.frozen = frozen
        effective = int(self.limit / ask.scale)
        used = self._used()
        if not is_due(used, effective, ask.policy):
            return
        history = self._history()
        reduction = reduce(history, self.elided, used, effective, ask.policy)
        self.told = reduction.told
        if not reduction.told:
            return
        self.elided = reduction.elided
        begun = EpochBegun(reason or "reduced", RENDERER, ask.now, self.target.dialect, system, tools, reduction.elided)
        self.frozen = self._begin(begun)

    def _history(self) -> list[Item]:
        """What is told of the view and is not of this input."""
        new = {item.id for item in self.ask.new}
        return [item for item in self.ask.view.items if item.type in TOLD and item.id not in new]

    def _begin(self, begun: EpochBegun) -> Frozen:
        if self.target.first:
            self.begun = begun
        told = [shown for item in self._history() if (shown := show(item, begun.elided.get(item.id))) is not None]
        return begin(self.ask.view, begun, told)

    def _used(self) -> int:
        frozen = self.frozen
        changed, gone = self._changes()
        total = sum(self.fixed.values()) + frozen.tokens + sum([item.tokens for item in frozen.facts.values()])
        total += sum([item.tokens for item in frozen.sums]) + sum([item.tokens for item in changed])
        return total + 8 * len(gone) + quarter(self.ask.tail)

    # -- the tail ------------------------------------------------------------------------------------------------------

    def _changes(self) -> tuple[list[Item], list[Item]]:
        """Facts that are not as the epoch's block says: those that hold now, and those that no longer do."""
        view, frozen, now = self.ask.view, self.frozen, self.ask.now
        if self._diff is not None and self._diff[0] is frozen:
            return self._diff[1], self._diff[2]
        changed: list[Item] = []
        replaced: set[str] = set()
        for item in view.items:
            if item.type in FACTS and (not item.key or view.by_key.get(item.key) == view.by_id[item.id]):
                known = frozen.facts.get(item.id)
                if (known is None or known.rev != item.rev) and alive(item, now) and _holds(item, now):
                    changed.append(item)
                    replaced.add(item.key)
        gone: list[Item] = []
        for id, item in frozen.facts.items():
            place = view.by_id.get(id)
            left = place is None or (item.key and view.by_key.get(item.key) != place)
            if left and (not item.key or item.key not in replaced):
                gone.append(item)
        self._diff = (frozen, changed, gone)
        return changed, gone

    def _tail(self, rendered: Rendered) -> tuple[Part, ...]:
        ask = self.ask
        parts: list[Part] = []
        changed, gone = self._changes()
        if changed or gone:
            parts.append(changes_block(changed, gone))
        view = ask.view
        for id in sorted(self.frozen.stale):
            place = view.by_id.get(id)
            if place is not None and view.items[place].type in TOLD and id not in self.elided:
                parts.append(revised_text(view.items[place]))
        room = self._room()
        if ask.recall is not None and self.elided and room > 0:
            query = "\n".join([text for item in ask.new for text in _texts(item)])
            left = [item for item in self._history() if item.id in self.elided]
            for item in ask.recall(query, room, left):
                parts.append(recalled_text(item))
                rendered.recalled += (item.id,)
        if ask.tail:
            parts.append(Text(text=ask.tail))
        return tuple(parts)

    def _room(self) -> int:
        """Tokens for recall: its share of the limit, and no more than is left of that."""
        if not self.limit:
            return 0
        effective = int(self.limit / self.ask.scale)
        return min(int(self.ask.policy.recall.share * effective), effective - self._used())

    # -- put together --------------------------------------------------------------------------------------------------

    def rendered(self, whole: bool) -> Rendered:
        ask, target, frozen = self.ask, self.target, self.frozen
        found = Rendered(ask.asked, frozen)
        found.begun = self.begun
        found.elided = tuple(self.told)
        found.limit = self.limit
        tail = self._tail(found)
        fit = fit_for(target)
        lead = lead_of(self.system, frozen)
        found.chunk = frozen.last_chunk()
        turns = Turns(fit)
        for item in frozen.told.items[found.chunk : frozen.count]:
            turns.add(item)
        new = [shown for item in ask.new if (shown := show(item, None)) is not None]
        first = 0
        while first < len(new) and new[first].type == "tool_result":
            turns.add(new[first])
            first += 1
        if not tail:
            for item in new[first:]:
                turns.add(item)
            turns.close()
            stable = len(turns.closed)
        else:
            turns.close()
            stable = len(turns.closed)
            turns.add_message(Message("user", tail))
            for item in new[first:]:
                turns.add(item)
            turns.close()
        live = turns.closed
        middle: tuple[Message, ...] = ()
        if whole and found.chunk:
            middle = messages_of(frozen.told.items[: found.chunk], fit, over=True)
        found.prefix = len(lead) + len(middle) + stable
        facts = sum([item.tokens for item in frozen.facts.values()])
        sums = sum([item.tokens for item in frozen.sums])
        found.tokens = {
            **self.fixed, "epoch": facts, "summary": sums, "history": frozen.tokens,
            "tail": sum([count_part(part, quarter) for part in tail]),
        }  # fmt: skip
        tools = self.tools
        if target.marks:
            lead = tuple([replace(message, parts=in_blocks(message.parts)) for message in lead])
            lead, tools = self._marked(found, lead, live, stable, tools)
        found.lead, found.live = lead, tuple(live)
        found.request = replace(
            ask.asked, messages=lead + middle + found.live, tools=tools,
            cache_key=ask.asked.cache_key or ask.cache_key,
        )  # fmt: skip
        return found

    def _marked(
        self, found: Rendered, lead: tuple[Message, ...], live: list[Message], stable: int, tools: tuple[Tool, ...]
    ) -> tuple[tuple[Message, ...], tuple[Tool, ...]]:
        """Breakpoints behind the tools, the system text, the epoch's block and the last stable message (moving). The
        client's own come first; none stands below the target's minimum."""
        own = _own_marks(self.ask.asked, lead, tools)
        free = max(0, MARKS - own)
        tokens, minimum = found.tokens, self.target.minimum
        stand = tokens["tools"]
        total = stand + tokens["system"] + tokens["epoch"] + tokens["summary"] + tokens["history"]
        if free and stable and total >= minimum:
            place = stable - 1
            marked = _with_mark(live[place])
            if marked is not live[place]:
                live[place] = marked
                free -= 1
                own += 1
        messages = list(lead)
        system = len(self.system)
        block = stand + tokens["system"] + tokens["epoch"] + tokens["summary"]
        if free and len(messages) > system and block >= minimum:
            messages[-1] = _with_mark(messages[-1])
            free, own = free - 1, own + 1
        if free and system and stand + tokens["system"] >= minimum and not _is_marked(messages[system - 1]):
            messages[system - 1] = _with_mark(messages[system - 1])
            free, own = free - 1, own + 1
        if free and tools and stand >= minimum and tools[-1].cache is None:
            tools = (*tools[:-1], replace(tools[-1], cache=CacheMark()))
            own += 1
        found.breakpoints = own
        return tuple(messages), tools


# -- pieces ------------------------------------------------------------------------------------------------------------


def lead_of(system: tuple[Message, ...], frozen: Frozen) -> tuple[Message, ...]:
    """System text, the epoch's block and its summaries, which are data of the user."""
    parts: list[Part] = []
    if frozen.facts:
        parts.append(facts_block(frozen.facts.values()))
    parts += [summary_text(item) for item in frozen.sums]
    return (*system, Message("user", tuple(parts))) if parts else system


def fit_for(target: Target) -> Fit:
    """What *target* may see of an item. Every text is a block of its own there where breakpoints are set, so that one
    that moves on changes nothing around it."""
    vendor, dialect = target.vendor, target.dialect

    def fit(item: Item, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        return for_target(item, parts, vendor, dialect)

    def fit_blocks(item: Item, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        return in_blocks(for_target(item, parts, vendor, dialect))

    return fit_blocks if target.marks else fit


def in_blocks(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """*parts* with each text a block, never a bare string: a part that was read from a block is written as one."""
    return tuple([replace(part, raw=b"{}") if type(part) is Text and part.extra is None else part for part in parts])


def show(item: Item, way: str | None) -> Item | None:
    """*item* as the history tells it; None for what it does not. Data becomes words of the user (CRP 4.2)."""
    if way == "dropped":
        return None
    if way == "placeholder":
        tokens = min(item.tokens, PLACEHOLDER_TOKENS)
        if item.type == "tool_call":
            return replace(item, content=encode(placeholder_arguments(item)), extra={}, tokens=tokens)
        text = encode(placeholder_text(item).text)
        if item.type == "tool_result":
            return replace(item, content=text, extra={}, tokens=tokens)
        return replace(
            item, type="message", role="assistant" if item.role == "assistant" else "user", content=text, extra={},
            tokens=tokens,
        )  # fmt: skip
    if item.type == "document":
        return replace(item, type="message", role="user", content=encode(document_text(item).text), extra={})
    if item.type == "media":
        return replace(item, type="message", role="user", extra={})
    return item


def digest_of(data: bytes) -> str:
    """Tells equal from different; "" for nothing."""
    return xxhash.xxh3_64_hexdigest(data) if data else ""


def quarter_of(tool: Tool) -> int:
    """Tokens of a tool's definition, estimated."""
    return quarter(tool.name) + quarter(tool.description) + (len(tool.schema or tool.value) + 3) // 4


def _bare(message: Message) -> Message:
    """*message* by its fields alone: bytes as they came would differ from those of a turn that inherits it."""
    if not message.raw and not any(part.raw for part in message.parts):
        return message
    parts = tuple([replace(part, raw=b"") if part.raw else part for part in message.parts])
    return replace(message, parts=parts, raw=b"")


def _unmarked(message: Message) -> Message:
    if not _is_marked(message):
        return message
    return replace(message, parts=tuple([replace(part, cache=None) for part in message.parts]))


def _name_of(tool: Tool) -> str:
    return tool.name


def _holds(item: Item, now: int) -> bool:
    return item.valid_to is None or now < item.valid_to


def _texts(item: Item) -> list[str]:
    message = messages_of((item,))
    return [part.text for each in message for part in each.parts if isinstance(part, Text)]


def _own_marks(asked: ChatRequest, lead: tuple[Message, ...], tools: tuple[Tool, ...]) -> int:
    own = sum([tool.cache is not None for tool in tools]) + (asked.cache is not None)
    return own + sum([part.cache is not None for message in lead for part in message.parts])


def _is_marked(message: Message) -> bool:
    return any(part.cache is not None for part in message.parts)


def _with_mark(message: Message) -> Message:
    """*message* with a breakpoint behind its last part that may have one; itself where none may."""
    for place in range(len(message.parts) - 1, -1, -1):
        part = message.parts[place]
        if isinstance(part, Thought) or (isinstance(part, Text) and not part.text.strip()):
            continue
        parts = (*message.parts[:place], replace(part, cache=CacheMark()), *message.parts[place + 1 :])
        return replace(message, parts=parts)
    return message
