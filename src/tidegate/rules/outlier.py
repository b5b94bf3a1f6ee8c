"""Passive health: which endpoint of an upstream stands out by its answers (S12.6), and for how long it goes (S12.7).

Counting is a few integers per answer; everything else happens in one sweep each second.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Final, NamedTuple, Protocol

SECONDS: Final = 10
"""The window of the rate detectors, in sweeps of one second."""
RATE_ENDPOINTS: Final = 5
RATE_VOLUME: Final = 100
SLOW_ENDPOINTS: Final = 5
SLOW_VOLUME: Final = 20
SLOW_FACTOR: Final = 3.0
SLOW_MARGIN: Final = 0.05
JITTER: Final = 1.0
GOLDEN: Final = 0.6180339887498949
"""Spreads one draw over several ejections of one sweep."""

CONNECT: Final = 1
GATEWAY: Final = 2
SERVER_ERROR: Final = 3
SHARE: Final = 4
RATE: Final = 5
SLOW: Final = 6
BREAKER: Final = 7
REASONS: Final = (
    "", "connect_failures", "gateway_failures", "server_errors", "failure_share", "success_rate", "slow", "breaker",
)  # fmt: skip


class OutlierSettings(Protocol):
    """What is read of an ``OutlierPlan``."""

    @property
    def enabled(self) -> bool: ...
    @property
    def consecutive_gateway(self) -> int: ...
    @property
    def consecutive_5xx(self) -> int: ...
    @property
    def failure_share(self) -> float: ...
    @property
    def failure_volume(self) -> int: ...
    @property
    def stdev_factor(self) -> float: ...
    @property
    def eject_for(self) -> float: ...
    @property
    def max_eject_for(self) -> float: ...
    @property
    def max_ejected(self) -> float: ...


class Observed:
    """What is known of one endpoint by its answers.

    Since the last sweep: ``good``, ``bad``, ``seconds`` (of ``timed`` answers). Runs in a row: ``connect_run``,
    ``gateway_run``, ``error_run``; ``tripped``: the detector a run has set off. Window: ``goods bads sums counts``, one
    entry a second. Ejection: ``until`` (0.0: not ejected) since ``start`` for ``reason``; ``times`` in a row;
    ``good_since``, from when the row of good time counts. ``usable``: nothing else speaks against it (set by the owner
    before a sweep); ``tier``: its priority.
    """

    __slots__ = (
        "bad", "bads", "connect_run", "counts", "error_run", "gateway_run", "good", "good_since", "goods", "key",
        "reason", "seconds", "start", "sums", "tier", "timed", "times", "tripped", "until", "usable",
    )  # fmt: skip

    def __init__(self, key: str, tier: int = 0) -> None:
        self.key = key
        self.tier = tier
        self.usable = True
        self.good = 0
        self.bad = 0
        self.seconds = 0.0
        self.timed = 0
        self.connect_run = 0
        self.gateway_run = 0
        self.error_run = 0
        self.tripped = 0
        self.goods: list[int] = []
        self.bads: list[int] = []
        self.sums: list[float] = []
        self.counts: list[int] = []
        self.until = 0.0
        self.start = 0.0
        self.reason = 0
        self.times = 0
        self.good_since = 0.0

    def forget(self) -> None:
        """Begin to observe anew (after an ejection)."""
        self.good = self.bad = self.timed = self.tripped = 0
        self.seconds = 0.0
        self.connect_run = self.gateway_run = self.error_run = 0
        self.goods.clear()
        self.bads.clear()
        self.sums.clear()
        self.counts.clear()


class Ejection(NamedTuple):
    """One endpoint to leave out until ``until``."""

    key: str
    reason: int
    start: float
    seconds: float
    times: int


class Outlier:
    """The five detectors of one upstream."""

    def __init__(self, plan: OutlierSettings) -> None:
        self.enabled: bool = plan.enabled
        self.consecutive_gateway: int = plan.consecutive_gateway
        self.consecutive_5xx: int = plan.consecutive_5xx
        self.failure_share: float = plan.failure_share
        self.failure_volume: int = plan.failure_volume
        self.stdev_factor: float = plan.stdev_factor
        self.eject_for: float = plan.eject_for
        self.max_eject_for: float = plan.max_eject_for
        self.max_ejected: float = plan.max_ejected

    # -- one answer ----------------------------------------------------------------------------------------------

    def good(self, seen: Observed, seconds: float) -> None:
        """An answer under 400 came after *seconds*."""
        seen.good += 1
        seen.seconds += seconds
        seen.timed += 1
        if seen.error_run:
            seen.connect_run = seen.gateway_run = seen.error_run = 0

    def server_error(self, seen: Observed, seconds: float) -> None:
        """A 5xx that is not 502, 503 or 504."""
        seen.bad += 1
        seen.seconds += seconds
        seen.timed += 1
        seen.connect_run = seen.gateway_run = 0
        seen.error_run += 1
        if seen.error_run >= self.consecutive_5xx and seen.tripped == 0:
            seen.tripped = SERVER_ERROR

    def gateway_failure(self, seen: Observed, connect: bool) -> None:
        """No usable answer: connect failure (*connect*), reset, timeout, 502, 503, 504."""
        seen.bad += 1
        seen.error_run += 1
        seen.gateway_run += 1
        seen.connect_run = seen.connect_run + 1 if connect else 0
        if seen.tripped:
            return
        if seen.gateway_run >= self.consecutive_gateway:
            seen.tripped = CONNECT if seen.connect_run >= self.consecutive_gateway else GATEWAY
        elif seen.error_run >= self.consecutive_5xx:
            seen.tripped = SERVER_ERROR

    # -- each second ---------------------------------------------------------------------------------------------

    def sweep(self, now: float, observed: Sequence[Observed], draw: float) -> list[Ejection]:
        """End ejections whose time is over, let ``times`` fall, and eject who stands out now. Marks the endpoints
        itself and returns the new ejections. *draw* in [0, 1)."""
        for seen in observed:
            self._roll(seen, now)
        if not self.enabled:
            return []
        suspects = self._suspects(observed)
        ejections: list[Ejection] = []
        for seen, reason in suspects:
            if not self.room(observed, seen):
                seen.tripped = 0
                continue
            ejections.append(self.eject(seen, reason, now, draw))
            draw = (draw + GOLDEN) % 1.0
        return ejections

    def act(self, seen: Observed, observed: Sequence[Observed], now: float) -> Ejection | None:
        """A run of failures has just tripped *seen*: eject it at once instead of at the next sweep, if there is room.
        Where there is none the run begins anew, so that asking again costs another run."""
        if not self.enabled or seen.until:
            return None
        if self.room(observed, seen):
            return self.eject(seen, seen.tripped, now, 0.0)
        seen.tripped = seen.connect_run = seen.gateway_run = seen.error_run = 0
        return None

    def _roll(self, seen: Observed, now: float) -> None:
        seen.goods.append(seen.good)
        seen.bads.append(seen.bad)
        seen.sums.append(seen.seconds)
        seen.counts.append(seen.timed)
        if len(seen.goods) > SECONDS:
            del seen.goods[0], seen.bads[0], seen.sums[0], seen.counts[0]
        seen.good = seen.bad = seen.timed = 0
        seen.seconds = 0.0
        if seen.until and now >= seen.until:
            self.restore(seen, seen.until)
        if seen.times and not seen.until:
            while seen.times and now - seen.good_since >= self.eject_for:
                seen.times -= 1
                seen.good_since += self.eject_for

    def _suspects(self, observed: Sequence[Observed]) -> list[tuple[Observed, int]]:
        """Who stands out and by which detector, the surest first."""
        present = [seen for seen in observed if not seen.until]
        found: dict[str, tuple[Observed, int]] = {}
        for seen in present:
            if seen.tripped:
                found[seen.key] = (seen, seen.tripped)
                continue
            bad, good = sum(seen.bads), sum(seen.goods)
            if bad + good >= self.failure_volume and bad * 100.0 >= self.failure_share * (bad + good):
                found[seen.key] = (seen, SHARE)
        for seen in self._unlucky(present):
            found.setdefault(seen.key, (seen, RATE))
        for seen in self._slow(present):
            found.setdefault(seen.key, (seen, SLOW))
        return sorted(found.values(), key=_sureness)

    def _unlucky(self, present: list[Observed]) -> list[Observed]:
        """Success rate under the mean less ``stdev_factor`` standard deviations."""
        rated: list[tuple[float, Observed]] = []
        for seen in present:
            good, bad = sum(seen.goods), sum(seen.bads)
            if good + bad >= RATE_VOLUME:
                rated.append((good / (good + bad), seen))
        if len(rated) < RATE_ENDPOINTS:
            return []
        mean = sum(rate for rate, _ in rated) / len(rated)
        spread = sqrt(sum((rate - mean) ** 2 for rate, _ in rated) / len(rated))
        return [seen for rate, seen in rated if rate < mean - self.stdev_factor * spread]

    def _slow(self, present: list[Observed]) -> list[Observed]:
        """Average over three times the pool's median and more than 50 ms over it."""
        timed: list[tuple[float, Observed]] = []
        for seen in present:
            count = sum(seen.counts)
            if count >= SLOW_VOLUME:
                timed.append((sum(seen.sums) / count, seen))
        if len(timed) < SLOW_ENDPOINTS:
            return []
        averages = sorted(average for average, _ in timed)
        half = len(averages) // 2
        median = averages[half] if len(averages) % 2 else (averages[half - 1] + averages[half]) / 2.0
        return [seen for average, seen in timed if average > SLOW_FACTOR * median and average - median > SLOW_MARGIN]

    # -- in and out ----------------------------------------------------------------------------------------------

    def room(self, observed: Sequence[Observed], candidate: Observed) -> bool:
        """May *candidate* go: at most max(1, ``max_ejected`` %) of its tier, never the last usable one (S12.7)."""
        if candidate.until or not candidate.usable:
            return False
        size = out = left = 0
        for seen in observed:
            if seen.tier == candidate.tier:
                size += 1
                out += 1 if seen.until else 0
            if seen.usable and not seen.until and seen is not candidate:
                left += 1
        return left > 0 and out < max(1, int(size * self.max_ejected / 100.0))

    def eject(self, seen: Observed, reason: int, now: float, draw: float) -> Ejection:
        """Leave *seen* out for ``eject_for`` times the ejections in a row, capped, and up to 1 s more by *draw*."""
        seen.times += 1
        seconds = min(self.eject_for * seen.times, self.max_eject_for) + JITTER * draw
        seen.start = now
        seen.until = now + seconds
        seen.reason = reason
        seen.forget()
        return Ejection(seen.key, reason, now, seconds, seen.times)

    def restore(self, seen: Observed, when: float) -> None:
        """Let *seen* take part again from *when*."""
        seen.until = 0.0
        seen.reason = 0
        seen.good_since = when
        seen.forget()

    def probed_well(self, seen: Observed, passes: int, rise: int, now: float) -> bool:
        """*passes* probes passed since the ejection. ``rise`` of them end one for connection faults; a probe says
        nothing about errors or slowness (S12.7). True when *seen* is back."""
        if not seen.until or seen.reason != CONNECT or passes < rise:
            return False
        self.restore(seen, now)
        return True


def _sureness(found: tuple[Observed, int]) -> tuple[int, str]:
    return found[1], found[0].key
