"""The line between the supervisor and one child: small msgpack messages, with listening sockets beside them.

A pair of ``SOCK_SEQPACKET`` sockets made before the fork. Messages keep their bounds, descriptors travel with the
message that names them, and either end reads its end of file when the other process is gone: that is how a child
learns that the supervisor died, and no signal is needed for it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

LONGEST: Final = 64 * 1024
"""Bytes of one message: the longest names 250 listeners, at most 256 bytes each."""
MOST_SOCKETS: Final = 250
"""Descriptors one message can carry (the kernel takes 253)."""


class Parcel(NamedTuple):
    """One message and the descriptors that came with it."""

    message: dict[str, Any]
    fds: list[int]


class Channel:
    """One end. Sends never block; a peer that does not read its few messages is as good as gone."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        end.setblocking(False)

    def fileno(self) -> int:
        return self.end.fileno()

    def send(self, kind: str, fds: Sequence[int] = (), /, **fields: object) -> bool:
        """Send ``{"kind": kind, **fields}`` and with it *fds*; False when the peer is gone or has stopped reading."""
        data = msgspec.msgpack.encode({"kind": kind, **fields})
        if len(data) > LONGEST or len(fds) > MOST_SOCKETS:
            raise ValueError(f"a {kind} message is too large for the channel")
        try:
            if fds:
                socket.send_fds(self.end, [data], list(fds))
            else:
                self.end.send(data)
        except OSError:
            return False
        return True

    def receive(self) -> Parcel | None:
        """The next message, or None when none waits. Raises ``EOFError`` when the peer is gone."""
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.end, LONGEST, MOST_SOCKETS)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError as error:
                raise EOFError("the channel is broken") from error
            if not data:
                raise EOFError("the peer has gone")
            for fd in fds:
                os.set_inheritable(fd, False)
            try:
                message = msgspec.msgpack.decode(data, type=dict[str, Any])
            except msgspec.DecodeError:
                message = {}
            if isinstance(message.get("kind"), str):
                return Parcel(message, fds)
            for fd in fds:
                os.close(fd)

    def close(self) -> None:
        self.end.close()


def pair() -> tuple[Channel, Channel]:
    """Two ends that know each other; close the one that is not yours after the fork."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours), Channel(theirs)
