"""One streamed answer in another dialect than the client's: events to neutral deltas to events (LLM 3, 5.10)."""

from __future__ import annotations

from msgspec.structs import replace

from tidegate.engine.models.answering import new_writer
from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.calls import Reached
from tidegate.engine.models.frames import decoder_of
from tidegate.engine.models.relaying import Outlet, Stream, failed_of, fault_of, is_content
from tidegate.engine.models.seals import SealTap
from tidegate.exchange.chat import END, ChatDelta, End, Failed, Piece, Start, Stopped, Used
from tidegate.exchange.fault import Fault
from tidegate.ports.dialect import Dialect, EventWriter, Framing
from tidegate.rules.emulated_output import PlainDeltas

CHARACTERS_A_PIECE = 4


class TranslatedStream(Stream):
    """Never holds more than one event. What ends the stream for the client waits until the books are written.

    writer   the client's; new for each try, because nothing of a failed try was heard
    """

    def __init__(
        self, call: ModelCall, reached: Reached, outlet: Outlet, framing: Framing, dialect: Dialect
    ) -> None:  # fmt: skip
        super().__init__(call, reached, outlet)
        self.decoder = decoder_of(framing)
        self.reader = dialect.events_reader(reached.candidate.voice, reached.aliases)
        self.writer: EventWriter = new_writer(call)
        self.echo = call.asked if call.plan is not None and call.plan.echo == "asked" else ""
        self.characters = 0
        self.seals = SealTap()
        self.plain = PlainDeltas(reached.output_tool) if reached.output_tool else None
        self.told = 0
        """Pieces so far: nobody sends a piece that is less than a token."""

    def read(self, chunk: bytes) -> bytes:
        out: list[bytes] = []
        for event, data in self.decoder.feed(chunk):
            self._take(self.reader.feed(event, data), out)
        return b"".join(out)

    def read_end(self) -> bytes:
        out: list[bytes] = []
        for event, data in self.decoder.close():
            self._take(self.reader.feed(event, data), out)
        self._take(self.reader.close(), out)
        return b"".join(out)

    def _take(self, deltas: list[ChatDelta], out: list[bytes]) -> None:
        for delta in deltas:
            self.seals.take(delta)
            if self.plain is not None:
                told = self.plain.plain(delta)
                if told is None:
                    continue
                delta = told
            if isinstance(delta, Piece):
                self.content = True
                self.characters += len(delta.text)
                self.told += 1
                self.pieces = max(self.told, self.characters // CHARACTERS_A_PIECE)
            elif isinstance(delta, End):
                self.finished = self.fault is None
                return
            elif isinstance(delta, Failed):
                self.fault = fault_of(delta)
                return
            elif isinstance(delta, Used):
                self.learn(delta.usage)
            elif isinstance(delta, Start):
                self.served = delta.model
                if delta.usage is not None:
                    self.learn(delta.usage)
                if self.echo:
                    delta = replace(delta, model=self.echo)
            elif isinstance(delta, Stopped):
                self.stop_word = delta.stop
                self.content = True
                self.seals.keep(self.runtime.models.seals, self.call.caller.tenant, self.runtime.clock())
            elif is_content(delta):
                self.content = True
            out.append(self.writer.write(delta))

    def lost(self) -> tuple[str, ...]:
        return tuple(self.writer.losses)

    def comment(self, text: str) -> bytes:
        return self.writer.comment(text)

    def ending(self) -> bytes:
        return self.writer.write(END)

    def broken(self, fault: Fault) -> bytes:
        return self.writer.write(failed_of(fault)) + self.writer.write(END)
