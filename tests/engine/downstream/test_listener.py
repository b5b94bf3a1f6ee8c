"""Accepting by hand: caps, rests, and leaving the socket (S3.9, S22.9, S23.5). Sockets and TLS: test_sockets."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from tidegate.engine.downstream.listener import Listener
from tidegate.ports.plan import LimitsPlan, ListenerPlan


class Sock:
    """A listening socket with a script of what ``accept`` gives."""

    def __init__(self) -> None:
        self.script: list[Any] = []

    def setblocking(self, on: bool) -> None: ...

    def fileno(self) -> int:
        return 9

    def accept(self) -> Any:
        if not self.script:
            raise BlockingIOError
        event = self.script.pop(0)
        if isinstance(event, BaseException):
            raise event
        made = Made()
        return made, (event, 40000)


class Made:
    """An accepted socket."""

    closed: list[Made] = []

    def setblocking(self, on: bool) -> None: ...

    def setsockopt(self, *_: int) -> None: ...

    def close(self) -> None:
        Made.closed.append(self)


class Worker:
    """What a listener asks of the runtime and its loop."""

    def __init__(self) -> None:
        self.loop = self
        self.metrics = self
        self.proxies = self
        self.plan = self
        self.limits = LimitsPlan()
        self.pressed = False
        self.guarded = False
        self.share = False
        self.reading = False
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.started = 0
        self.starting = 0
        self.counted: list[str] = []
        self.lines: list[str] = []
        self.trusted = ""

    def add_reader(self, fd: int, callback: Any) -> None:
        self.reading = True

    def remove_reader(self, fd: int) -> None:
        self.reading = False

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.later.append((delay, callback))

    def spawn(self, work: Any) -> None:
        work.close()
        self.started += 1

    def add(self, name: str, labels: tuple[str, ...], names: tuple[str, ...]) -> None:
        self.counted.append(labels[0])

    def trusts(self, host: str) -> bool:
        return host == self.trusted

    def log(self, level: str, event: str, **fields: object) -> None:
        self.lines.append(str(fields["reason"]))

    def has_more_than_its_share(self) -> bool:
        return self.share


@pytest.fixture
def worker() -> Any:
    Made.closed = []
    return Worker()


def listening(worker: Any, *script: Any) -> tuple[Listener, Sock]:
    sock = Sock()
    sock.script = list(script)
    one = Listener(worker, ListenerPlan("test", "127.0.0.1", 1), sock)  # type: ignore[arg-type]
    one.listen()
    return one, sock


def test_one_turn_takes_one_connection(worker: Any) -> None:
    one, sock = listening(worker, "192.0.2.1", "192.0.2.2")
    one._accept()
    assert (worker.started, one.open, len(sock.script)) == (1, 1, 1)


def test_a_late_turn_takes_many_for_there_are_few_of_them_s22_9(worker: Any) -> None:
    one, sock = listening(worker, *[f"192.0.2.{n}" for n in range(70)])
    worker.guarded = True
    one._accept()
    assert (worker.started, one.open, len(sock.script)) == (64, 64, 6)
    one._accept()
    assert (one.open, len(sock.script)) == (70, 0)


@pytest.mark.parametrize(("which", "delay"), [("share", 0.002), ("pressed", 0.05)])
def test_a_worker_with_its_share_or_under_pressure_leaves_the_socket_alone_s22_9(
    worker: Any, which: str, delay: float
) -> None:
    one, sock = listening(worker, "192.0.2.1")
    setattr(worker, which, True)
    one._accept()
    assert (worker.started, worker.reading, len(sock.script)) == (0, False, 1)
    [(waited, again)] = worker.later
    assert waited == delay
    again()
    assert worker.reading


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_without_descriptors_it_rests_a_second_and_says_so_once_s3_9(worker: Any, number: int) -> None:
    one, _ = listening(worker, OSError(number, ""))
    one._accept()
    assert (worker.reading, worker.later[0][0], worker.lines) == (False, 1.0, [errno.errorcode[number]])
    one._accept()
    assert len(worker.lines) == 1


def test_an_aborted_connection_is_nothing(worker: Any) -> None:
    one, _ = listening(worker, ConnectionAbortedError(), "192.0.2.1")
    one._accept()
    assert (worker.started, worker.reading) == (0, True)
    one._accept()
    assert worker.started == 1


def test_caps_close_without_a_byte_and_count_s3_9(worker: Any) -> None:
    one, _ = listening(worker, *["192.0.2.1"] * 3, "::ffff:192.0.2.1", "192.0.2.2", "192.0.2.3")
    one.cap, one.address_cap = 4, 3
    for _ in range(6):
        one._accept()
    assert (one.open, one.by_address) == (4, {"192.0.2.1": 3, "192.0.2.2": 1})
    assert worker.counted == ["connections_per_address", "connections"]
    assert len(Made.closed) == 2


def test_trusted_proxies_are_exempt_from_the_address_cap_s3_9(worker: Any) -> None:
    worker.trusted = "192.0.2.1"
    one, _ = listening(worker, *["192.0.2.1"] * 5)
    one.address_cap = 3
    for _ in range(5):
        one._accept()
    assert one.open == 5


def test_what_leaves_is_forgotten(worker: Any) -> None:
    one, _ = listening(worker, "192.0.2.1", "192.0.2.1")
    one._accept()
    one._accept()
    one._forget("192.0.2.1")
    assert (one.open, one.by_address) == (1, {"192.0.2.1": 1})
    one._forget("192.0.2.1")
    assert (one.open, one.by_address) == (0, {})


def test_stopping_takes_what_waits_and_a_rest_does_not_bring_it_back_s23_5(worker: Any) -> None:
    one, sock = listening(worker, *["192.0.2.1"] * 5)
    one.rest(1.0)
    one.stop()
    assert (worker.started, sock.script, worker.reading) == (5, [], False)
    worker.later[0][1]()
    assert not worker.reading
    one.stop()
