"""Counting tokens in a process of its own, which lives as long as there is something to count.

Building a tokenizer takes half a second and 75 MB, and a fifth of a second of that lets nothing else run: no worker
does it. The first count starts the child; it leaves after minutes without one, or when its worker goes, and the next
count starts another. A frame is a length, the tokenizer's name, a line feed and text in UTF-8; the answer is a
number.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from threading import Lock
from typing import IO, Final

from tidegate.assembly.ranks import RankedTokens, estimate

IDLE: Final = 300.0
"""Seconds without a count after which the child leaves."""
NICE: Final = 5
"""Traffic goes before counts."""
PATIENCE: Final = 10.0
"""Seconds a child may be silent: building a tokenizer on a busy machine takes two. Then it is ended."""
REST: Final = 30.0
"""Seconds without a child after one that could not be had."""
LONGEST: Final = 16 << 20
"""Bytes of a text that the child takes; more is a defect of ours."""

_SIZE: Final = struct.Struct(">I")
_TOKENS: Final = struct.Struct(">Q")


class TokenChild:
    """``ports/tokens.Tokens``. Calls wait for each other, so one thread is enough. *report* hears once that counts
    cannot be had, and estimates take their place for a while. Mutable state: the child, if there is one; ``_away``,
    until when none is tried."""

    def __init__(
        self,
        report: Callable[[BaseException], None],
        command: tuple[str, ...] = (),
        now: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
    ) -> None:
        self._report = report
        self._now = now
        self._patience = patience
        self._away = 0.0
        self._command = command or (sys.executable, "-P", "-m", "tidegate.control.token_child")
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = Lock()
        self._reported = False

    def count(self, text: str, tokenizer: str = "") -> int:
        frame = tokenizer.encode() + b"\n" + text.encode("utf-8", "surrogatepass")
        with self._lock:
            if self._now() < self._away:
                return estimate(text)
            for _ in range(2):  # one that has left is found when it is asked
                try:
                    return self._ask(frame)
                except (OSError, EOFError) as error:
                    trouble = error
                    self._end()
                    if isinstance(error, TimeoutError):
                        break
            self._away = self._now() + REST
            if not self._reported:
                self._reported = True
                self._report(trouble)
        return estimate(text)

    def _ask(self, frame: bytes) -> int:
        child = self._child
        if child is None:
            child = self._child = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
            assert child.stdin is not None
            os.set_blocking(child.stdin.fileno(), False)
        assert child.stdin is not None and child.stdout is not None
        waiting = memoryview(_SIZE.pack(len(frame)) + frame)
        while waiting:
            self._until(child.stdin, select.POLLOUT)
            waiting = waiting[child.stdin.write(waiting) or 0 :]
        self._until(child.stdout, select.POLLIN)
        tokens: int = _TOKENS.unpack(taken(child.stdout, _TOKENS.size))[0]
        return tokens

    def _until(self, pipe: IO[bytes], event: int) -> None:
        """Wait until *pipe* is ready. Raises ``TimeoutError``."""
        poll = select.poll()
        poll.register(pipe, event)
        if not poll.poll(self._patience * 1000):
            raise TimeoutError("the counting process does not answer")

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()

    def close(self) -> None:
        """The worker leaves: the child does too."""
        with self._lock:
            self._end()


def taken(pipe: IO[bytes], size: int) -> bytes:
    """Exactly *size* bytes. Raises ``EOFError``."""
    found = b""
    while len(found) < size:
        more = pipe.read(size - len(found))
        if not more:
            raise EOFError("the counting process has left")
        found += more
    return found


def serve(reading: IO[bytes], writing: IO[bytes], tokens: RankedTokens, idle: float = IDLE) -> None:
    """Answer until the other end leaves or nothing has been asked for *idle* seconds."""
    while select.select([reading], [], [], idle)[0]:
        try:
            (size,) = _SIZE.unpack(taken(reading, _SIZE.size))
            if size > LONGEST:
                return
            name, _, text = taken(reading, size).partition(b"\n")
            found = tokens.count(text.decode("utf-8", "surrogatepass"), name.decode())
            writing.write(_TOKENS.pack(found))
        except (EOFError, BrokenPipeError):
            return


def main() -> None:
    """The child's life. A terminal's Ctrl-C is for the gateway, which ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    with open(0, "rb", buffering=0) as reading, open(1, "wb", buffering=0) as writing:
        serve(reading, writing, RankedTokens(lambda error: print(f"tidegate: {error}", file=sys.stderr)))


if __name__ == "__main__":
    main()
