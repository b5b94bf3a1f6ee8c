"""Who is left alone for a while after failing, and until when (LLM 9).

A key names what failed: a credential, a credential with a model, a provider with a model, or a target. It cools for
what the vendor said, else for one second, doubling up to the model's ``cooldown``. After that it is half open: one call
goes through, and its end decides.
"""

from __future__ import annotations

from collections import deque
from typing import Final

FIRST: Final = 1.0
KEYS: Final = 4096

FAILURES: Final = 3
WITHIN: Final = 30.0
"""A target cools after so many failures in so many seconds ..."""
OUTCOMES: Final = 20
SHARE: Final = 0.5
"""... or when more than this share of its last calls failed."""

NEVER: Final = -1.0


class Cooling:
    """One key. ``until``: when it may be called again; ``step``: how long it cools next time; ``probing``: its one call
    is under way; ``failed_at`` and ``outcomes``: what counts towards a target's rest."""

    __slots__ = ("failed_at", "outcomes", "probing", "step", "until")

    def __init__(self) -> None:
        self.until = NEVER
        self.step = FIRST
        self.probing = False
        self.failed_at: deque[float] = deque(maxlen=FAILURES)
        self.outcomes: deque[bool] = deque(maxlen=OUTCOMES)


class Cooldowns:
    """Of one worker. Mutable state: ``keys``."""

    __slots__ = ("keys",)

    def __init__(self) -> None:
        self.keys: dict[str, Cooling] = {}

    def ready_in(self, key: str, now: float) -> float:
        """Seconds until *key* may be called: 0.0 for now. A half-open key whose one call is under way: as long as it
        rested last."""
        cooling = self.keys.get(key)
        if cooling is None or cooling.until == NEVER:
            return 0.0
        if now < cooling.until:
            return cooling.until - now
        return cooling.step if cooling.probing else 0.0

    def called(self, key: str, now: float) -> bool:
        """A call of *key* begins. True when it is the one call of a half-open key: exactly one of ``failed``,
        ``succeeded`` and ``withdrawn`` ends it."""
        cooling = self.keys.get(key)
        if cooling is None or cooling.until == NEVER or now < cooling.until or cooling.probing:
            return False
        cooling.probing = True
        return True

    def withdrawn(self, key: str) -> None:
        """The call was broken off by us: it says nothing."""
        cooling = self.keys.get(key)
        if cooling is not None:
            cooling.probing = False

    def succeeded(self, key: str) -> None:
        """It answered."""
        cooling = self.keys.get(key)
        if cooling is not None:
            cooling.until = NEVER
            cooling.step = FIRST
            cooling.probing = False
            cooling.outcomes.append(True)
            cooling.failed_at.clear()

    def slow(self, key: str, now: float, seconds: float) -> None:
        """It answered, but said that it has no room for *seconds* to come: no failure, and its steps do not grow."""
        cooling = self.keys.get(key)
        if cooling is None:
            if len(self.keys) >= KEYS:
                self._forget(now)
            cooling = self.keys[key] = Cooling()
        cooling.until = max(cooling.until, now + seconds)

    def failed(self, key: str, now: float, *, delay: float, longest: float, at_once: bool) -> float:
        """It failed: seconds it rests, 0.0 for not yet. *delay*: what the vendor asked for, 0.0 for nothing; *longest*:
        the bound of our own steps; *at_once*: the first failure counts (all but a target's)."""
        cooling = self.keys.get(key)
        if cooling is None:
            if len(self.keys) >= KEYS:
                self._forget(now)
            cooling = self.keys[key] = Cooling()
        cooling.outcomes.append(False)
        cooling.failed_at.append(now)
        if not at_once and delay <= 0.0 and not cooling.probing and not self._too_many(cooling, now):
            return 0.0
        cooling.probing = False
        rest = delay if delay > 0.0 else min(cooling.step, longest)
        if now >= cooling.until:  # a call that had begun before the rest must not double it
            cooling.step = min(max(cooling.step * 2.0, FIRST), max(longest, FIRST))
        cooling.until = max(cooling.until, now + rest)
        return rest

    def _too_many(self, cooling: Cooling, now: float) -> bool:
        failed_at = cooling.failed_at
        if len(failed_at) == FAILURES and now - failed_at[0] <= WITHIN:
            return True
        outcomes = cooling.outcomes
        return len(outcomes) == OUTCOMES and outcomes.count(False) > SHARE * OUTCOMES

    def _forget(self, now: float) -> None:
        """Make room: what does not rest any more goes, else everything."""
        self.keys = {key: cooling for key, cooling in self.keys.items() if cooling.until > now}
        if len(self.keys) >= KEYS:
            self.keys = {}

    def explain(self, now: float) -> dict[str, float]:
        """Key -> seconds it still rests."""
        return {key: round(c.until - now, 3) for key, c in self.keys.items() if c.until > now}
