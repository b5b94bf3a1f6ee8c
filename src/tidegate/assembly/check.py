"""Is this config good? Everything that can be known before the first request: shape, names, files, order, secrets.

All problems are collected and said at once; only what hides behind a broken shape waits for the next run. The last
step builds the whole Plan with tools that do nothing, so that no worker ever meets a config that cannot be built.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
from pydantic import ValidationError

from tidegate.assembly import generation
from tidegate.assembly.build import Builder, BuildError, Built, collector_paused
from tidegate.assembly.chains import Made
from tidegate.assembly.config import LATER, Gateway, Upstream
from tidegate.assembly.config_words import Address, Part, split_address, split_url
from tidegate.assembly.contexts import check_contexts
from tidegate.assembly.facts import FactTable
from tidegate.assembly.inert import InertTools
from tidegate.assembly.model_checks import advise_models, check_models, model_facts
from tidegate.assembly.parts import PartError, PartErrors, Shelf, describe, found_in
from tidegate.assembly.problems import ConfigError, FieldPath, Problem, did_you_mean
from tidegate.assembly.read import Source, read

MIN_TOKEN: Final = 16
"""Characters of an admin token that is reachable from other machines (S23.3)."""
MAX_PROBLEMS: Final = 200
"""Problems said at once; nobody reads more."""
STAGES: Final = {
    "cors": 7, "ip": 8, "pre_auth": 8, "auth": 8, "authorize": 9, "limit": 10, "fault": 11, "body": 12, "cache": 13,
}  # fmt: skip
"""Stage of a filter → its step in the order of work (SEMANTICS 1); ``other`` may stand anywhere."""


class Checked:
    """A config that is good.

    config      as validated, references put in: the supervisor's and control's own view
    source      as written
    built       the Plan as every worker will build it, with tools that do nothing
    warnings    what is allowed but unwise
    facts       what is known of the models of its providers, as of today
    """

    def __init__(
        self, config: Gateway, source: Source, built: Built, warnings: list[Problem], facts: FactTable
    ) -> None:  # fmt: skip
        self.config = config
        self.source = source
        self.built = built
        self.warnings = warnings
        self.facts = facts

    @property
    def folder(self) -> Path:
        """Relative paths of the config start here."""
        return self.source.folder

    @property
    def data(self) -> Path:
        """The data folder, absolute."""
        return self.folder / self.config.data

    def generation(self, number: int, digest: Callable[[bytes], bytes]) -> bytes:
        """The config as the file that workers read; see ``generation.write``."""
        facts = msgspec.json.encode(self.facts)
        return generation.write(self.config, self.source.references, number, self.folder, digest, facts)


def check(path: Path, environment: Mapping[str, str], workers: int = 0) -> Checked:
    """The config at *path*, proved for *workers*, 0 for as many as it says itself. Raises ``ConfigError`` with
    everything that is wrong with it."""
    with collector_paused():
        return _check(path, environment, workers)


def _check(path: Path, environment: Mapping[str, str], workers: int) -> Checked:
    source = read(path, environment)
    try:
        config = Gateway.model_validate(source.tree)
    except ValidationError as error:
        raise ConfigError(_shape_problems(source, error)) from None
    shelf = Shelf()
    found = _Findings(source)
    _names(found, config)
    _references(found, config)
    _addresses(found, config)
    _files(found, config)
    _admin(found, config, environment)
    _settings(found, config, shelf)
    check_models(found, config, environment)
    check_contexts(found.bad, config, workers or config.workers or os.cpu_count() or 1)
    found.stop_if_bad()
    facts = model_facts(config)
    built = _trial(found, config, environment, shelf, facts)
    found.stop_if_bad()
    _order(found, config, built)
    _answers_of_models(found, config, built)
    found.stop_if_bad()
    _advice(found, config)
    advise_models(found, config, built)
    return Checked(config, source, built, [*source.warnings, *found.warnings], facts)


class _Findings:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def bad(self, path: FieldPath, message: str, fix: str = "") -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(self.source.problem(path, message, fix))

    def unwise(self, path: FieldPath, message: str, fix: str = "") -> None:
        if len(self.warnings) < MAX_PROBLEMS:
            self.warnings.append(self.source.problem(path, message, fix))

    def stop_if_bad(self) -> None:
        if self.problems:
            raise ConfigError(_in_order(self.problems))


def _in_order(problems: list[Problem]) -> list[Problem]:
    files = list(dict.fromkeys(p.file for p in problems))
    return sorted(problems, key=lambda p: (files.index(p.file), p.line))


# -- shape -------------------------------------------------------------------------------------------------------------


def _shape_problems(source: Source, error: ValidationError) -> list[Problem]:
    problems: list[Problem] = []
    for found in found_in(error)[:MAX_PROBLEMS]:
        path, message, fix = describe(Gateway, found)
        if found["type"] == "extra_forbidden" and str(path[-1]) in LATER.get(_kind_at(path[:-1]), ()):
            message, fix = "is not available in this version", "leave it out"
        problems.append(source.problem(_as_written(source.tree, path, found["type"] == "missing"), message, fix))
    return _in_order(problems)


def _as_written(tree: object, path: FieldPath, missing: bool) -> FieldPath:
    """*path* without the steps that only say which of several ways of writing a value was tried. *missing*: its last
    step is one that should be there."""
    kept: list[str | int] = []
    at = tree
    for number, step in enumerate(path):
        here = step in at if isinstance(at, dict) else isinstance(at, list) and step in range(len(at))
        if here:
            at = at[step]  # type: ignore[index]
        elif not missing or number < len(path) - 1:
            continue
        kept.append(step)
    return tuple(kept)


def _kind_at(path: FieldPath) -> str:
    """Which list of ``LATER`` counts at *path*."""
    if not path:
        return "gateway"
    if path[-1] == "split":
        return "split"
    if path[-1] == "llm":
        return "llm"
    kinds = {"routes": "route", "upstreams": "upstream", "models": "model"}
    return kinds.get(str(path[0]), "") if len(path) == 2 else ""


# -- names -------------------------------------------------------------------------------------------------------------


def _names(found: _Findings, config: Gateway) -> None:
    """Names are unique within their kind, keys over all consumers."""
    for kind, names in (
        ("providers", [provider.name for provider in config.providers]),
        ("models", [model.name for model in config.models]),
        ("tenants", [tenant.name for tenant in config.tenants]),
        ("upstreams", [upstream.name for upstream in config.upstreams]),
        ("routes", [route.name for route in config.routes]),
        ("consumers", [consumer.name for consumer in config.consumers]),
    ):
        if len(set(names)) == len(names):
            continue
        seen: set[str] = set()
        for index, name in enumerate(names):
            if name in seen:
                found.bad((kind, index, "name"), f"the name {name} is taken already", "give it another name")
            seen.add(name)
    keys = [key for consumer in config.consumers for key in consumer.key_texts]
    if len(set(keys)) != len(keys):
        _shared_keys(found, config)
    for index, consumer in enumerate(config.consumers):
        if consumer.basic is not None and not consumer.basic.startswith("$argon2id$"):
            found.bad(("consumers", index, "basic"), "must be an argon2id hash, like $argon2id$v=19$...",
                      "hash the password; never write it here")  # fmt: skip


def _shared_keys(found: _Findings, config: Gateway) -> None:
    owners: dict[str, str] = {}
    for index, consumer in enumerate(config.consumers):
        keys = consumer.key_texts
        for number, key in enumerate(keys):
            owner = owners.setdefault(key, consumer.name)
            if owner != consumer.name or keys.index(key) != number:
                found.bad(("consumers", index, "keys", number), f"the consumer {owner} has this key already",
                          "give every consumer a key of its own")  # fmt: skip


def _references(found: _Findings, config: Gateway) -> None:
    """Whatever names an upstream names one that is there; no chain of fallbacks comes back to itself."""
    names = {upstream.name for upstream in config.upstreams}

    def must_exist(path: FieldPath, name: str) -> None:
        if name not in names:
            found.bad(path, f"there is no upstream {name}", did_you_mean(name, names) or "add it under upstreams:")

    for index, route in enumerate(config.routes):
        if route.upstream is not None:
            must_exist(("routes", index, "upstream"), route.upstream)
        if route.split is not None:
            for number, arm in enumerate(route.split.arms):
                must_exist(("routes", index, "split", "arms", number, "upstream"), arm.upstream)
        for number, part in enumerate(route.filters):
            named = part.settings.get("upstream")
            if isinstance(named, str):
                must_exist(("routes", index, "filters", number, "upstream"), named)
    next_ones: dict[str, list[str]] = {}
    for index, upstream in enumerate(config.upstreams):
        for number, fallback in enumerate(upstream.fallback):
            if fallback.upstream is not None:
                must_exist(("upstreams", index, "fallback", number, "upstream"), fallback.upstream)
                next_ones.setdefault(upstream.name, []).append(fallback.upstream)
    for index, upstream in enumerate(config.upstreams):
        circle = _circle(upstream.name, next_ones)
        if circle:
            found.bad(("upstreams", index, "fallback"), f"the fallbacks go in a circle: {' > '.join(circle)}",
                      "end the chain with respond:")  # fmt: skip


def _circle(start: str, next_ones: Mapping[str, list[str]]) -> list[str]:
    """The way from *start* back to itself, or nothing. Depth first, each name once."""
    way = [start]
    seen: set[str] = set()
    branches = [iter(next_ones.get(start, ()))]
    while branches:
        name = next(branches[-1], None)
        if name is None:
            branches.pop()
            way.pop()
        elif name == start:
            return [*way, start]
        elif name not in seen:
            seen.add(name)
            way.append(name)
            branches.append(iter(next_ones.get(name, ())))
    return []


# -- addresses ---------------------------------------------------------------------------------------------------------


def _addresses(found: _Findings, config: Gateway) -> None:
    """No address twice, and no upstream that is ourselves (S4.3)."""
    taken: list[Address] = []
    for index, listener in enumerate(config.listeners):
        address = split_address(listener.address)
        if any(_same(address.host, address.port, other) for other in taken):
            found.bad(("listeners", index, "address"), "another listener has this address already")
        taken.append(address)
    if config.admin is not None:
        admin = split_address(config.admin.address)
        if any(_same(admin.host, admin.port, other) for other in taken):
            found.bad(("admin", "address"), "a listener has this address already", "give the admin API a port alone")
    for index, upstream in enumerate(config.upstreams):
        for number, target in enumerate(upstream.targets):
            url = split_url(target.url)
            if any(_same(url.host, url.port, own) for own in taken):
                found.bad(("upstreams", index, "targets", number, "url"), "this is a listener of this very gateway",
                          "name the service behind it (S4.3)")  # fmt: skip
    for index, provider in enumerate(config.providers):
        try:
            url = split_url(provider.base_url)
        except ValueError:
            continue
        if any(_same(url.host, url.port, own) for own in taken):
            found.bad(("providers", index, "base_url"), "this is a listener of this very gateway",
                      "name the vendor behind it (S4.3)")  # fmt: skip


def _same(host: str, port: int, other: Address) -> bool:
    if port == 0 or port != other.port:
        return False
    host, taken = (_plain_host(h) for h in (host, other.host))
    local = host in ("0.0.0.0", "::") or host.startswith("127.") or host == "::1"
    return host == taken or (taken in ("0.0.0.0", "::") and local) or host in ("0.0.0.0", "::")


def _plain_host(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


# -- files and secrets -------------------------------------------------------------------------------------------------


def _files(found: _Findings, config: Gateway) -> None:
    """Certificates and keys are there and readable; private keys are private."""
    for path, name, private in _named_files(config):
        file = found.source.folder / name
        try:
            with file.open("rb") as opened:
                opened.read(1)
            mode = file.stat().st_mode
        except OSError as error:
            found.bad(path, f"the file {name} cannot be read: {error.strerror}", "check its path and mode")
            continue
        if private and mode & 0o004:
            found.unwise(path, f"the file {name} can be read by every user of this machine", "chmod 600 it")


def _named_files(config: Gateway) -> Iterator[tuple[FieldPath, str, bool]]:
    """(field, file, whether it is secret)."""
    for index, listener in enumerate(config.listeners):
        if listener.tls is None:
            continue
        at: FieldPath = ("listeners", index, "tls")
        for number, pair in enumerate(listener.tls.certificates):
            yield (*at, "certificates", number, "cert"), pair.cert, False
            yield (*at, "certificates", number, "key"), pair.key, True
        for field in ("client_ca", "crl"):
            if getattr(listener.tls, field):
                yield (*at, field), getattr(listener.tls, field), False
    for index, upstream in enumerate(config.upstreams):
        for field in ("ca", "cert", "key"):
            if getattr(upstream.tls, field):
                yield ("upstreams", index, "tls", field), getattr(upstream.tls, field), field == "key"


def _admin(found: _Findings, config: Gateway, environment: Mapping[str, str]) -> None:
    """Off loopback the admin API has a token that cannot be guessed (S23.3)."""
    admin = config.admin
    if admin is None or split_address(admin.address).loopback:
        return
    token = admin.token or environment.get("TIDEGATE_ADMIN_TOKEN", "")
    fix = f"set TIDEGATE_ADMIN_TOKEN to at least {MIN_TOKEN} random characters, or listen on 127.0.0.1"
    if not token:
        found.bad(("admin", "token"), f"{admin.address} can be reached from other machines and has no token", fix)
    elif len(token) < MIN_TOKEN or len(set(token)) < MIN_TOKEN // 2:
        found.bad(("admin", "token"), f"the token is too weak for {admin.address}, which others can reach", fix)


# -- parts -------------------------------------------------------------------------------------------------------------


def _settings(found: _Findings, config: Gateway, shelf: Shelf) -> None:
    """Every part exists and its own ``Config`` takes its settings."""
    for kind, path, part in _parts(config):
        try:
            shelf.config(kind, part.use, part.settings)
        except PartErrors as error:
            for one in error.errors:
                found.bad(path + one.path, str(one), one.fix)
        except PartError as error:
            found.bad(path + error.path, str(error), error.fix)


def _parts(config: Gateway) -> Iterator[tuple[str, FieldPath, Part]]:
    """(kind, where, part)."""
    for index, upstream in enumerate(config.upstreams):
        yield "balancers", ("upstreams", index, "balancer"), upstream.balancer
        if upstream.discovery is not None:
            yield "discoveries", ("upstreams", index, "discovery"), upstream.discovery
    for index, route in enumerate(config.routes):
        for number, part in enumerate(route.filters):
            yield "filters", ("routes", index, "filters", number), part
    for index, part in enumerate(config.sinks):
        yield "sinks", ("sinks", index), part
    for index, model in enumerate(config.models):
        if model.targets:
            yield "strategies", ("models", index, "strategy"), model.strategy


def _trial(
    found: _Findings, config: Gateway, environment: Mapping[str, str], shelf: Shelf, facts: FactTable
) -> Built:  # fmt: skip
    """Build the Plan with tools that do nothing."""

    def report(error: BuildError) -> None:
        found.bad(error.path, str(error), error.fix)

    folder = found.source.folder
    builder = Builder(environment, report=report, shelf=shelf)
    return builder.prove(config, folder, lambda scope: InertTools(scope, folder / config.data), facts)


def _order(found: _Findings, config: Gateway, built: Built) -> None:
    """Filters stand in the order of work: what is unsafe is refused, what is merely odd is said (SEMANTICS 1)."""
    good: set[tuple[Made, ...]] = set()
    for index, route in enumerate(config.routes):
        made = tuple([built.filters[f"{route.name}/{number}"] for number in range(len(route.filters))])
        if len(made) < 2 or made in good:
            # A proof makes equal parts once, so most routes of a large config share theirs.
            continue
        stages = [str(getattr(m.part, "stage", "other")) for m in made]
        fine = True
        for number, m in enumerate(made):
            path: FieldPath = ("routes", index, "filters", number)
            later = list(zip(stages[number + 1 :], made[number + 1 :], strict=True))
            step = STAGES.get(stages[number])
            early = next((n for s, n in later if step is not None and STAGES.get(s, step) < step), None)
            refused = _unsafe(m, stages[number], later)
            if refused:
                found.bad(path, *refused)
            elif early is not None:
                found.unwise(path, f"{m.use} runs before {early.use}, which usually comes first",
                             f"put {early.use} above it")  # fmt: skip
            fine = fine and not refused and early is None
        if fine:
            good.add(made)


def _answers_of_models(found: _Findings, config: Gateway, built: Built) -> None:
    """Answers of models leave as they come: no filter of their routes may want a whole one (LLM rule 9)."""
    for index, route in enumerate(config.routes):
        if route.llm is None:
            continue
        for number, item in enumerate(route.filters):
            made = built.filters[f"{route.name}/{number}"]
            if hasattr(made.part, "on_response_body") and item.settings.get("response") is not None:
                found.bad(("routes", index, "filters", number),
                          f"{made.use} wants whole answers, and those of models leave as they come",
                          "leave out its response")  # fmt: skip


def _unsafe(made: Made, stage: str, later: list[tuple[str, Made]]) -> tuple[str, str] | None:
    """Why *made* must not stand before *later*, and what to do."""
    for other_stage, other in later:
        if getattr(made.part, "reads_identity", False) and other_stage == "auth" and stage != "auth":
            return f"{made.use} reads the identity before {other.use} has verified it", f"put {other.use} above it"
        early = stage == "cache" or (stage == "body" and hasattr(made.part, "on_request_body"))
        if early and other_stage in ("ip", "pre_auth", "auth", "authorize", "limit"):
            what = "reads the body" if stage == "body" else "answers from the cache"
            return f"{made.use} {what} before {other.use} has let the request in", f"put {other.use} above it"
    return None


# -- advice ------------------------------------------------------------------------------------------------------------


def _advice(found: _Findings, config: Gateway) -> None:
    """What is allowed but was probably not meant."""
    for index, network in enumerate(config.trusted_proxies):
        if network.endswith("/0"):
            found.unwise(("trusted_proxies", index), "everybody is trusted, so every client can name any address",
                         "list the proxies in front of this gateway (S4.4)")  # fmt: skip
    for index, upstream in enumerate(config.upstreams):
        _upstream_advice(found, index, upstream)


def _upstream_advice(found: _Findings, index: int, upstream: Upstream) -> None:
    if not upstream.tls.verify and any(t.url.startswith("https:") for t in upstream.targets):
        found.unwise(("upstreams", index, "tls", "verify"), "any certificate is accepted", "name its CA in tls.ca")
    if not any(target.weight for target in upstream.targets):
        found.unwise(("upstreams", index, "targets"), "every weight is 0, so every request gets 503 (S5.8)")
