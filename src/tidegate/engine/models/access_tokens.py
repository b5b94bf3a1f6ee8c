"""Access tokens as one worker knows them: what control pushed, each for its life (LLM 8). They are in memory alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

ASK_EVERY: Final = 1.0
"""Seconds between two messages to control about one token."""
MARGIN: Final = 5.0
"""Seconds before its end from which a token is not used: a call is on its way for a while."""


class AccessTokens:
    """Tokens by ``provider|credential id``. It outlives generations: a token that nobody names any more ends by itself.

    now    monotonic seconds
    send   puts "this token is missing", or "was refused", on the link to control
    """

    def __init__(self, now: Callable[[], float], send: Callable[[str, bool], None]) -> None:
        self._now = now
        self._send = send
        self._held: dict[str, tuple[str, float]] = {}
        self._asked: dict[str, float] = {}
        self.renewed: Callable[[str], None] = _nobody
        """Told the key of a token that is another than the one before: who rests because of that may be asked again."""

    def put(self, key: str, value: str, life: float) -> None:
        """Control fetched *value*; it has *life* seconds left."""
        before = self._held.get(key)
        now = self._now()
        self._held = {each: held for each, held in self._held.items() if held[1] > now}
        self._held[key] = (value, now + life)
        self._asked.pop(key, None)
        if before is None or before[0] != value:
            self.renewed(key)

    def get(self, key: str) -> str:
        """The token, "" when there is none that lives: then control is asked."""
        held = self._held.get(key)
        if held is not None and self._now() < held[1] - MARGIN:
            return held[0]
        self._ask(key, False)
        return ""

    def refused(self, key: str) -> None:
        """A provider did not take the token."""
        self._ask(key, True)

    def _ask(self, key: str, refused: bool) -> None:
        now = self._now()
        asked_at = self._asked.get(key)
        if asked_at is None or now - asked_at >= ASK_EVERY:
            self._asked[key] = now
            self._send(key, refused)


def _nobody(key: str) -> None:
    """Where nobody rests."""
