"""The order law of an answer as it comes (LLM 3), as a checker: every test of a reader runs it."""

from __future__ import annotations

from tidegate.exchange.chat import (
    ChatDelta,
    Cite,
    Close,
    End,
    Failed,
    Open,
    Piece,
    Ping,
    Sign,
    Start,
    Stopped,
)


class OrderChecker:
    """Mutable state: ``begun``, ``failed``, ``ended``; per choice the parts opened and those still open; the choices
    that have stopped."""

    def __init__(self) -> None:
        self.begun = False
        self.failed = False
        self.ended = False
        self.opened: dict[int, int] = {}
        self.open: set[tuple[int, int]] = set()
        self.stopped: set[int] = set()

    def check(self, delta: ChatDelta) -> None:
        """Raises ``ValueError`` with the clause that *delta* breaks."""
        if self.ended:
            raise ValueError(f"{delta!r} comes after End")
        if isinstance(delta, End):
            if self.open and not self.failed:
                raise ValueError(f"End comes while {sorted(self.open)} are open")
            self.ended = True
            return
        if self.failed:
            raise ValueError(f"{delta!r} comes after Failed")
        if isinstance(delta, Failed):
            self.failed = True
            return
        if isinstance(delta, Ping):
            return
        if isinstance(delta, Start):
            if self.begun:
                raise ValueError("Start comes twice")
            self.begun = True
            return
        if not self.begun:
            raise ValueError(f"{delta!r} comes before Start")
        if isinstance(delta, Open):
            if delta.choice in self.stopped:
                raise ValueError(f"{delta!r} opens a part of a choice that has stopped")
            if delta.part != self.opened.get(delta.choice, 0):
                raise ValueError(f"{delta!r} is not the next part of its choice")
            self.opened[delta.choice] = delta.part + 1
            self.open.add((delta.choice, delta.part))
        elif isinstance(delta, (Piece, Sign, Cite, Close)):
            place = (delta.choice, delta.part)
            if place not in self.open:
                raise ValueError(f"{delta!r} is about a part that is not open")
            if isinstance(delta, Close):
                self.open.remove(place)
        elif isinstance(delta, Stopped):
            if delta.choice in self.stopped:
                raise ValueError(f"choice {delta.choice} stops twice")
            if any(choice == delta.choice for choice, _ in self.open):
                raise ValueError(f"choice {delta.choice} stops with open parts")
            self.stopped.add(delta.choice)


def check_order(deltas: list[ChatDelta]) -> None:
    """A whole answer: *deltas* keep the law and end with ``End``."""
    checker = OrderChecker()
    for delta in deltas:
        checker.check(delta)
    if not checker.ended:
        raise ValueError("no End")
