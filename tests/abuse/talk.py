"""The client's side of a case: bytes on a socket, and answers read by a small strict reader of its own.

Never uses gateway code. Everything stays on 127.0.0.0/8 and ends by a deadline.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any


class Answer:
    """One answer as it stood on the wire."""

    def __init__(self, status: int, fields: list[tuple[str, str]], body: bytes, whole: bool) -> None:
        self.status = status
        self.fields = fields
        self.body = body
        self.whole = whole
        """False when the connection ended before the body did."""

    def get(self, name: str) -> str:
        """The first field of that name, or ""."""
        return next((value for known, value in self.fields if known == name), "")

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The problem's code, "" where the body is no problem."""
        try:
            found = self.json()
        except ValueError:
            return ""
        return str(found.get("code", "")) if isinstance(found, dict) else ""

    def __repr__(self) -> str:
        return f"<{self.status} {self.fields} {self.body[:200]!r}{'' if self.whole else ' CUT'}>"


class Conversation:
    """What came of one connection."""

    def __init__(self) -> None:
        self.data = b""
        self.sent = 0
        self.ended = ""
        """``fin`` or ``rst``; "" while it is open."""
        self.seconds = 0.0
        self.answers: list[Answer] = []
        self.interim: list[Answer] = []

    def __repr__(self) -> str:
        return f"<Conversation {self.interim}{self.answers} sent {self.sent} ended {self.ended!r} {self.seconds:.3f} s>"


def read_answer(data: bytes, at: int, ended: bool, head: bool) -> tuple[Answer, int] | None:
    """The answer that begins at *at* and where it ends; None while it is not whole. Raises ``ValueError`` for bytes
    that are no answer."""
    if data[at : at + 9] not in (b"HTTP/1.1 ", b"HTTP/1.0 ")[: 2 if len(data) >= at + 9 else 0]:
        if len(data) < at + 9:
            return None
        raise ValueError(f"this is no answer: {data[at : at + 80]!r}")
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return None
    lines = data[at:end].decode("latin-1").split("\r\n")
    status = int(lines[0][9:12])
    fields = [(n.lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines[1:])]
    index = dict(fields)
    at = end + 4
    if status < 200 or status in (204, 304) or head:
        return Answer(status, fields, b"", True), at
    if index.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while True:
            line = data.find(b"\r\n", at)
            if line < 0:
                break
            size = int(data[at:line].split(b";")[0], 16)
            at = line + 2
            if size == 0:
                stop = data.find(b"\r\n", at)
                while stop > at:
                    at = stop + 2
                    stop = data.find(b"\r\n", at)
                if stop < 0:
                    break
                return Answer(status, fields, body, True), stop + 2
            if len(data) < at + size + 2:
                break
            body += data[at : at + size]
            at += size + 2
        return (Answer(status, fields, body, False), len(data)) if ended else None
    if "content-length" in index:
        length = int(index["content-length"])
        if len(data) >= at + length:
            return Answer(status, fields, data[at : at + length], True), at + length
        return (Answer(status, fields, data[at:], False), len(data)) if ended else None
    return (Answer(status, fields, data[at:], True), len(data)) if ended else None


class Line:
    """One connection to the gateway, by hand."""

    def __init__(self, port: int, source: str = "127.0.0.1", receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(5)
        self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))
        self.data = b""
        self.at = 0
        self.ended = ""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, timeout: float = 5.0, head: bool = False) -> Answer:
        """The next answer, interim ones included. Raises ``TimeoutError`` or ``ConnectionError``."""
        until = time.monotonic() + timeout
        while True:
            found = read_answer(self.data, self.at, bool(self.ended), head)
            if found is not None:
                self.at = found[1]
                return found[0]
            if self.ended:
                raise ConnectionError(f"ended by {self.ended} after {self.data[self.at :][:200]!r}")
            self.socket.settimeout(max(0.001, until - time.monotonic()))
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionError:
                self.ended = "rst"
                continue
            if not data:
                self.ended = "fin"
            self.data += data

    def finished(self, timeout: float) -> bool:
        """Whether the other side ends within *timeout*; nothing more may come before."""
        self.socket.settimeout(max(timeout, 0.001))
        try:
            return self.socket.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def talk(
    port: int, data: bytes, expect: int = 0, timeout: float = 5.0, source: str = "127.0.0.1", fin: bool = False,
    heads: tuple[int, ...] = (),
) -> Conversation:  # fmt: skip
    """Send *data* on a new connection while reading, until the other side ends or *expect* final answers have come.

    With *expect* a FIN is then sent and the rest read to its end, so that an answer too many is always seen. *heads*
    are the numbers of answers to HEAD.
    """
    c = Conversation()
    begun = time.monotonic()
    until = begun + timeout
    with Line(port, source) as line:
        sock = line.socket
        sock.setblocking(False)
        waiting = memoryview(data)
        said_end = False
        at = 0
        # Not select(): a case that holds a thousand connections open is past what that can count.
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if data else 0))
        while time.monotonic() < until:
            if not waiting and fin and not said_end:
                said_end = True
                sock.shutdown(socket.SHUT_WR)
            events = sum(event for _, event in poll.poll(250))
            if events & select.POLLOUT:
                try:
                    sent = sock.send(waiting[: 1 << 18])
                    waiting = waiting[sent:]
                    c.sent += sent
                except BlockingIOError:
                    pass
                except OSError:
                    waiting = waiting[len(waiting) :]
                if not waiting:
                    poll.modify(sock, select.POLLIN)
            if events & ~select.POLLOUT:
                try:
                    got = sock.recv(1 << 18)
                except ConnectionError:
                    c.ended = "rst"
                    break
                if not got:
                    c.ended = "fin"
                    break
                c.data += got
                while (found := read_answer(c.data, at, False, len(c.answers) in heads)) is not None:
                    answer, at = found
                    (c.interim if answer.status < 200 else c.answers).append(answer)
                if expect and len(c.answers) >= expect and not said_end:
                    said_end = True
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_WR)
        c.seconds = time.monotonic() - begun
        if at < len(c.data) and (found := read_answer(c.data, at, True, False)) is not None:
            c.answers.append(found[0])
    return c


def request(
    port: int, method: str = "GET", target: str = "/echo", fields: Iterable[tuple[str, str]] = (), body: bytes | None = None,
    timeout: float = 10.0, source: str = "127.0.0.1",
) -> Answer:  # fmt: skip
    """One ordinary request on a connection of its own; the final answer."""
    head = f"{method} {target} HTTP/1.1\r\nHost: gw\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields)
    if body is not None:
        head += f"Content-Length: {len(body)}\r\n"
    c = talk(
        port,
        head.encode("latin-1") + b"\r\n" + (body or b""),
        1,
        timeout,
        source,
        heads=(0,) if method == "HEAD" else (),
    )
    if not c.answers:
        raise TimeoutError(f"no answer to {method} {target[:80]}: {c}")
    return c.answers[0]


class Tally:
    """What came of a load: one entry a call, in no order."""

    def __init__(self) -> None:
        self.entries: list[tuple[float, float, int, str]] = []
        """(when it should have begun, seconds from then to the answer, status or 0, code or how it failed)"""
        self.offered = 0

    def statuses(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for _, _, status, _ in self.entries:
            found[status] = found.get(status, 0) + 1
        return found

    def share(self, status: int) -> float:
        return self.statuses().get(status, 0) / max(1, len(self.entries))

    def quantile(self, q: float, status: int = 0) -> float:
        times = sorted(t for _, t, s, _ in self.entries if not status or s == status)
        return times[min(len(times) - 1, int(q * len(times)))] if times else 0.0

    def failures(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for _, _, status, how in self.entries:
            if status != 200:
                found[f"{status} {how}"] = found.get(f"{status} {how}", 0) + 1
        return found

    def __repr__(self) -> str:
        return (f"<Tally of {len(self.entries)}/{self.offered}: {self.statuses()} p50 {self.quantile(0.5) * 1e3:.1f} ms"
                f" p99 {self.quantile(0.99) * 1e3:.1f} ms {self.failures()}>")  # fmt: skip


class Load:
    """Open-loop traffic on a thread of its own: constant arrivals, latency counted from the intended time.

    Connections are kept and used one request at a time; a busy moment opens more, up to *most*. ``make(i)`` gives the
    bytes of the i-th request.
    """

    def __init__(
        self, port: int, make: Callable[[int], bytes], rate: float, seconds: float, most: int = 64,
        source: str = "127.0.0.1", patience: float = 10.0, fresh: bool = False,
    ) -> None:  # fmt: skip
        self.port = port
        self.make = make
        self.rate = rate
        self.seconds = seconds
        self.most = most
        self.source = source
        self.patience = patience
        self.fresh = fresh
        self.tally = Tally()
        self.stopped = False
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Load:
        self.thread.start()
        return self

    def stop(self) -> Tally:
        """No new calls; wait for those under way."""
        self.stopped = True
        return self.wait()

    def wait(self) -> Tally:
        self.thread.join(self.seconds + self.patience + 30)
        assert not self.thread.is_alive()
        return self.tally

    def run(self) -> Tally:
        return self.start().wait()

    def _open(self) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        sock.bind((self.source, 0))
        sock.connect_ex(("127.0.0.1", self.port))
        return sock

    def _run(self) -> None:
        tally = self.tally
        poll = select.epoll()
        begun = time.monotonic()
        total = int(self.rate * self.seconds)
        busy: dict[int, list[Any]] = {}  # fd: [socket, due, request, received]
        idle: list[socket.socket] = []
        backlog: list[tuple[float, bytes]] = []
        made = 0

        def settle(fd: int, status: int, how: str, keep: bool) -> None:
            sock, due, _, _ = busy.pop(fd)
            tally.entries.append((due, time.monotonic() - due, status, how))
            poll.unregister(fd)
            if keep and not self.fresh:
                idle.append(sock)
            else:
                sock.close()

        while True:
            now = time.monotonic()
            while made < total and not self.stopped and begun + made / self.rate <= now:
                backlog.append((begun + made / self.rate, self.make(made)))
                made += 1
                tally.offered += 1
            while backlog and len(busy) < self.most:
                due, data = backlog.pop(0)
                sock = idle.pop() if idle else self._open()
                busy[sock.fileno()] = [sock, due, data, b""]
                poll.register(sock.fileno(), select.EPOLLOUT)
            if (made >= total or self.stopped) and not busy and not backlog:
                break
            pause = 0.05 if made >= total or self.stopped else max(0.0, begun + made / self.rate - time.monotonic())
            for fd, event in poll.poll(min(pause, 0.05)):
                entry = busy.get(fd)
                if entry is None:
                    continue
                sock = entry[0]
                if event & select.EPOLLOUT:
                    try:
                        sent = sock.send(entry[2])
                    except BlockingIOError:
                        continue
                    except OSError as error:
                        settle(fd, 0, type(error).__name__, False)
                        continue
                    entry[2] = entry[2][sent:]
                    if not entry[2]:
                        poll.modify(fd, select.EPOLLIN)
                    continue
                try:
                    got = sock.recv(1 << 16)
                except BlockingIOError:
                    continue
                except OSError as error:
                    settle(fd, 0, type(error).__name__, False)
                    continue
                entry[3] += got
                try:
                    found = read_answer(entry[3], 0, not got, False)
                except ValueError:
                    settle(fd, 0, "no answer", False)
                    continue
                if found is not None:
                    answer = found[0]
                    keep = bool(got) and answer.get("connection").lower() != "close" and answer.whole
                    how = "" if answer.status == 200 else answer.code
                    settle(fd, answer.status if answer.whole else 0, how if answer.whole else "cut", keep)
                elif not got:
                    settle(fd, 0, "fin", False)
            if busy:
                now = time.monotonic()
                for fd in [fd for fd, entry in busy.items() if now - entry[1] > self.patience]:
                    settle(fd, 0, "no answer in time", False)
        for sock in idle:
            sock.close()
        poll.close()
