"""What is written in one turn of the loop leaves at its end, one system call after the other.

A write wakes its reader. The reader of a single small write is done and asleep again before the next one, so each costs
a wake-up; and the code that serves requests has to come back into the processor's caches after each. Writes in a row
cost a quarter less than the same writes in between (P1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

LARGE: Final = 16 * 1024
"""Bytes that are not worth holding back, nor copying behind others."""

MANY: Final = 32
"""Writers that wait at most: readers on other cores shall not idle for a whole turn."""


class Post:
    """The writers of one worker that hold something back. *soon* calls a function in the next turn of the loop before
    it waits (``loop.call_soon``)."""

    def __init__(self, soon: Callable[[Callable[[], None]], object], report: Callable[[BaseException], None]) -> None:
        self.soon = soon
        self.report = report
        self.called = False
        self.waiting: list[Writer] = []

    def add(self, writer: Writer) -> None:
        """*writer* holds something back from now on."""
        waiting = self.waiting
        waiting.append(writer)
        if not self.called:
            self.called = True
            self.soon(self._turn_ends)
        elif len(waiting) >= MANY:
            self.flush()

    def _turn_ends(self) -> None:
        self.called = False
        self.flush()

    def flush(self) -> None:
        """Send all that is held back."""
        waiting = self.waiting
        self.waiting = []
        for writer in waiting:
            try:
                writer.flush()
            except Exception as error:
                # The others' answers leave all the same. A transport closed meanwhile says so with a RuntimeError.
                if not isinstance(error, RuntimeError):
                    self.report(error)


class Writer:
    """A transport whose writes wait for the end of the turn; whatever else is asked of it comes after them."""

    __slots__ = ("held", "post", "push", "transport")

    def __init__(self, transport: Any, post: Post) -> None:
        self.transport = transport
        self.post = post
        self.push: Callable[[bytes], object] = transport.write
        self.held = b""

    def write(self, data: bytes) -> None:
        if len(data) >= LARGE:
            self.flush()
            self.push(data)
        elif self.held:
            self.held += data
            if len(self.held) >= LARGE:
                self.flush()
        elif data:
            self.held = data
            self.post.add(self)

    def flush(self) -> None:
        """Hand what is held back to the transport."""
        data = self.held
        if data:
            self.held = b""
            self.push(data)

    def close(self) -> None:
        self._leave()
        self.transport.close()

    def abort(self) -> None:
        self._leave()
        self.transport.abort()

    def _leave(self) -> None:
        if self.transport.is_closing():
            self.held = b""
        else:
            self.flush()

    def write_eof(self) -> None:
        self.flush()
        self.transport.write_eof()

    def can_write_eof(self) -> bool:
        return bool(self.transport.can_write_eof())

    def is_closing(self) -> bool:
        return bool(self.transport.is_closing())

    def get_write_buffer_size(self) -> int:
        return len(self.held) + int(self.transport.get_write_buffer_size())

    def pause_reading(self) -> None:
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        self.transport.resume_reading()

    def get_extra_info(self, name: str) -> Any:
        return self.transport.get_extra_info(name)
