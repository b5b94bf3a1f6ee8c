"""The prober: active health checks, once per node, in the control process (S12.2-S12.5).

It asks every endpoint of every upstream that has a ``health`` section, however many workers and routes there are, and
writes the verdict into control's row of the shared segment, where all workers read it.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from random import random
from typing import Any, Final, Protocol
from zlib import crc32

from tidegate.control.probe import PASSED, SECURE, Probe, probe_context
from tidegate.engine.segment import DOWN, HEALTH, UNKNOWN, UP, Row, SlotTable, endpoint_key, health_parts, health_word
from tidegate.ports.plan import HealthPlan, TargetPlan, UpstreamTlsPlan

JITTER: Final = 0.1
BEAT: Final = 0.5
FIRST_WITHIN: Final = 0.25
"""The first round is spread over this many seconds at most: readiness waits for it (S12.5)."""
STATES: Final = ("unknown", "up", "down")


class ProbedUpstream(Protocol):
    """What is read of an ``UpstreamPlan``; control may as well hand in its own settings of this shape."""

    @property
    def targets(self) -> tuple[TargetPlan, ...]: ...
    @property
    def health(self) -> HealthPlan | None: ...
    @property
    def tls(self) -> UpstreamTlsPlan: ...


class Check:
    """The state of one endpoint by its probes: up after ``rise`` passes in a row, down after ``fall`` failures in a
    row; the first result decides alone (S12.2, S12.5)."""

    __slots__ = ("fall", "passes", "rise", "run", "since", "state")

    def __init__(self, fall: int, rise: int, now: float) -> None:
        self.fall = fall
        self.rise = rise
        self.state = UNKNOWN
        self.since = now
        self.run = 0
        """Results in a row against ``state``."""
        self.passes = 0

    def take(self, passed: bool, now: float) -> bool:
        """One result; True when the state changed."""
        if passed:
            self.passes = (self.passes + 1) & 0xFFFF
        found = UP if passed else DOWN
        if found == self.state:
            self.run = 0
            return False
        self.run += 1
        if self.state != UNKNOWN and self.run < (self.rise if passed else self.fall):
            return False
        self.state = found
        self.since = now
        self.run = 0
        return True

    def word(self) -> int:
        """As it stands in the segment."""
        return health_word(self.state, self.since, self.run, self.passes)

    def resume(self, word: int) -> None:
        """Go on from what a prober before us has written."""
        self.state, self.since, self.run, self.passes = health_parts(word)


class Checked:
    """One endpoint under check. ``spec`` is all that, if changed, needs another probe."""

    def __init__(self, upstream: str, key: str, slot: int, spec: tuple[Any, ...], check: Check, probe: Probe) -> None:
        self.upstream = upstream
        self.key = key
        self.slot = slot
        self.spec = spec
        self.check = check
        self.probe = probe
        self.error = PASSED
        self.task: asyncio.Task[None] | None = None


class Prober:
    """All checks of a node. :meth:`apply` with each generation, :meth:`close` at the end; needs a running loop."""

    def __init__(
        self, row: Row, clock: Callable[[], float] = time.monotonic, draw: Callable[[], float] = random
    ) -> None:
        self.row = row
        self.clock = clock
        self.draw = draw
        self.checked: dict[str, Checked] = {}
        self.contexts: dict[UpstreamTlsPlan, ssl.SSLContext | None] = {}
        self.counts: dict[tuple[str, str], int] = {}
        """Probes by (upstream, ``passed`` or what went wrong), for ``health_checks_total``."""
        self.beat: asyncio.Task[None] | None = None

    # -- what is to be checked -----------------------------------------------------------------------------------

    def apply(
        self,
        upstreams: Mapping[str, ProbedUpstream],
        addresses: Mapping[str, Mapping[tuple[str, int], list[str]]],
        slots: SlotTable,
    ) -> None:
        """Check exactly what *upstreams* name: *addresses* gives, by upstream, those found for (host, port), *slots*
        the place of each endpoint in the segment, zeroed when it was given out. What was known of an endpoint stays
        (S12.1)."""
        if self.beat is None:
            self.beat = asyncio.create_task(self._beat(), name="prober")
        self.contexts = {}
        wanted: dict[str, Checked] = {}
        for name, upstream in upstreams.items():
            if upstream.health is None:
                continue
            known = addresses.get(name, {})
            for target in upstream.targets:
                for address in known.get((target.host, target.port)) or [target.host]:
                    key = endpoint_key(name, f"{address}:{target.port}")
                    if key not in wanted:
                        wanted[key] = self._entry(name, key, slots.get(key), upstream, target, address)
        for key, before in self.checked.items():
            if wanted.get(key) is not before:
                _stop(before)
        self.checked = wanted
        for entry in wanted.values():
            if entry.task is None:
                entry.task = asyncio.create_task(self._watch(entry), name=f"probe {entry.key}")

    def _entry(
        self, name: str, key: str, slot: int, upstream: ProbedUpstream, target: TargetPlan, address: str
    ) -> Checked:
        health = upstream.health
        assert health is not None
        spec = (health, upstream.tls, target.scheme, target.host, slot)
        before = self.checked.get(key)
        if before is not None and before.spec == spec:
            return before
        check = Check(health.fall, health.rise, self.clock())
        if before is not None:
            check.resume(before.check.word())
        elif word := self._word(slot):
            check.resume(word)  # a prober before us knew it: the last state is kept (S12.3)
        context = self._context(upstream.tls) if target.scheme in SECURE else None
        server_name = upstream.tls.server_name or target.host
        probe = Probe(health, address, target.port, target.scheme, target.host, context, server_name)
        entry = Checked(name, key, slot, spec, check, probe)
        if target.scheme in SECURE and context is None:
            entry.error = "tls"
        self._write(entry)
        return entry

    def _context(self, tls: UpstreamTlsPlan) -> ssl.SSLContext | None:
        """None when the files it names cannot be used: then every probe fails, as every request would."""
        if tls not in self.contexts:
            try:
                self.contexts[tls] = probe_context(tls)
            except (OSError, ssl.SSLError):
                self.contexts[tls] = None
        return self.contexts[tls]

    # -- checking ------------------------------------------------------------------------------------------------

    async def _watch(self, entry: Checked) -> None:
        """Probe one endpoint for ever. From start to start it is ``interval`` ±10 %; where in the interval its probes
        lie depends on its name, so that endpoints are not asked in bursts (S12.2)."""
        interval = entry.probe.health.interval
        phase = crc32(entry.key.encode()) / 2**32
        await asyncio.sleep(phase * min(interval, FIRST_WITHIN))
        gap = interval * phase
        while True:
            started = self.clock()
            await self.probe(entry)
            await asyncio.sleep(max(0.0, gap - (self.clock() - started)))
            gap = interval * (1.0 - JITTER + 2.0 * JITTER * self.draw())

    async def probe(self, entry: Checked) -> None:
        """One probe and what follows from it."""
        broken = entry.probe.context is None and entry.spec[2] in SECURE and entry.probe.health.kind != "tcp"
        entry.error = "tls" if broken else await entry.probe.run()
        result = entry.error or "passed"
        self.counts[entry.upstream, result] = self.counts.get((entry.upstream, result), 0) + 1
        entry.check.take(entry.error == PASSED, self.clock())
        self._write(entry)

    async def _beat(self) -> None:
        """Tell the workers that somebody probes."""
        while True:
            self.row.beat(self.clock())
            await asyncio.sleep(BEAT)

    def _word(self, slot: int) -> int:
        offset = self.row.endpoint(slot)
        return 0 if offset < 0 else self.row.words[self.row.base + offset + HEALTH]

    def _write(self, entry: Checked) -> None:
        offset = self.row.endpoint(entry.slot)
        if offset >= 0:
            self.row.words[self.row.base + offset + HEALTH] = entry.check.word()

    # -- what others ask -----------------------------------------------------------------------------------------

    def first_round_done(self) -> bool:
        """Every endpoint has had one probe (S12.5, S23.4)."""
        return all(entry.check.state != UNKNOWN for entry in self.checked.values())

    def explain(self) -> list[dict[str, Any]]:
        """JSON-ready: each endpoint's state by its probes, and what the last one met."""
        now = self.clock()
        return [
            {
                "endpoint": entry.key,
                "state": STATES[entry.check.state],
                "since_s": round(now - entry.check.since, 3),
                "last": entry.error or "passed",
            }
            for entry in self.checked.values()
        ]

    def close(self) -> None:
        """Stop probing; the last words stay in the row."""
        if self.beat is not None:
            self.beat.cancel()
            self.beat = None
        for entry in self.checked.values():
            _stop(entry)
        self.checked = {}


def _stop(entry: Checked) -> None:
    if entry.task is not None:
        entry.task.cancel()
    entry.probe.close()
