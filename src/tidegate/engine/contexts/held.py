"""The stream of a turn: what ends it for the client waits until the turn is committed (CRP 5.3)."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.calls import Reached
from tidegate.engine.models.relaying import Outlet
from tidegate.engine.models.translating import TranslatedStream
from tidegate.exchange.chat import ChatAnswer, ChatDelta, End, Failed, Start, Stopped
from tidegate.exchange.fault import Fault
from tidegate.ports.dialect import Dialect, EventWriter, Framing
from tidegate.rules.chat_assembly import Assembler
from tidegate.rules.context_told import with_code


class HoldingWriter:
    """Another writer, from whose stream everything behind the first stop is held back until the end is told. Knows the
    answer as far as it has come."""

    def __init__(self, inner: EventWriter, id: str) -> None:
        self.inner: EventWriter = inner
        self.id: str = id
        self.said: Assembler = Assembler()
        self.held: list[ChatDelta] = []
        self.losses: list[str] = inner.losses

    def write(self, delta: ChatDelta) -> bytes:
        if isinstance(delta, End):
            held, self.held = self.held, []
            return b"".join([self.inner.write(one) for one in held]) + self.inner.write(delta)
        if isinstance(delta, Failed):
            self.held = []  # a stream that fails never says that it succeeded
            return self.inner.write(delta)
        self.said.take(delta)
        if self.held or isinstance(delta, Stopped):
            self.held.append(delta)
            return b""
        if isinstance(delta, Start):
            delta = replace(delta, id=self.id)
        return self.inner.write(delta)

    def comment(self, text: str) -> bytes:
        return self.inner.comment(text)

    def heartbeat(self) -> bytes:
        return self.inner.heartbeat()


class HeldStream(TranslatedStream):
    """Its ending says what was committed, so it is asked for afterwards."""

    def __init__(
        self, call: ModelCall, reached: Reached, outlet: Outlet, framing: Framing, dialect: Dialect
    ) -> None:  # fmt: skip
        super().__init__(call, reached, outlet, framing, dialect)
        self.turn: Any = call.turn
        self.holding = HoldingWriter(self.writer, self.turn.answer_id)
        self.writer = self.holding
        self.turn.stream = self

    def answer(self) -> ChatAnswer:
        """What the model has said so far."""
        return self.holding.said.answer()

    def ending(self) -> bytes:
        told: bytes = self.turn.told_events(super().ending())
        return told

    def broken(self, fault: Fault) -> bytes:
        events = super().broken(fault)
        return with_code(self.call.dialect.name, events, fault.code) if fault.code == "commit_failed" else events


def commit_failed(reason: str) -> Fault:
    """The answer may not be told as a success: nobody could continue it."""
    return Fault("commit_failed", "The turn could not be recorded.", reason=reason, retry_after=1.0)
