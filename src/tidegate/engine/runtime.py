"""What lives as long as the worker and is at hand everywhere in the engine: loop, time, chance, counters, the Plan."""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine
from typing import Any, Final

from tidegate.engine.clock import HttpDate
from tidegate.engine.models.standing import ModelStates
from tidegate.engine.segment import Row
from tidegate.engine.tools import EngineTools
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import Fault
from tidegate.ports.plan import Plan
from tidegate.rules.forwarded import TrustedProxies
from tidegate.rules.hop_headers import HopRules
from tidegate.rules.overload_gate import OverloadGate
from tidegate.rules.request_id import RequestIds
from tidegate.wire.http1 import HeadLimits

MEAN_EACH: Final = 0.005
"""Seconds between two looks at the other rows' connection counts."""


NORMAL: Final = 2
"""The level of a request that nobody gave one (S22.1)."""


class Runtime:
    """One per worker, opened after the fork. ``plan`` and what is derived from it change with a reload; an exchange
    keeps the route it began with."""

    def __init__(self, tools: EngineTools, row: Row | None, workers: int, plan: Plan) -> None:
        self.tools = tools
        self.loop = tools.loop
        self.clock = tools.clock
        """Monotonic seconds."""
        self.wall = tools.wall
        """Seconds since the epoch."""
        self.steps = tools.steps
        self.wheel = tools.wheel
        self.metrics = tools.metrics
        self.random = tools.random
        self.books = tools.books
        """Where model calls are paid; None where nobody keeps books."""
        self.upstreams = tools.upstreams
        self.removed: dict[str, Any] = {}
        """Upstreams a reload took away, for exchanges that began before it (S23.1)."""
        self.unrouted = self.metrics.route("")
        """Requests that no route took."""
        self.date = HttpDate()
        self.models = ModelStates()
        self.contexts: Any = None
        """The ``contexts.repository.Repository`` of the Plan in force, where a route keeps conversations."""
        tools.access_tokens.renewed = self.models.cooldowns.succeeded
        self.fetcher: Any = None
        """What fetches clients' links (``engine/upstream/fetching``), once somebody wants it."""
        self.request_ids = RequestIds(tools.random.getrandbits)
        self.row = row
        self.workers = workers
        self.slots: dict[str, int] = {}
        """Places in the shared segment: ``<upstream>`` and ``<upstream>|<endpoint>`` → slot."""
        self.connections: set[Any] = set()
        self.tunnels: set[Any] = set()
        self.deaf: set[Any] = set()
        """Connections whose reading is paused: the kernel is asked about them each 100 ms (S15.8)."""
        self.refused: frozenset[int] = frozenset()
        """Hashes of requests that have ended two workers (S23.6)."""
        self.draining = False
        self.in_flight = 0
        self.starting: int = 0
        """Connections that were accepted and are not made yet: a PROXY header or a handshake is awaited."""
        self.pressed = False
        """The process guard asks for no new connections (S22.9)."""
        self.drowning = False
        """Memory is at its end: requests get a canned 503 (S22.9)."""
        self.shed_left = 0
        self.gate = OverloadGate()
        self.late = Fault("overloaded", "The gateway is busy.", reason="lag", retry_after=1.0)
        """What a request is refused with that the gate does not let in."""
        self.guarded = False
        """The gate or the want of memory has a say before a request begins: the one question asked when all is well."""
        self.held: deque[Any] = deque()
        """Connections with a request that the gate has neither let in nor refused yet."""
        self.mean = 0.0
        self.mean_at = 0.0
        self.take_plan(plan)

    def take_plan(self, plan: Plan) -> None:
        """Everything derived from the Plan that connections and journeys read."""
        self.plan = plan
        limits = plan.limits
        self.head_limits = HeadLimits(limits.request_line, limits.field_count, limits.field_size, limits.head_size)
        self.hop_rules = HopRules(
            plan.name, via=plan.via, forwarded=plan.send_forwarded, identity=plan.identity_names
        )  # fmt: skip
        self.proxies = TrustedProxies(plan.trusted_proxies)
        self.levelled = any(route.priority != NORMAL for route in plan.routes)
        """Does any route ask for another level than the usual? If none does, the gate need not look for the route."""
        self.tools.faults_allowed = plan.faults_allowed

    def has_more_than_its_share(self) -> bool:
        """Is this worker over 9/8 of the rows' mean (ARCHITECTURE 11)? Then others should accept first."""
        row = self.row
        if row is None or self.workers < 2:
            return False
        own = len(self.connections)
        row.set_connections(own)
        now = self.clock()
        if now >= self.mean_at:
            self.mean_at = now + MEAN_EACH
            counts = row.segment.connections()
            self.mean = sum(counts) / self.workers
        return own > self.mean * 1.125 + 1.0

    def may_shed(self) -> bool:
        """May one more refusal be written out? The guard gives out a hundred each 100 ms (S22.9)."""
        if self.shed_left <= 0:
            return False
        self.shed_left -= 1
        return True

    def release_held(self, now: float) -> None:
        """Ask the gate again about the ones that have waited longest."""
        held = self.held
        for _ in range(min(len(held), self.gate.room(now))):
            held.popleft().let_go()

    def working(self, x: Exchange) -> None:
        """Leave a trace of what is worked on, for the supervisor, should this process die of it (S23.6)."""
        row = self.row
        if row is not None:
            row.set_working_on(work_of(x))

    def rested(self) -> None:
        """Nothing is worked on."""
        row = self.row
        if row is not None:
            row.set_working_on(0)

    def report(self, error: BaseException) -> None:
        self.tools.report(error)

    def log(self, level: str, event: str, **fields: object) -> None:
        self.tools.log(level, event, **fields)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        self.tools.spawn(work)


def work_of(x: Exchange) -> int:
    """What the supervisor charges when a worker dies of *x* (S23.6); the same in all workers of one supervisor."""
    return hash((x.method, x.head.target)) & 0x7FFFFFFFFFFFFFFF
