"""Which endpoints of an upstream may be used now, and why the others may not (S12).

One model: usable = active check up ∧ not ejected (S12.1). The active check is read from control's row of the shared
segment, ejections are decided here by ``rules/outlier`` from this worker's own answers and said to the other workers in
its row; in-flight counts and averages are this worker's own plus what the other rows say, read again each 5 ms.

Several verdicts make one: ``rules/priority_tiers`` turns the usable endpoints into what the balancer is shown, and that
tuple stays the same object until something changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import Any, Final

from tidegate.engine.segment import (
    AVERAGE,
    AVERAGE_AT,
    DOWN,
    EJECTED,
    HEALTH,
    HEARTBEAT,
    IN_FLIGHT,
    UNKNOWN,
    UP,
    Row,
    ejection_parts,
    ejection_word,
    health_parts,
)
from tidegate.ports.balancer import Endpoint
from tidegate.ports.plan import UpstreamPlan
from tidegate.rules import outlier as detectors
from tidegate.rules.circuit_window import CLOSED, HALF_OPEN, OPEN, CircuitWindow
from tidegate.rules.outlier import Ejection, Observed, Outlier
from tidegate.rules.priority_tiers import tiers
from tidegate.rules.response_time import DECAY, FAILED_AT_LEAST, sample
from tidegate.rules.slow_start import factor

REREAD: Final = 0.005
REREAD_ENDPOINTS: Final = 64
"""So many endpoints are read again each 5 ms; more of them proportionally less often, so that the cost stays flat."""
RAMP_STEP: Final = 0.1
"""Seconds between two weights of a slow start (1 % of the default window)."""
PROBER_GONE: Final = 3.0
"""Seconds without a sign of the prober after which an endpoint that was never probed counts as up (S12.3)."""
ZONE_ENDPOINTS: Final = 6
ACTIVE_STATES: Final = ("unknown", "up", "down")


class EndpointHealth:
    """What health knows of one endpoint; outlives reloads.

    ``offset``  its words within a row, -1: none          ``word``  control's health word as last read
    ``active`` since ``active_since``                     ``fit`` since ``fit_since``: the verdict
    ``proven``  it was usable once                        ``late``  it came after the others (S12.9)
    ``ramp_from``  begin of its slow start, -1.0: none    ``passes_before``  probes passed when it was ejected
    ``adopted``  the ejection is another worker's         ``own_average`` at ``own_average_at``: by our samples alone
    ``said_at``  which of them our row shows
    """

    __slots__ = (
        "active", "active_since", "adopted", "endpoint", "fit", "fit_since", "late", "offset", "own_average",
        "own_average_at", "passes_before", "proven", "ramp_from", "said_at", "seen", "window", "word",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, now: float) -> None:
        self.endpoint = endpoint
        self.offset = -1
        self.word = 0
        self.active = UNKNOWN
        self.active_since = now
        self.fit = False
        self.fit_since = now
        self.proven = False
        self.late = False
        self.ramp_from = -1.0
        self.passes_before = 0
        self.adopted = False
        self.own_average = 0.0
        self.own_average_at = 0.0
        self.said_at = 0.0
        self.seen = Observed(endpoint.key, endpoint.priority)
        self.window: CircuitWindow | None = None
        """The endpoint's own breaker (``scope: endpoint``)."""


class Health:
    """The health of one upstream in one worker. ``Endpoint.slot`` must be set before this is built.

    Call :meth:`sweep` each second; the rest follows from traffic.
    """

    __slots__ = (
        "born", "check", "dirty", "ejections", "endpoints", "first", "lone", "outlier", "panicked", "plan",
        "prober_gone", "ramp_at", "ramping", "refresh_at", "reread", "row", "shown", "states", "untold",
        "weights_version", "words",
    )  # fmt: skip

    def __init__(self, plan: UpstreamPlan, endpoints: Sequence[Endpoint], row: Row | None, now: float) -> None:
        self.plan = plan
        self.row = row
        self.words: memoryview[int] | None = None if row is None else row.words
        self.lone = row is None or not row.others
        self.first = 0 if row is None else row.base + row.endpoint(0)
        self.endpoints = tuple(endpoints)
        self.check = plan.health is not None
        self.outlier = Outlier(plan.outlier)
        self.born = now
        self.prober_gone = False
        self.untold = False
        """So much time has passed that an endpoint without a slot in the segment will not hear of its checks."""
        self.refresh_at = now
        self.reread = REREAD * max(1, len(self.endpoints) // REREAD_ENDPOINTS)
        self.ramping = False
        self.ramp_at = 0.0
        self.weights_version = 0
        """Changes whenever a weight has changed (slow start)."""
        self.panicked = False
        """Some tier is balanced over all its endpoints (S12.8); for metrics and the record."""
        self.ejections: dict[str, int] = {}
        """Ejections decided here, by reason (``ejections_total``)."""
        self.shown: list[tuple[float, tuple[Endpoint, ...]]] = []
        """(share, candidates) of each tier that gets traffic."""
        self.states: dict[str, EndpointHealth] = {}
        for endpoint in self.endpoints:
            state = EndpointHealth(endpoint, now)
            self._place(state, endpoint)
            self.states[endpoint.key] = state
        self.dirty = True
        self._rebuild(now)

    def _place(self, state: EndpointHealth, endpoint: Endpoint) -> None:
        """Tie *state* to *endpoint* as it is in this generation."""
        state.endpoint = endpoint
        state.offset = -1 if self.row is None else self.row.endpoint(endpoint.slot)
        if state.offset < 0:
            endpoint.slot = -1
        state.seen.tier = endpoint.priority
        breaker = self.plan.breaker
        if breaker.scope != "endpoint":
            state.window = None
        elif state.window is None:
            state.window = CircuitWindow(breaker, state.active_since)
        else:
            state.window.configure(breaker, state.active_since)

    # -- for each request ----------------------------------------------------------------------------------------

    def candidates(self, now: float, draw: float) -> tuple[Endpoint, ...]:
        """What the balancer may choose among; () when nothing is usable (503 ``no_healthy``). *draw* in [0, 1) picks
        the tier. The same tuple object comes back as long as nothing changed."""
        if now >= self.refresh_at:
            self.refresh(now)
        shown = self.shown
        if len(shown) == 1:
            return shown[0][1]
        for share, endpoints in shown:
            draw -= share
            if draw < 0.0:
                return endpoints
        return shown[-1][1] if shown else ()

    def started(self, endpoint: Endpoint) -> None:
        """An attempt at *endpoint* begins."""
        own = endpoint.own_active + 1
        endpoint.own_active = own
        endpoint.active += 1
        words = self.words
        if words is not None and endpoint.slot >= 0:
            words[self.first + endpoint.slot * 4] = own

    def ended(self, endpoint: Endpoint, now: float, seconds: float, kind: str) -> None:
        """An attempt ended; *seconds* to the first byte of its answer, or to its failure. *kind*:

        ``ok``         an answer under 400
        ``client``     4xx: the endpoint answered, its fault it is not; counts for the average alone
        ``5xx``        a 5xx other than
        ``gateway``    502, 503, 504, reset, timeout, invalid answer
        ``connect``    no connection
        ``cancelled``  the client left, or the outcome says nothing: counts nowhere
        """
        own = endpoint.own_active - 1
        if own < 0:
            own = 0
        endpoint.own_active = own
        endpoint.active -= 1
        if endpoint.active < own:
            endpoint.active = own
        words = self.words
        slot = endpoint.slot
        if words is not None and slot >= 0:
            words[self.first + slot * 4] = own
        if kind == "cancelled":
            return
        state = self.states.get(endpoint.key)
        if state is None:
            return  # removed by a reload meanwhile
        seen = state.seen
        failed = False
        if kind == "ok":
            self.outlier.good(seen, seconds)
        elif kind != "client":
            failed = True
            if kind == "5xx":
                self.outlier.server_error(seen, seconds)
            else:
                self.outlier.gateway_failure(seen, kind == "connect")
            if seen.tripped:
                self._act(state, now)
        if state.window is not None:
            self._record(state, now, seconds, failed)
        counted = max(seconds, FAILED_AT_LEAST) if failed else seconds
        average = sample(state.own_average, now - state.own_average_at, counted)
        state.own_average = average
        state.own_average_at = now
        if average >= endpoint.average or slot < 0 or self.lone:
            endpoint.average = average
            endpoint.average_at = now

    def _act(self, state: EndpointHealth, now: float) -> None:
        """A run of failures is plain at once: waiting for the sweep would send it another second of traffic."""
        observed: list[Observed] = []
        for other in self.states.values():
            other.seen.usable = self._checks_pass(other)
            observed.append(other.seen)
        ejection = self.outlier.act(state.seen, observed, now)
        if ejection is not None:
            self._ejected(state, ejection)
            self._rebuild(now)

    # -- each 5 ms of traffic ------------------------------------------------------------------------------------

    def refresh(self, now: float) -> None:
        """Read what the other rows say; weights of a slow start move on."""
        self.refresh_at = now + self.reread
        if self.row is not None:
            self._read_rows(self.row, now)
        if self.ramping and now >= self.ramp_at:
            self._ramp(now)
        if self.dirty:
            self._rebuild(now)

    def _read_rows(self, row: Row, now: float) -> None:
        words, others, control = row.words, row.others, row.control
        for state in self.states.values():
            offset = state.offset
            if offset < 0:
                continue
            endpoint = state.endpoint
            if others:
                active = endpoint.own_active
                average, at = state.own_average, state.own_average_at
                if at > state.said_at:
                    state.said_at = at
                    place = row.base + offset
                    words[place + AVERAGE] = int(average * 1e6)
                    words[place + AVERAGE_AT] = int(at * 1e6)
                weight = average * exp((at - now) / DECAY) if average else 0.0
                ejected = 0
                for base in others:
                    place = base + offset
                    active += words[place + IN_FLIGHT]
                    word = words[place + AVERAGE]
                    if word:
                        theirs, theirs_at = word / 1e6, words[place + AVERAGE_AT] / 1e6
                        heavy = theirs * exp(min(theirs_at - now, 0.0) / DECAY)
                        if heavy > weight:
                            # peak EWMA believes the bad news: the highest decayed average is the node's
                            weight, average, at = heavy, theirs, theirs_at
                    word = words[place + EJECTED]
                    if word > ejected:
                        ejected = word
                endpoint.active = active
                endpoint.average = average
                endpoint.average_at = at
                if ejected or state.adopted:
                    self._adopt(state, ejected, now)
            word = words[control + offset + HEALTH]
            if word != state.word:
                self._checked(state, word, now)

    def _checked(self, state: EndpointHealth, word: int, now: float) -> None:
        """The prober has news of an endpoint."""
        state.word = word
        active, since, _, _ = health_parts(word)
        if active != state.active:
            state.active = active
            state.active_since = since
            self.dirty = True

    def _adopt(self, state: EndpointHealth, word: int, now: float) -> None:
        """Another worker has ejected this endpoint, or has let it back."""
        seen = state.seen
        start, seconds, reason, times = ejection_parts(word)
        if start + seconds > now:
            if not seen.until:
                seen.start, seen.until, seen.reason, seen.times = start, start + seconds, reason, times
                seen.forget()
                state.adopted = True
                self.dirty = True
        elif state.adopted:
            state.adopted = False
            if seen.until:
                self.outlier.restore(seen, now)
                self.dirty = True

    def _ramp(self, now: float) -> None:
        self.ramp_at = now + RAMP_STEP
        slow = self.plan.slow_start
        self.ramping = False
        for state in self.states.values():
            if state.ramp_from < 0.0:
                continue
            share = factor(now - state.ramp_from, slow.window, slow.aggression, slow.floor)
            state.endpoint.weight = state.endpoint.base_weight * share
            if share >= 1.0:
                state.ramp_from = -1.0
            else:
                self.ramping = True
        self.weights_version += 1

    # -- each second ---------------------------------------------------------------------------------------------

    def sweep(self, now: float, draw: float = 0.0) -> list[Ejection]:
        """Each second: outlier detection, ends of ejections, absence of the prober. Returns the new ejections.
        *draw* in [0, 1) spreads their ends."""
        self._look_for_prober(now)
        self.refresh(now)
        observed: list[Observed] = []
        for state in self.states.values():
            state.seen.usable = self._checks_pass(state)
            observed.append(state.seen)
            if state.seen.until and not state.adopted and self.plan.health is not None:
                _, _, _, passes = health_parts(state.word)
                fresh = (passes - state.passes_before) & 0xFFFF
                if state.active != DOWN:
                    self.outlier.probed_well(state.seen, fresh, self.plan.health.rise, now)
        ejections = self.outlier.sweep(now, observed, draw)
        for ejection in ejections:
            self._ejected(self.states[ejection.key], ejection)
        for state in self.states.values():
            self._restored(state, now)
        self._rebuild(now)
        return ejections

    def _look_for_prober(self, now: float) -> None:
        if not self.check:
            return
        beat = 0.0 if self.row is None else self.row.words[self.row.control + HEARTBEAT] / 1000.0
        gone = now - max(beat, self.born) >= PROBER_GONE
        untold = now - self.born >= PROBER_GONE
        if (gone, untold) != (self.prober_gone, self.untold):
            self.prober_gone = gone
            self.untold = untold
            self.dirty = True

    def _ejected(self, state: EndpointHealth, ejection: Ejection) -> None:
        name = detectors.REASONS[ejection.reason]
        self.ejections[name] = self.ejections.get(name, 0) + 1
        state.adopted = False
        state.passes_before = health_parts(state.word)[3]
        self._say(state, ejection_word(ejection.start, ejection.seconds, ejection.reason, ejection.times))
        self.dirty = True

    def _restored(self, state: EndpointHealth, now: float) -> None:
        """What is over by time or by probes is no longer said in our row."""
        row = self.row
        if state.seen.until:
            return
        if row is not None and state.offset >= 0 and row.words[row.base + state.offset + EJECTED]:
            self._say(state, 0)
        window = state.window
        if window is not None and window.state == OPEN:
            window.move(HALF_OPEN, now)

    def _forget(self, state: EndpointHealth) -> None:
        """Its endpoint is gone: whoever gets its slot next must not inherit what our row says."""
        row = self.row
        if row is not None and state.offset >= 0:
            place = row.base + state.offset
            row.words[place + AVERAGE] = row.words[place + AVERAGE_AT] = row.words[place + EJECTED] = 0

    def _say(self, state: EndpointHealth, word: int) -> None:
        if self.row is not None and state.offset >= 0:
            self.row.words[self.row.base + state.offset + EJECTED] = word

    def _record(self, state: EndpointHealth, now: float, seconds: float, failed: bool) -> None:
        """A result for the endpoint's own breaker: OPEN is an ejection under the caps of S12.7."""
        window = state.window
        assert window is not None
        if now - seconds < window.since and window.generation:
            return  # it began under another state (S13.5)
        window.record(window.generation, now, seconds, failed)
        if window.state != OPEN or state.seen.until:
            return
        seen = [other.seen for other in self.states.values()]
        if not self.outlier.room(seen, state.seen):
            window.move(CLOSED, now)
            return
        self.outlier.eject(state.seen, detectors.BREAKER, now, 0.0)
        state.seen.until = now + window.open_for
        self._ejected(state, Ejection(state.seen.key, detectors.BREAKER, now, window.open_for, state.seen.times))
        self._rebuild(now)

    # -- the verdict ---------------------------------------------------------------------------------------------

    def _checks_pass(self, state: EndpointHealth) -> bool:
        if not self.check or state.active == UP:
            return True
        # S12.5: unused until its first pass; S12.3: but not for ever, if nobody probes it or can tell us
        return state.active == UNKNOWN and (self.prober_gone or (state.offset < 0 and self.untold))

    def _spare(self) -> bool:
        """Two workers that eject at the same moment can together take the last ones (S12.7 never does): each then goes
        on with what the other has ejected."""
        return not any(self._checks_pass(state) and not state.seen.until for state in self.states.values())

    def _rebuild(self, now: float) -> None:
        """Judge every endpoint anew and lay out the tiers; tuples that did not change stay the same objects."""
        self.dirty = False
        usable: list[Endpoint] = []
        began: list[EndpointHealth] = []
        spared = self._spare()
        for endpoint in self.endpoints:
            state = self.states[endpoint.key]
            fit = self._checks_pass(state) and (not state.seen.until or (spared and state.adopted))
            if fit:
                usable.append(endpoint)
            if fit != state.fit:
                state.fit = fit
                state.fit_since = now
                if fit:
                    began.append(state)
        if began:
            self._begin(began, len(usable), now)
        plan = self.plan
        chosen: Sequence[Endpoint] = usable
        if not usable and plan.at_zero == "try_all":
            chosen = self.endpoints
        self.panicked = False
        shown: list[tuple[float, tuple[Endpoint, ...]]] = []
        for share, endpoints, panicked in tiers(self.endpoints, chosen, plan.panic):
            self.panicked = self.panicked or panicked
            shown += [(share * part, members) for part, members in self._zones(endpoints)]
        self.shown = [(share, self._same(endpoints)) for share, endpoints in shown]

    def _begin(self, began: list[EndpointHealth], usable: int, now: float) -> None:
        """Endpoints that came (back) into use start slowly, unless they are all there is (S12.9)."""
        for state in began:
            again = state.proven or state.late
            state.proven = True
            state.late = False
            if again and usable > len(began) and self.plan.slow_start.window > 0.0:
                state.ramp_from = now
                self.ramping = True
        if self.ramping:
            self._ramp(now)

    def _zones(self, endpoints: tuple[Endpoint, ...]) -> list[tuple[float, tuple[Endpoint, ...]]]:
        """Our own zone first, for as much as it bears; only in pools where that leaves enough (S11.10)."""
        zone = self.plan.zone
        if not zone or len(endpoints) < ZONE_ENDPOINTS:
            return [(1.0, endpoints)]
        near = tuple(endpoint for endpoint in endpoints if endpoint.zone == zone)
        if not near or len(near) == len(endpoints):
            return [(1.0, endpoints)]
        everyone = [endpoint for endpoint in self.endpoints if endpoint.priority == near[0].priority]
        local = [endpoint for endpoint in everyone if endpoint.zone == zone]
        share = min(1.0, len(near) / len(local) * 1.4)
        if share >= 1.0:
            return [(1.0, near)]
        return [(share, near), (1.0 - share, tuple(e for e in endpoints if e.zone != zone))]

    def _same(self, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        for _, before in self.shown:
            if before == endpoints:
                return before
        return endpoints

    # -- for people and reloads ----------------------------------------------------------------------------------

    def settled(self) -> bool:
        """Every endpoint has had its first probe, or nobody probes: readiness may go on (S12.5, S23.4)."""
        return all(state.active != UNKNOWN or self._checks_pass(state) for state in self.states.values())

    def explain(self, now: float) -> list[dict[str, Any]]:
        """Per endpoint, JSON-ready: usable or not, which part says no and since when (S12.1)."""
        self.refresh(now)
        return [self._explain_one(self.states[endpoint.key], now) for endpoint in self.endpoints]

    def _explain_one(self, state: EndpointHealth, now: float) -> dict[str, Any]:
        endpoint, seen = state.endpoint, state.seen
        no: list[dict[str, Any]] = []
        if not self._checks_pass(state):
            name = "active_check" if state.active == DOWN else "not_yet_probed"
            no.append({"part": name, "since_s": round(now - state.active_since, 3)})
        if seen.until:
            no.append(
                {
                    "part": "breaker" if seen.reason == detectors.BREAKER else "ejected",
                    "reason": detectors.REASONS[seen.reason],
                    "since_s": round(now - seen.start, 3),
                    "left_s": round(max(0.0, seen.until - now), 3),
                    "times": seen.times,
                }
            )
        return {
            "endpoint": endpoint.key,
            "host": endpoint.host,
            "priority": endpoint.priority,
            "zone": endpoint.zone,
            "usable": state.fit,
            "since_s": round(now - state.fit_since, 3),
            "no": no,
            "active_check": ACTIVE_STATES[state.active] if self.check else "none",
            "weight": round(endpoint.weight, 4),
            "slow_start": state.ramp_from >= 0.0,
            "in_flight": endpoint.active,
            "average_ms": round(endpoint.average * 1000.0, 3),
        }

    def counts(self) -> dict[str, int]:
        """Endpoints by state, for the metric ``endpoints``."""
        counts = {"usable": 0, "down": 0, "ejected": 0, "unknown": 0}
        for state in self.states.values():
            if state.seen.until:
                counts["ejected"] += 1
            elif state.fit:
                counts["usable"] += 1
            else:
                counts["down" if state.active == DOWN else "unknown"] += 1
        return counts

    def carry_over(self, old: Health, now: float = -1.0) -> None:
        """After a reload: go on with what *old* knew, by key (S23.2). An endpoint that stays must be the same object in
        both generations, so that attempts begun on the old one end on the new. Endpoints that *old* did not have start
        slowly."""
        when = now if now >= 0.0 else self.born
        self.ejections = old.ejections
        known = False
        for endpoint in self.endpoints:
            state = old.states.get(endpoint.key)
            if state is None:
                continue
            known = True
            self._place(state, endpoint)
            self.states[endpoint.key] = state
            if state.ramp_from >= 0.0:
                self.ramping = True
        for state in self.states.values():
            if known and state.endpoint.key not in old.states:
                state.late = True
                state.fit = state.proven = False
        for key, state in old.states.items():
            if key not in self.states:
                self._forget(state)
        self.born = old.born if old.check == self.check else self.born
        self.prober_gone = old.prober_gone and self.check and old.check
        self.untold = old.untold and self.check and old.check
        self.ejections = old.ejections
        self.weights_version = old.weights_version + 1
        self.shown = old.shown
        if self.ramping:
            self._ramp(when)
        self._rebuild(when)
