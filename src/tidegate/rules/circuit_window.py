"""The circuit breaker as a value: results in, permission out (S13.1-S13.5, resilience4j's vocabulary).

Pure: time and chance are arguments. The engine owns where results are kept (one worker's memory or the rows of the
shared segment) by handing in its own :class:`Results`; the states are the same either way.
"""

from __future__ import annotations

from typing import Final, Protocol

CLOSED: Final = 0
HALF_OPEN: Final = 1
OPEN: Final = 2
FORCED_OPEN: Final = 3
DISABLED: Final = 4
METRICS_ONLY: Final = 5
STATES: Final = ("closed", "half_open", "open", "forced_open", "disabled", "metrics_only")
"""Names by number; the numbers are those of the metric ``breaker_state`` (S26.3)."""
MODES: Final = {"auto": CLOSED, "disabled": DISABLED, "forced_open": FORCED_OPEN, "metrics_only": METRICS_ONLY}

PERMITTED: Final = -1.0
HALF_OPEN_WAIT: Final = 1.0
"""Seconds asked of a caller while the half-open calls are out: nobody knows better, and a second is soon."""
JITTER: Final = 0.1


class BreakerSettings(Protocol):
    """What is read of a ``BreakerPlan`` (the Plan lives one floor up)."""

    @property
    def failure_rate(self) -> float: ...
    @property
    def slow_rate(self) -> float: ...
    @property
    def slow_after(self) -> float: ...
    @property
    def window(self) -> int: ...
    @property
    def window_type(self) -> str: ...
    @property
    def min_calls(self) -> int: ...
    @property
    def open_for(self) -> float: ...
    @property
    def half_open_calls(self) -> int: ...
    @property
    def half_open_for(self) -> float: ...
    @property
    def mode(self) -> str: ...


class Results:
    """Where results are kept. ``totals`` is (calls, failed, slow) of what is in the window at *now*."""

    __slots__ = ()

    def add(self, now: float, failed: bool, slow: bool) -> None:
        raise NotImplementedError

    def totals(self, now: float) -> tuple[int, int, int]:
        raise NotImplementedError

    def restart(self, now: float) -> None:
        """Forget what came before *now*."""
        raise NotImplementedError


class CountResults(Results):
    """The last *size* results."""

    __slots__ = ("at", "calls", "failed", "ring", "size", "slow")

    def __init__(self, size: int) -> None:
        self.size = max(1, size)
        self.ring = bytearray(self.size)
        self.at = 0
        self.calls = 0
        self.failed = 0
        self.slow = 0

    def add(self, now: float, failed: bool, slow: bool) -> None:
        at = self.at
        if self.calls == self.size:
            old = self.ring[at]
            self.failed -= old & 1
            self.slow -= old >> 1
        else:
            self.calls += 1
        self.ring[at] = (1 if failed else 0) | (2 if slow else 0)
        self.failed += 1 if failed else 0
        self.slow += 1 if slow else 0
        at += 1
        self.at = at if at < self.size else 0

    def totals(self, now: float) -> tuple[int, int, int]:
        return self.calls, self.failed, self.slow

    def restart(self, now: float) -> None:
        self.at = self.calls = self.failed = self.slow = 0

    def keep(self, old: CountResults) -> None:
        """Take over the newest results of a window of another size."""
        count = min(old.calls, old.size)
        for back in range(count, 0, -1):
            flags = old.ring[(old.at - back) % old.size]
            self.add(0.0, flags & 1 == 1, flags & 2 == 2)


class TimeResults(Results):
    """The results of the last *size* seconds, in buckets of one second; the running second is one of them."""

    __slots__ = ("buckets", "calls", "failed", "second", "size", "slow")

    def __init__(self, size: int) -> None:
        self.size = max(1, size)
        self.buckets: list[list[int]] = [[0, 0, 0] for _ in range(self.size)]
        self.second = 0
        self.calls = 0
        self.failed = 0
        self.slow = 0

    def _advance(self, now: float) -> None:
        second = int(now)
        steps = second - self.second
        if steps <= 0:
            return
        for step in range(1, min(steps, self.size) + 1):
            bucket = self.buckets[(self.second + step) % self.size]
            self.calls -= bucket[0]
            self.failed -= bucket[1]
            self.slow -= bucket[2]
            bucket[0] = bucket[1] = bucket[2] = 0
        if steps > self.size:
            self.restart(now)
        self.second = second

    def add(self, now: float, failed: bool, slow: bool) -> None:
        self._advance(now)
        bucket = self.buckets[self.second % self.size]
        bucket[0] += 1
        self.calls += 1
        if failed:
            bucket[1] += 1
            self.failed += 1
        if slow:
            bucket[2] += 1
            self.slow += 1

    def totals(self, now: float) -> tuple[int, int, int]:
        self._advance(now)
        return self.calls, self.failed, self.slow

    def restart(self, now: float) -> None:
        self.buckets = [[0, 0, 0] for _ in range(self.size)]
        self.calls = self.failed = self.slow = 0
        self.second = max(self.second, int(now))


class CircuitWindow:
    """One breaker.

    Whole mutable state: ``state`` since ``since``; ``generation``, which counts state changes and which a caller keeps
    from its permit to its result; ``until``, when OPEN ends (below 0 before the first call after opening has drawn its
    jitter); in HALF_OPEN ``granted`` permits of which ``returned`` have a result, and ``heard``, the second of the last
    grant to an idle breaker or of the last result; and the two windows ``results`` and ``probes``.
    """

    __slots__ = (
        "failure_rate", "generation", "granted", "half_open_calls", "half_open_for", "heard", "min_calls", "mode",
        "open_for", "probes", "results", "returned", "since", "size", "slow_after", "slow_rate", "state", "until",
        "window_type",
    )  # fmt: skip

    def __init__(
        self,
        plan: BreakerSettings,
        now: float = 0.0,
        results: Results | None = None,
        probes: Results | None = None,
    ) -> None:
        self.generation = 0
        self.since = now
        self.until = -1.0
        self.granted = 0
        self.returned = 0
        self.heard = now
        self._read(plan)
        self.state: int = MODES[plan.mode]
        self.results: Results = results if results is not None else self._window()
        self.probes: Results = probes if probes is not None else CountResults(self.half_open_calls)

    def _read(self, plan: BreakerSettings) -> None:
        self.failure_rate: float = plan.failure_rate
        self.slow_rate: float = plan.slow_rate
        self.slow_after: float = plan.slow_after
        self.size: int = plan.window
        self.window_type: str = plan.window_type
        # S13.3: a minimum above the window could never be reached
        self.min_calls: int = max(1, plan.min_calls if plan.window_type == "time" else min(plan.min_calls, plan.window))
        self.open_for: float = plan.open_for
        self.half_open_calls: int = max(1, plan.half_open_calls)
        self.half_open_for: float = plan.half_open_for
        self.mode: str = plan.mode

    def _window(self) -> Results:
        return TimeResults(self.size) if self.window_type == "time" else CountResults(self.size)

    # -- before and after a call ---------------------------------------------------------------------------------

    def permit(self, now: float, draw: float) -> float:
        """``PERMITTED`` (-1.0), or the seconds after which asking again makes sense. *draw* in [0, 1) lengthens OPEN by
        up to a tenth (S13.4). Keep ``generation`` as it stands after the call: the result needs it."""
        state = self.state
        if state == CLOSED or state >= DISABLED:
            return PERMITTED
        if state == FORCED_OPEN:
            return self.open_for
        if state == OPEN:
            wait = self.wait(now, draw)
            if wait > 0.0:
                return wait
            self.move(HALF_OPEN, now)
        if self.granted > self.returned and now - self.heard >= self.half_open_for:
            self.move(OPEN, now)
            return self.wait(now, draw)
        if self.granted >= self.half_open_calls:
            return HALF_OPEN_WAIT
        if self.granted == self.returned:
            self.heard = now
        self.granted += 1
        return PERMITTED

    def wait(self, now: float, draw: float) -> float:
        """Seconds that OPEN still lasts; the first to ask draws its jitter."""
        if self.until < 0.0:
            self.until = self.since + self.open_for * (1.0 + JITTER * draw)
        return self.until - now

    def record(self, generation: int, now: float, seconds: float, failed: bool) -> None:
        """The result of a call permitted in *generation*; of another state it is too late (S13.5)."""
        state = self.state
        if generation != self.generation or state in (OPEN, FORCED_OPEN, DISABLED):
            return
        slow = seconds > self.slow_after
        if state == HALF_OPEN:
            self.returned += 1
            self.heard = now
            self.probes.add(now, failed, slow)
            self._judge_probes(now)
            return
        self.results.add(now, failed, slow)
        if state == CLOSED:
            calls, failures, slows = self.results.totals(now)
            if calls >= self.min_calls and self.too_many(calls, failures, slows):
                self.move(OPEN, now)

    def release(self, generation: int, now: float) -> None:
        """The call was given up by its client: the permit goes back, nothing is recorded (S13.5)."""
        if self.state == HALF_OPEN and generation == self.generation and self.granted > self.returned:
            self.granted -= 1

    # -- judgement -----------------------------------------------------------------------------------------------

    def too_many(self, calls: int, failed: int, slow: int) -> bool:
        """A rate is **at or over** its threshold (S13.2)."""
        return calls > 0 and (failed * 100.0 >= self.failure_rate * calls or slow * 100.0 >= self.slow_rate * calls)

    def rates(self, now: float) -> tuple[float, float]:
        """Failure and slow rate in percent, each -1.0 below the minimum number of calls (S13.3)."""
        calls, failed, slow = self.results.totals(now)
        if calls < self.min_calls:
            return -1.0, -1.0
        return failed * 100.0 / calls, slow * 100.0 / calls

    def _judge_probes(self, now: float) -> None:
        calls, failed, slow = self.probes.totals(now)
        if calls >= self.half_open_calls:
            self.move(OPEN if self.too_many(calls, failed, slow) else CLOSED, now)

    # -- changes of state ----------------------------------------------------------------------------------------

    def move(self, state: int, now: float) -> None:
        """Enter *state*: a new generation and, where the state counts, a fresh window. Also the admin's hand."""
        self.state = state
        self.since = now
        self.until = -1.0
        self.generation += 1
        self.granted = 0
        self.returned = 0
        self.heard = now
        if state == HALF_OPEN:
            self.probes.restart(now)
        elif state == CLOSED:
            self.results.restart(now)

    def configure(self, plan: BreakerSettings, now: float) -> None:
        """New settings on a reload: state and results stay, the kept window is judged anew (S13.7)."""
        mode, size, window_type, calls = self.mode, self.size, self.window_type, self.half_open_calls
        self._read(plan)
        if (size, window_type) != (self.size, self.window_type) and isinstance(
            self.results, (CountResults, TimeResults)
        ):
            window = self._window()
            if isinstance(window, CountResults) and isinstance(self.results, CountResults):
                window.keep(self.results)
            self.results = window
        if calls != self.half_open_calls and isinstance(self.probes, CountResults):
            probes = CountResults(self.half_open_calls)
            probes.keep(self.probes)
            self.probes = probes
        if mode != self.mode:
            self.move(MODES[self.mode], now)
        elif self.state == CLOSED:
            total, failed, slow = self.results.totals(now)
            if total >= self.min_calls and self.too_many(total, failed, slow):
                self.move(OPEN, now)

    def __repr__(self) -> str:
        return f"<CircuitWindow {STATES[self.state].upper()} since {self.since:.3f}, generation {self.generation}>"
