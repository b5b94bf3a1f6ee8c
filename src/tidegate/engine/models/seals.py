"""Seals between two turns of one client (LLM 5.6): kept when an answer goes out in other words than its vendor's, put
back when the client's next turn brings the calls without them. Each worker keeps its own; nothing is written down.
"""

from __future__ import annotations

from typing import Final

from tidegate.exchange.chat import (
    ChatAnswer,
    ChatDelta,
    ChatRequest,
    Choice,
    Open,
    Piece,
    SealedThought,
    Sign,
    Stopped,
    Text,
    Thought,
    ToolCall,
)
from tidegate.rules.chat_assembly import Assembler
from tidegate.rules.seal_vault import ONE, SealVault
from tidegate.rules.sealed_turns import ENTRY, seals_of, with_seals

SILENT: Final = frozenset({"text", "refusal", "audio", "image", "opaque"})
"""Parts of which only the place counts."""
NOTHING: Final = Text(text="")


def keep(vault: SealVault, tenant: str, choices: tuple[Choice, ...], now: float) -> None:
    """Keep what *choices* hold of seals, by the calls they stand with."""
    for choice in choices:
        for id, seals in seals_of(choice.parts):
            vault.put(tenant, id, seals, now)


def keep_answer(vault: SealVault, tenant: str, answer: object, now: float) -> None:
    """The same of a whole answer, whatever surface it is of."""
    if isinstance(answer, ChatAnswer):
        keep(vault, tenant, answer.choices, now)


def restored(vault: SealVault, tenant: str, request: ChatRequest, now: float) -> ChatRequest:
    """*request* with the seals that its client dropped, as far as they are known."""
    if not isinstance(request, ChatRequest) or not vault.holds(tenant):
        return request
    return with_seals(request, lambda id: vault.get(tenant, id, now))


class SealTap:
    """Listens to one streamed answer. Holds thoughts and heads of parts, a bounded number of bytes; what is longer is
    not kept. No text and no arguments are held."""

    __slots__ = ("assembler", "held", "kinds", "sealed")

    def __init__(self) -> None:
        self.assembler: Assembler | None = Assembler()
        self.kinds: dict[tuple[int, int], str] = {}
        self.held = 0
        self.sealed = False

    def take(self, delta: ChatDelta) -> None:
        assembler = self.assembler
        if assembler is None:
            return
        if isinstance(delta, Piece):
            kind = self.kinds.get((delta.choice, delta.part), "")
            if kind not in ("thought", "sealed_thought"):
                return
            self.held += len(delta.text)
        elif isinstance(delta, Open):
            head = delta.head
            self.held += ENTRY
            if delta.kind in SILENT:
                delta = Open(delta.choice, delta.part, "text", NOTHING)
            else:
                self.kinds[delta.choice, delta.part] = delta.kind
            if isinstance(head, SealedThought):
                self.held += len(head.data)
                self.sealed = True
            elif isinstance(head, (Thought, ToolCall)) and head.signature:
                self.sealed = True
        elif isinstance(delta, Sign):
            self.held += len(delta.signature)
            self.sealed = True
        elif not isinstance(delta, Stopped):
            return
        if self.held > ONE:
            self.assembler = None
            return
        assembler.take(delta)

    def keep(self, vault: SealVault, tenant: str, now: float) -> None:
        """The answer is complete."""
        if self.assembler is not None and self.sealed:
            keep(vault, tenant, self.assembler.answer().choices, now)
