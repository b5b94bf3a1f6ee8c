"""A generation becomes a Plan, in small steps, keeping every object whose bytes did not change.

Runs in control, to prove a config before any worker sees it, and in every worker, between two turns of its loop.
"""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from operator import is_
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from tidegate.assembly import config as c
from tidegate.assembly import config_words as w
from tidegate.assembly import contexts
from tidegate.assembly.chains import Chains, Made, body_limit_of
from tidegate.assembly.config_models import Model, Provider
from tidegate.assembly.facts import FactTable
from tidegate.assembly.generation import Generation, split
from tidegate.assembly.models import FIRST, IDLE, MODEL_TIMES, BuiltModels, ModelWork, dialect, dialect_names, llm_plan
from tidegate.assembly.parts import PartError, PartErrors, Shelf
from tidegate.assembly.problems import FieldPath
from tidegate.assembly.read import BadReference, resolve_tree
from tidegate.exchange.head import Answer, Fields
from tidegate.ports.contexts import ContextsPlan
from tidegate.ports.plan import (
    ArmPlan,
    BatchPlan,
    BreakerPlan,
    BulkheadPlan,
    CertificatePlan,
    DiscoveryPlan,
    FallbackPlan,
    HealthPlan,
    HedgePlan,
    LimitsPlan,
    ListenerPlan,
    ListenerTlsPlan,
    OutlierPlan,
    Plan,
    RedirectPlan,
    RetryPlan,
    RoutePlan,
    SlowStartPlan,
    SplitPlan,
    TargetPlan,
    TimeoutsPlan,
    TracingPlan,
    UpstreamPlan,
    UpstreamTlsPlan,
)
from tidegate.ports.sink import Sink
from tidegate.ports.tools import BalancerTools, Tools
from tidegate.rules.match_route import BadPattern, RouteConflict, RouteEntry
from tidegate.rules.match_route import Builder as RouterBuilder
from tidegate.rules.traffic_split import Splitter

SLICE: Final = 0.004
"""Seconds of work between two yields of :meth:`Builder.steps`: under 5 ms with the item that is under way."""
TLS_FILE: Final = re.compile(rb'"(?:ca|cert|key)":"[^"]').search
"""Finds upstreams that may name a file of their TLS side: such a file can change while the bytes here do not."""
KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"})


class PartTools(Tools, BalancerTools, Protocol):
    """What one part of any kind is given. The builder sets ``name config_folder cleartext``."""


ToolsFor = Callable[[str], PartTools]
"""Makes the tools of the part at one place: ``<route>/<index>`` for a filter, ``<route>/split`` for a split,
``upstream/<name>`` for a balancer, ``sink/<index>`` for a sink. ``secret("cookies")`` is asked for a split: what seals
its cookies, at least 16 characters, the same in every worker and over restarts."""


class BuildError(ValueError):
    """Something of a generation cannot be built. ``path`` leads to it from the top of the config."""

    def __init__(self, path: FieldPath, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.path: FieldPath = path
        self.fix: str = fix


class Built:
    """A Plan and what the next build may take over from it.

    plan        the Plan
    generation  the items it was made from, for ``generation.consumers``; None for a proof
    filters     ``<route>/<index>`` → the filter there
    """

    def __init__(self) -> None:
        self.plan: Plan
        self.generation: Generation | None = None
        self.models: BuiltModels = BuiltModels()
        self.filters: dict[str, Made] = {}
        self.balancers: dict[str, Made] = {}
        self.sinks: dict[str, Made] = {}
        self.stores: dict[str, Made] = {}
        self.discovery: RoutePlan | None = None
        """The route nobody wrote: ``/.well-known/crp``."""
        self.settings: bytes = b""
        self.surroundings: tuple[object, ...] = ()
        """What every part may have read from its tools: parts are only kept while it stays the same."""
        self.upstreams: dict[bytes, UpstreamPlan] = {}
        """Resolved bytes → upstream."""
        self.routes: dict[bytes, tuple[RoutePlan, RouteEntry]] = {}
        """Resolved bytes, and the times of its upstream where it has some of its own → route."""


@contextmanager
def collector_paused() -> Generator[None, None, None]:
    """No garbage collection while a big config is built: each would walk everything built so far, which costs more
    than the building (10,000 routes: 1.3 of 2.4 s) and stops the loop for 100 ms and more. What was made is then set
    aside for good, for the same reason: it lives as long as its Plan and goes by reference count."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.freeze()
            gc.enable()


class Builder:
    """Builds Plans from generations. Keeps the parts it has imported and the settings it has checked.

    environment  for the ``${...}`` of the config
    before       parts that stand before the filters of every route; no generation names them
    workers      how many processes will run these Plans, 0 where nobody knows
    report       called for what cannot be built, which is then left out; by default a ``BuildError`` is raised
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        before: Iterable[Any] = (),
        report: Callable[[BuildError], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        shelf: Shelf | None = None,
        workers: int = 0,
    ) -> None:
        self._environment = environment
        self._workers = workers
        self._before = [Made(type(part).__name__.lower(), b"", part) for part in before]
        self._report = report
        self._clock = clock
        self._shelf = shelf if shelf is not None else Shelf()
        self._encode = msgspec.json.Encoder().encode

    def build(self, generation: bytes, tools_for: ToolsFor, previous: Built | None = None) -> Built:
        """All at once."""
        steps = self.steps(generation, tools_for, previous)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                built: Built = end.value
                return built

    def steps(
        self, generation: bytes, tools_for: ToolsFor, previous: Built | None = None
    ) -> Generator[None, None, Built]:
        """The same, stopping every few milliseconds (``SLICE``) so that a loop can turn. *previous* stays usable."""
        with collector_paused():
            return (yield from self._steps(generation, tools_for, previous))

    def _steps(self, generation: bytes, tools_for: ToolsFor, previous: Built | None) -> Generator[None, None, Built]:
        clock = self._clock
        begun = clock()
        items = split(generation)
        folder = Path(items.folder)
        settings, gateway = self._settings(items, folder)
        work = _Work(self._shelf, gateway, folder, tools_for, previous, standing=self._before, workers=self._workers)
        built = work.built
        built.generation, built.settings = items, settings

        for index, raw in enumerate(items.upstreams):
            with self._about(("upstreams", index)):
                key = self._resolved(raw, folder)
                item = c.Upstream.model_validate_json(key) if TLS_FILE(key) else None
                if item is not None:
                    key += repr(work.tls_files(item)).encode()
                upstream = work.old_upstreams.get(key)
                if upstream is None:
                    upstream = work.upstream(item or c.Upstream.model_validate_json(key))
                else:
                    work.keep_upstream(upstream)
                built.upstreams[key] = work.upstreams[upstream.name] = upstream
            if clock() - begun > SLICE:
                yield
                begun = clock()

        if items.providers or items.models:
            for name in dialect_names():
                dialect(name)
                if clock() - begun > SLICE:
                    yield
                    begun = clock()
            models = work.begin_models(self._environment, msgspec.json.decode(items.facts, type=FactTable))
            for section, kind, raws in (("providers", Provider, items.providers), ("models", Model, items.models)):
                for index, raw in enumerate(raws):
                    with self._about((section, index)):
                        models.take(kind.model_validate_json(self._resolved(raw, folder)))
                    if clock() - begun > SLICE:
                        yield
                        begun = clock()
            work.end_models(models, items.consumers)

        for index, raw in enumerate(items.routes):
            with self._about(("routes", index)):
                key = self._resolved(raw, folder)
                route: c.Route | None = None
                if b'"timeouts":{' in key or b'"llm":{' in key:
                    route = c.Route.model_validate_json(key)
                    key += repr((work.inherited(route), work.model_times(route))).encode()
                known = work.old_routes.get(key)
                if known is None:
                    known = work.route(route or c.Route.model_validate_json(key), index)
                else:
                    known = work.keep_route(known, index)
                built.routes[key] = known
            if clock() - begun > SLICE:
                yield
                begun = clock()

        router = work.old_router()
        if router is None:
            table = RouterBuilder()
            for _, entry in built.routes.values():
                with self._about(("routes", entry.order, "match", "path")):
                    table.add(entry)
                if clock() - begun > SLICE:
                    yield
                    begun = clock()
            work.add_implicit(table)
            router = table.finish()
        return work.finish(router, self._about)

    def prove(
        self, config: c.Gateway, folder: Path, tools_for: ToolsFor, facts: FactTable | None = None
    ) -> Built:  # fmt: skip
        """The Plan of *config* itself, for control: whatever cannot be built is reported, nothing of it will run.
        Parts with equal settings are made once, so that 10,000 routes cost little more than their shapes."""
        work = _Work(self._shelf, config, folder, tools_for, None, once=True)
        table = RouterBuilder()
        for index, upstream in enumerate(config.upstreams):
            with self._about(("upstreams", index)):
                work.upstreams[upstream.name] = work.built.upstreams[b"%d" % index] = work.upstream(upstream)
        if config.providers or config.models:
            models = work.begin_models(self._environment, facts or FactTable())
            for index, provider in enumerate(config.providers):
                with self._about(("providers", index)):
                    models.take(provider)
            for index, model in enumerate(config.models):
                with self._about(("models", index)):
                    models.take(model)
            work.end_models(models, b"")
        for index, route in enumerate(config.routes):
            known: tuple[RoutePlan, RouteEntry] | None = None
            with self._about(("routes", index)):
                known = work.built.routes[b"%d" % index] = work.route(route, index)
            with self._about(("routes", index, "match", "path")):
                if known is not None:
                    table.add(known[1])
        work.add_implicit(table)
        return work.finish(table.finish(), self._about)

    def _settings(self, items: Generation, folder: Path) -> tuple[bytes, c.Gateway]:
        try:
            key = self._resolved(items.settings, folder)
            return key, c.Gateway.model_validate_json(key)
        except ValueError as error:
            raise BuildError((), str(error)) from None

    def _resolved(self, raw: msgspec.Raw, folder: Path) -> bytes:
        """The item with its references put in: its identity over generations."""
        data = bytes(raw)
        if b"${" not in data:
            return data
        return self._encode(resolve_tree(msgspec.json.decode(data), self._environment, folder))

    def _about(self, path: FieldPath) -> _About:
        return _About(self._report, path)


class _About:
    """Turns whatever goes wrong with the item at *path* into a ``BuildError``."""

    __slots__ = ("_path", "_report")

    def __init__(self, report: Callable[[BuildError], None] | None, path: FieldPath) -> None:
        self._report = report
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None:
            return False
        for found in _build_errors(self._path, error):
            if self._report is None:
                raise found from None
            self._report(found)
        return isinstance(error, Exception)


def _build_errors(path: FieldPath, error: BaseException) -> Iterable[BuildError]:
    if isinstance(error, BuildError):
        return [BuildError(path + error.path, str(error), error.fix)]
    if isinstance(error, PartErrors):
        return [BuildError(path + e.path, str(e), e.fix) for e in error.errors]
    if isinstance(error, PartError):
        return [BuildError(path + error.path, str(error), error.fix)]
    if isinstance(error, RouteConflict):
        message = f"matches the same requests as the route {error.first_name}"
        return [BuildError((*path[:-1],), message, "give one of them another path, host, method or header (S5.2)")]
    if isinstance(error, (BadPattern, BadReference, ValueError)):
        return [BuildError(path, str(error), getattr(error, "fix", ""))]
    raise error


class _Work:
    """One build under way: config items in, plan objects out."""

    def __init__(
        self, shelf: Shelf, gateway: c.Gateway, folder: Path, tools_for: ToolsFor, previous: Built | None,
        *, once: bool = False, standing: Iterable[Made] = (), workers: int = 0,
    ) -> None:  # fmt: skip
        self._workers = workers
        self.built = Built()
        self.upstreams: dict[str, UpstreamPlan] = {}
        self._shelf = shelf
        self._gateway = gateway
        self._folder = folder
        self._tools_for = tools_for
        self._cleartext = any(listener.tls is None for listener in gateway.listeners)
        self.built.surroundings = (gateway.name, folder, self._cleartext)
        if previous is None or previous.surroundings != self.built.surroundings:
            previous = Built()
        self._chains = Chains(standing, once)
        self.model_waits = (FIRST, IDLE)
        """The longest times of all providers to first content and between two events."""
        self._previous = previous
        self.old_upstreams = previous.upstreams
        self.old_routes = previous.routes
        self._once: dict[tuple[str, bytes], Made] | None = {} if once else None

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _make(self, kind: str, part: w.Part, scope: str, before: Made | None) -> Made:
        key = self._shelf.key(part.use, part.settings)
        if before is not None and before.key == key:
            return before
        if self._once is not None and (made := self._once.get((kind, key))) is not None:
            return made
        made = Made(part.use, key, self._shelf.make(kind, part.use, part.settings, self._prepared(scope), key))
        if self._once is not None:
            self._once[kind, key] = made
        return made

    def _balancer(self, item: c.Upstream) -> Any:
        before = self._previous.balancers.get(item.name)
        with _About(None, ("balancer",)):
            made = self._make("balancers", item.balancer, f"upstream/{item.name}", before)
        self.built.balancers[item.name] = made
        return made.part

    def _sink(self, part: w.Part, index: int) -> Sink:
        scope = f"sink/{index}"
        made = self.built.sinks[scope] = self._make("sinks", part, scope, self._previous.sinks.get(scope))
        sink: Sink = made.part
        return sink

    # -- upstreams -----------------------------------------------------------------------------------------------------

    def keep_upstream(self, upstream: UpstreamPlan) -> None:
        """Take the balancer of a kept upstream over."""
        self.built.balancers[upstream.name] = self._previous.balancers[upstream.name]

    def upstream(self, item: c.Upstream) -> UpstreamPlan:
        """The upstream *item*."""
        health, hedge, batch = item.health, item.hedge, item.batch
        breaker, retry = item.breaker, item.retry
        return UpstreamPlan(
            name=item.name,
            targets=tuple(map(_target, item.targets)),
            balancer=self._balancer(item),
            balancer_use=item.balancer.use,
            health=None if health is None else HealthPlan(
                kind="tcp" if health.tcp else "http",
                expect=tuple(map(w.parse_statuses, health.expect)),
                **_fields(health, "tcp", "expect"),
            ),
            outlier=OutlierPlan(**_fields(item.outlier)),
            breaker=BreakerPlan(
                failure_statuses=tuple(map(w.parse_statuses, breaker.failure_statuses)),
                **_fields(breaker, "failure_statuses"),
            ),
            retry=RetryPlan(on=tuple(retry.on), **_fields(retry, "on")),
            hedge=None if hedge is None else HedgePlan(**_fields(hedge)),
            bulkhead=BulkheadPlan(**_fields(item.bulkhead)),
            slow_start=SlowStartPlan(**_fields(item.slow_start)),
            timeouts=TimeoutsPlan(**_fields(item.timeouts)),
            tls=UpstreamTlsPlan(
                ca=self._file(item.tls.ca),
                cert=self._file(item.tls.cert),
                key=self._file(item.tls.key),
                server_name=item.tls.server_name,
                verify=item.tls.verify,
                files=self.tls_files(item),
            ),
            fallback=tuple(
                FallbackPlan(
                    frozenset(f.on), f.upstream or "", None if f.respond is None else answer(f.respond)
                )
                for f in item.fallback
            ),
            batch=None if batch is None else BatchPlan(**_fields(batch)),
            host=item.host,
            warm=item.warm,
            max_connections=item.max_connections,
            panic=item.panic,
            at_zero=item.at_zero,
            zone=item.zone,
            discovery=self._discovery(item),
        )  # fmt: skip

    def _discovery(self, item: c.Upstream) -> DiscoveryPlan:
        """As written; else names are followed and addresses stay as they are (S16.7)."""
        part = item.discovery
        return DiscoveryPlan() if part is None else DiscoveryPlan(part.use, msgspec.json.encode(part.settings))

    def tls_files(self, item: c.Upstream) -> tuple[tuple[int, int, int], ...]:
        """Identity, size and time of each file that the TLS side of *item* names; zeros for one that is not there."""
        states: list[tuple[int, int, int]] = []
        for name in (item.tls.ca, item.tls.cert, item.tls.key):
            if name:
                try:
                    found = (self._folder / name).stat()
                    states.append((found.st_ino, found.st_size, found.st_mtime_ns))
                except OSError:
                    states.append((0, 0, 0))
        return tuple(states)

    def _file(self, name: str) -> str:
        """A path of the config, absolute."""
        return str(self._folder / name) if name else ""

    # -- models --------------------------------------------------------------------------------------------------------

    def begin_models(self, environment: Mapping[str, str], facts: FactTable) -> ModelWork:
        """The build of providers and models."""
        limits = self._tools_for("models").limits
        work = ModelWork(self._shelf, environment, self._folder, limits, facts, self._provider_balancer,
                         self._previous.models)  # fmt: skip
        self.built.models = work.built
        return work

    def end_models(self, work: ModelWork, consumers: bytes) -> None:
        """Put what *work* has built into the Plan. *consumers*: the lines of the generation."""
        work.finish(self._gateway.tenants, self._gateway.ledger, consumers)
        self.model_waits = work.waits
        for upstream in work.upstreams:
            self.upstreams[upstream.name] = upstream

    def model_times(self, item: c.Route) -> tuple[float, float]:
        """Seconds to first content and between two events, of the route *item* to models: its own, else the longest
        that a provider allows; a call is bound by the shorter one of route and provider."""
        own = item.timeouts or c.RouteTimeouts()
        first, idle = self.model_waits
        return own.first or first, own.idle or idle

    def _provider_balancer(self, name: str) -> Any:
        return self._make("balancers", w.Part(use="power_of_two"), f"upstream/{name}", None).part

    # -- routes --------------------------------------------------------------------------------------------------------

    def inherited(self, item: c.Route) -> TimeoutsPlan:
        """The times that *item* does not set itself: those of its first upstream, or of calls to models."""
        if item.llm is not None:
            return MODEL_TIMES
        upstream = self.upstreams.get(item.upstreams[0]) if item.upstreams else None
        return upstream.timeouts if upstream is not None else TimeoutsPlan()

    def keep_route(self, known: tuple[RoutePlan, RouteEntry], index: int) -> tuple[RoutePlan, RouteEntry]:
        """Take a route over with its filters; it may have moved to another place in the file."""
        route, entry = known
        for number in range(len(route.filters)):
            scope = f"{route.name}/{number}"
            self.built.filters[scope] = self._previous.filters[scope]
        return known if entry.order == index else (route, replace(entry, order=index))

    def route(self, item: c.Route, index: int) -> tuple[RoutePlan, RouteEntry]:
        """The route *item*, and how it is found."""
        route = self._route(item)
        match = item.match
        entry = RouteEntry(
            route,
            item.name,
            match.path,
            match.kind,
            tuple(match.hosts),
            route.methods,
            tuple(match.headers.items()),
            tuple(match.query.items()),
            index,
        )
        return route, entry

    def _route(self, item: c.Route) -> RoutePlan:
        made: list[Made] = []
        for index, part in enumerate(item.filters):
            scope = f"{item.name}/{index}"
            with _About(None, ("filters", index)):
                found = self._make("filters", part, scope, self._previous.filters.get(scope))
            self.built.filters[scope] = found
            made.append(found)
        times = item.timeouts
        chain = self._chains.of(tuple(made))
        llm = None
        if item.llm is not None:
            llm = llm_plan(item.llm, self.model_times(item), body_limit_of(made))
            chain = {**chain, "body_limit": max(llm.body, llm.multipart)}
        elif item.contexts is not None:
            chain = {**chain, "body_limit": min(body_limit_of(made) or contexts.BODY, contexts.BODY)}
        return RoutePlan(
            name=item.name,
            lane=item.lane,
            upstream=item.upstream or "",
            split=None if item.split is None else self._split(item.split, item.name),
            respond=None if item.respond is None else answer(item.respond),
            redirect=None if item.redirect is None else RedirectPlan(**_fields(item.redirect)),
            prefix=item.match.path if item.match.kind == "prefix" else "/",
            priority=item.priority,
            timeouts=None if times is None and llm is None else _merged(self.inherited(item), times),
            methods=frozenset(item.match.methods),
            encoded_slash=item.encoded_slash == "keep" or llm is not None,
            path_params=item.path_params == "keep",
            request_trailers=item.request_trailers == "forward",
            propagate_deadline=item.propagate_deadline,
            finish_on_disconnect=item.finish_on_disconnect,
            allow_idempotency_key=item.allow_idempotency_key,
            identity_fields=tuple(item.identity_fields.items()),
            log_query=tuple(item.log_query),
            llm=llm,
            contexts=contexts.route_contexts(item),
            **chain,
        )

    def _split(self, item: c.Split, route: str) -> SplitPlan:
        """The split of *route*; the route's name salts it, so that two splits draw independently."""
        tools = self._tools_for(f"{route}/split")
        splitter = Splitter(
            [arm.weight for arm in item.arms],
            [arm.upstream for arm in item.arms],
            route,
            tools.secret("cookies").encode(),
            tools.token,
            by=item.by,
            force=item.force or "",
        )
        arms = tuple(ArmPlan(arm.upstream, arm.weight, tuple(arm.header.items())) for arm in item.arms)
        return SplitPlan(arms, item.by, route, item.force or "", splitter.pick)

    # -- the whole -----------------------------------------------------------------------------------------------------

    def old_router(self) -> Any:
        """The router before, if not one route has changed or moved."""
        before, now = list(self._previous.routes.values()), list(self.built.routes.values())
        same = bool(now) and len(before) == len(now) and all(map(is_, before, now))
        if not same:
            return None
        self.built.discovery = self._previous.discovery
        return self._previous.plan.router

    def add_implicit(self, table: RouterBuilder) -> None:
        """Routes that come with others."""
        entries = [entry for _, entry in self.built.routes.values()]
        self.built.discovery = contexts.add_implicit(table, entries, self._chains.of(()))

    def finish(self, router: Any, about: Callable[[FieldPath], AbstractContextManager[None]]) -> Built:
        """The Plan around everything built."""
        sinks: list[Sink] = []
        for index, part in enumerate(self._gateway.sinks or [w.Part(use="access_log")]):
            with about(("sinks", index)):
                sinks.append(self._sink(part, index))
        routes = [route for route, _ in self.built.routes.values()]
        kept: ContextsPlan | None = None
        if any(route.contexts is not None for route in routes):
            with about(("repository",)):
                kept = self._contexts()
        if self.built.discovery is not None:
            routes.append(self.built.discovery)
        self.built.plan = self._plan(router, tuple(routes), tuple(sinks), kept)
        return self.built

    def _contexts(self) -> ContextsPlan:
        """The repository, which outlives this build while its settings stay the same."""
        stores = contexts.Stores(self._shelf, self._prepared, self._previous.stores)
        self.built.stores = stores.made
        return stores.plan(self._gateway, self._workers)

    def _prepared(self, scope: str) -> PartTools:
        """The tools of the part at *scope*."""
        tools = self._tools_for(scope)
        tools.name, tools.config_folder, tools.cleartext = self._gateway.name, self._folder, self._cleartext
        return tools

    def _plan(
        self, router: Any, routes: tuple[RoutePlan, ...], sinks: tuple[Sink, ...], kept: ContextsPlan | None
    ) -> Plan:
        gateway = self._gateway
        forwarded = gateway.forwarded
        methods = KNOWN_METHODS.union(*(route.methods for route in routes if not route.methods <= KNOWN_METHODS))
        names = {name for route in routes for name, _ in route.identity_fields}
        return Plan(
            generation=self.built.generation.number if self.built.generation is not None else 0,
            name=gateway.name,
            listeners=tuple(map(self._listener, gateway.listeners)),
            router=router,
            routes=routes,
            upstreams=self.upstreams,
            sinks=sinks,
            trusted_proxies=tuple(gateway.trusted_proxies),
            forwarded_source=forwarded.source,
            send_forwarded=forwarded.send,
            via=forwarded.via,
            identity_names=frozenset(names),
            methods=methods,
            tracing=TracingPlan(**_fields(gateway.tracing)),
            limits=LimitsPlan(**_fields(gateway.limits)),
            drain_accept=gateway.drain.accept,
            drain_finish=gateway.drain.finish,
            debug_scope=gateway.debug_scope,
            models=self.built.models.plan,
            contexts=kept,
            faults_allowed=gateway.faults.allow,
        )

    def _listener(self, item: c.Listener) -> ListenerPlan:
        address = w.split_address(item.address)
        tls = item.tls
        return ListenerPlan(
            name=item.address,
            host=address.host,
            port=address.port,
            tls=None if tls is None else ListenerTlsPlan(
                certificates=tuple(CertificatePlan(self._file(p.cert), self._file(p.key)) for p in tls.certificates),
                client_ca=self._file(tls.client_ca),
                client_certificates=tls.client_certificates,
                crl=self._file(tls.crl),
                default=tls.default,
            ),
            proxy_protocol=item.proxy_protocol,
            h2c=item.h2c,
            merge_slashes=item.slashes == "merge",
        )  # fmt: skip


def _fields(model: w.Section, *without: str) -> dict[str, Any]:
    """The fields of *model* by name; the plan's dataclass has the same ones."""
    return {name: value for name, value in model.__dict__.items() if name not in without}


def _target(item: c.Target) -> TargetPlan:
    url = w.split_url(item.url)
    return TargetPlan(url.scheme, url.host, url.port, item.weight, item.priority, item.zone, item.location,
                      url.base_path)  # fmt: skip


def _merged(inherited: TimeoutsPlan, own: c.RouteTimeouts | None) -> TimeoutsPlan:
    given = {} if own is None else {n: value for n, value in own.__dict__.items() if n != "first" and value is not None}
    return replace(inherited, **given)


def answer(item: c.Respond) -> Answer:
    """The fixed answer that *item* describes."""
    fields: Fields = [(name, value) for name, value in item.headers.items()]
    body, kind = b"", ""
    if item.json_ is not None:
        body, kind = msgspec.json.encode(item.json_), "application/json"
    elif item.text is not None:
        body, kind = item.text.encode(), "text/plain; charset=utf-8"
    elif item.body is not None:
        body = item.body.encode()
    if kind and "content-type" not in item.headers:
        fields.append(("content-type", kind))
    return Answer(item.status, fields, body)
