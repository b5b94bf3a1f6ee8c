"""How many new requests a loop that cannot keep up lets in, and which (S22.9, decision 14).

Two questions, two measures. *Is this overload?* Only if the loop has been late by more than ``LAG`` without a break
for ``PERSISTS`` and ``LATE_TICKS``: one long step, a burst, many clients that each wait for their answer are not. *How
much fits?* A rate of admissions, steered so that the loop is late by ``TARGET`` on average: a short queue, and a core
that never rests. The rate is shared among the levels as places in a queue are (S22.1), so every level moves.
"""

from __future__ import annotations

from typing import Final

LEVELS: Final = 4
WEIGHTS: Final = (8.0, 4.0, 2.0, 1.0)

CALM: Final = 0
WATCHING: Final = 1
SHEDDING: Final = 2

ADMIT: Final = 0
REFUSE: Final = 1
HOLD: Final = 2

LAG: Final = 0.05
PERSISTS: Final = 0.15
LATE_TICKS: Final = 4
GROWING: Final = 0.3
"""Seconds without a tick in time after which it is overload, too: where each turn takes as many times longer as is
offered above the capacity, four ticks may take a minute."""

TARGET: Final = 0.004
"""Mean lateness to keep: about half of what one turn of the loop then takes."""

WINDOW: Final = 0.1
LEVEL_GAIN: Final = 0.06
TREND_GAIN: Final = 0.12
MOST_DOWN: Final = -0.3
MOST_UP: Final = 0.08
CLIMB: Final = 0.5
"""As long as the loop has never been late since shedding began: its first guess was too low."""

LEAST_RATE: Final = 20.0
BURST: Final = 0.01
"""Seconds of its rate that a level may save up."""

REFUSALS: Final = 8000.0
"""Refusals a second. Each costs some 20 us, so this is a sixth of a core; what comes beyond is held unanswered."""

REFUSAL_BURST: Final = 80.0
CALM_AFTER: Final = 1.0


class OverloadGate:
    """Mutable state: ``state``; while shedding ``rate`` (admissions a second), its ``shares`` and ``tokens`` by level,
    and what this window has seen. ``refused`` counts for metrics, by level."""

    __slots__ = (
        "asked", "began", "calm_since", "climbing", "lag", "late_sum", "late_ticks", "rate", "refilled", "refusals",
        "refused", "served", "shares", "state", "ticks", "tokens", "turned_away", "window_began",
    )  # fmt: skip

    def __init__(self) -> None:
        self.state: int = CALM
        self.began = 0.0
        self.late_ticks: int = 0
        self.served: int = 0
        """Exchanges that ended since the last look; counted by their connections while not calm."""
        self.rate = 0.0
        self.climbing = False
        self.lag = 0.0
        self.late_sum = 0.0
        self.ticks: int = 0
        self.window_began = 0.0
        self.calm_since = 0.0
        self.refilled = 0.0
        self.refusals = 0.0
        self.turned_away: int = 0
        self.asked: list[int] = [0] * LEVELS
        self.shares: list[float] = [0.0] * LEVELS
        self.tokens: list[float] = [0.0] * LEVELS
        self.refused: list[int] = [0] * LEVELS

    # -- time ------------------------------------------------------------------------------------------------------

    def tick(self, now: float, late: float) -> None:
        """A timer of the loop fired, *late* seconds of its own making after it was due. Each 10 ms; when calm only for
        late ones."""
        if self.state == SHEDDING:
            self.late_sum += late
            self.ticks += 1
            if now - self.window_began >= WINDOW:
                self._steer(now)
        elif late <= LAG:
            self.state = CALM
        elif self.state == CALM:
            self.state = WATCHING
            self.began = now
            self.late_ticks = 1
            self.served = 0
        else:
            self.late_ticks += 1
            if self.late_ticks >= LATE_TICKS and now - self.began >= PERSISTS:
                self._begin(now)

    def _begin(self, now: float) -> None:
        """From here on requests are turned away. What the loop just got through is the first guess at the rate."""
        self.state = SHEDDING
        self.rate = max(LEAST_RATE, self.served / (now - self.began))
        self.lag = LAG
        self.climbing = True
        self.shares = [self.rate] * LEVELS
        self.tokens = [0.0] * LEVELS
        self.refusals = REFUSAL_BURST
        self.refilled = now
        self.calm_since = now
        self._next_window(now)

    def _steer(self, now: float) -> None:
        """One step of a controller with a proportional and an integral part, as of RFC 8033, on the lateness."""
        seconds = now - self.window_began
        lag = self.late_sum / self.ticks
        change = (LEVEL_GAIN * (TARGET - lag) + TREND_GAIN * (self.lag - lag)) / TARGET
        self.lag = lag
        if self.turned_away:
            self.calm_since = now
            self.climbing = self.climbing and lag < TARGET
            if self.climbing:
                change = CLIMB
        elif now - self.calm_since >= CALM_AFTER and lag <= LAG:
            self.state = CALM
            return
        elif change > 0.0:
            change = 0.0  # everybody got in: a higher rate would be a guess
        most = CLIMB if self.climbing else MOST_UP
        self.rate = max(LEAST_RATE, self.rate * (1.0 + min(most, max(MOST_DOWN, change))))
        self.shares = divide(self.rate, [count / seconds for count in self.asked])
        self._next_window(now)

    def _next_window(self, now: float) -> None:
        self.window_began = now
        self.late_sum = 0.0
        self.ticks = 0
        self.turned_away = 0
        self.asked = [0] * LEVELS

    # -- requests --------------------------------------------------------------------------------------------------

    def judge(self, level: int, now: float) -> int:
        """May a request of *level* (0 critical ... 3 low) that has been read *now* begin? ``ADMIT`` it, ``REFUSE`` it,
        or ``HOLD`` it and ask again, because even refusing has become too much."""
        if self.state != SHEDDING:
            if self.state == CALM or now - self.began < GROWING:
                return ADMIT
            self._begin(now)
        self._refill(now)
        self.asked[level] += 1
        tokens = self.tokens
        if tokens[level] >= 1.0:
            tokens[level] -= 1.0
            return ADMIT
        self.turned_away += 1
        if self.refusals < 1.0:
            self.asked[level] -= 1  # it will be back
            return HOLD
        self.refusals -= 1.0
        self.refused[level] += 1
        return REFUSE

    def came_too_late(self, level: int) -> None:
        """An admitted request had waited too long already: it is refused, the next one may have its place."""
        self.tokens[level] += 1.0
        self.turned_away += 1
        self.refused[level] += 1

    def room(self, now: float) -> int:
        """How many of the held may be asked about again."""
        if self.state != SHEDDING:
            return int(REFUSAL_BURST)
        self._refill(now)
        return int(self.refusals)

    def _refill(self, now: float) -> None:
        passed = now - self.refilled
        if passed <= 0.0:
            return
        self.refilled = now
        self.refusals = min(REFUSAL_BURST, self.refusals + passed * REFUSALS)
        shares = self.shares
        tokens = self.tokens
        for level in range(LEVELS):
            share = shares[level]
            tokens[level] = min(max(1.0, share * BURST), tokens[level] + passed * share)


def divide(rate: float, wanted: list[float]) -> list[float]:
    """*rate* among the levels that want some: by weight, nobody more than it wants, and what is left over may be had by
    whoever comes next."""
    shares = [0.0] * LEVELS
    hungry = [level for level in range(LEVELS) if wanted[level] > 0.0]
    left = rate
    while hungry:
        weight = sum(WEIGHTS[level] for level in hungry)
        full = [level for level in hungry if wanted[level] <= left * WEIGHTS[level] / weight]
        if not full:
            for level in hungry:
                shares[level] = left * WEIGHTS[level] / weight
            left = 0.0
            break
        for level in full:
            shares[level] = wanted[level]
            left -= wanted[level]
        hungry = [level for level in hungry if level not in full]
    least = max(left, 1.0)
    return [max(share + left, least) for share in shares]
