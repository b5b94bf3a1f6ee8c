"""Writes wait for the end of the turn, and nothing overtakes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tidegate.engine.post import LARGE, MANY, Post, Writer


class Transport:
    """Keeps what it is asked for, in order."""

    def __init__(self, name: str, heard: list[tuple[str, Any]], trouble: Exception | None = None) -> None:
        self.name = name
        self.heard = heard
        self.trouble = trouble
        self.closing = False

    def write(self, data: bytes) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.heard.append((self.name, data))

    def close(self) -> None:
        self.closing = True
        self.heard.append((self.name, "close"))

    def abort(self) -> None:
        self.closing = True
        self.heard.append((self.name, "abort"))

    def write_eof(self) -> None:
        self.heard.append((self.name, "eof"))

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 5

    def pause_reading(self) -> None:
        self.heard.append((self.name, "pause"))

    def resume_reading(self) -> None:
        self.heard.append((self.name, "resume"))

    def get_extra_info(self, name: str) -> str:
        return f"the {name}"


class Turn:
    """A turn of the loop: what is called soon, the defects, what transports heard."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.defects: list[BaseException] = []
        self.heard: list[tuple[str, Any]] = []
        self.post = Post(self.soon.append, self.defects.append)

    def writer(self, name: str, trouble: Exception | None = None) -> Writer:
        return Writer(Transport(name, self.heard, trouble), self.post)

    def ends(self) -> None:
        soon = self.soon.copy()
        self.soon.clear()
        for each in soon:
            each()


def test_writes_leave_at_the_end_of_the_turn_in_their_order_and_one_for_each_writer() -> None:
    turn = Turn()
    one, two = turn.writer("one"), turn.writer("two")
    one.write(b"a")
    two.write(b"b")
    one.write(b"c")
    two.write(b"")
    assert turn.heard == []
    assert len(turn.soon) == 1
    turn.ends()
    assert turn.heard == [("one", b"ac"), ("two", b"b")]
    one.write(b"d")
    turn.ends()
    assert turn.heard[2:] == [("one", b"d")]


def test_many_writers_do_not_wait_for_the_end() -> None:
    turn = Turn()
    writers = [turn.writer(str(number)) for number in range(MANY + 1)]
    for writer in writers:
        writer.write(b"x")
    assert [name for name, _ in turn.heard] == [str(number) for number in range(MANY)]
    turn.ends()
    assert turn.heard[MANY:] == [(str(MANY), b"x")]


@pytest.mark.parametrize("before", [b"", b"head"])
def test_large_writes_are_neither_held_back_nor_copied(before: bytes) -> None:
    turn = Turn()
    writer = turn.writer("one")
    large = b"x" * LARGE
    writer.write(before)
    writer.write(large)
    assert turn.heard == ([("one", before)] if before else []) + [("one", large)]
    assert turn.heard[-1][1] is large


def test_small_writes_that_add_up_leave_together() -> None:
    turn = Turn()
    writer = turn.writer("one")
    writer.write(b"a")
    writer.write(b"b" * (LARGE - 1))
    assert turn.heard == [("one", b"a" + b"b" * (LARGE - 1))]
    turn.ends()
    assert len(turn.heard) == 1


@pytest.mark.parametrize(("ask", "said"), [("close", "close"), ("abort", "abort"), ("write_eof", "eof")])
def test_nothing_overtakes_what_is_held_back(ask: str, said: str) -> None:
    turn = Turn()
    writer = turn.writer("one")
    writer.write(b"a")
    assert writer.get_write_buffer_size() == 6
    getattr(writer, ask)()
    assert turn.heard == [("one", b"a"), ("one", said)]
    assert writer.get_write_buffer_size() == 5
    turn.ends()
    assert len(turn.heard) == 2


def test_what_is_held_back_for_a_transport_that_has_closed_is_let_go() -> None:
    turn = Turn()
    writer = turn.writer("one")
    writer.write(b"a")
    writer.transport.closing = True
    writer.abort()
    turn.ends()
    assert turn.heard == [("one", "abort")]


def test_one_writers_trouble_is_not_the_others() -> None:
    """A closed transport raises RuntimeError, which is no defect; anything else is told."""
    turn = Turn()
    defect = ValueError("no bytes")
    for writer in (turn.writer("gone", RuntimeError("closed")), turn.writer("odd", defect), turn.writer("fine")):
        writer.write(b"a")
    turn.ends()
    assert turn.heard == [("fine", b"a")]
    assert turn.defects == [defect]


def test_the_rest_is_the_transports() -> None:
    turn = Turn()
    writer = turn.writer("one")
    writer.pause_reading()
    writer.resume_reading()
    assert turn.heard == [("one", "pause"), ("one", "resume")]
    assert (writer.can_write_eof(), writer.is_closing()) == (True, False)
    assert writer.get_extra_info("socket") == "the socket"
