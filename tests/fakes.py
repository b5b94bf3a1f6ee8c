"""Fakes of what parts are given: tools on a clock that the test moves, and exchanges that never met a socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from tidegate.exchange.exchange import Exchange, Peer
from tidegate.exchange.head import CHUNKED, Fields, RequestHead
from tidegate.ports.authority import LimitSpec, Verdict
from tidegate.ports.consumers import Consumer
from tidegate.rules.failed_logins import FailedLogins


def exchange(
    method: str = "GET",
    path: str = "/",
    fields: Fields | None = None,
    *,
    query: str = "",
    host: str = "api.example",
    port: int = 0,
    client_ip: str = "192.0.2.1",
    scheme: str = "https",
    trusted: bool = False,
    certificate: bytes = b"",
    body_length: int = 0,
    started: float = 1000.0,
    wall: float = 1_700_000_000.0,
) -> Exchange:
    """An exchange as the journey hands it to the first filter: head parsed, address, host and path decided."""
    lines: Fields = [("host", host), *(fields or [])]
    if body_length == CHUNKED:
        lines.append(("transfer-encoding", "chunked"))
    elif body_length:
        lines.append(("content-length", str(body_length)))
    index: dict[str, str] = {}
    for name, value in lines:
        index[name] = f"{index[name]}{'; ' if name == 'cookie' else ', '}{value}" if name in index else value
    target = f"{path}?{query}" if query else path
    peer = Peer("test", client_ip, scheme=scheme, trusted=trusted, tls="TLSv1.3" if scheme == "https" else "",
                certificate=certificate)  # fmt: skip
    x = Exchange(peer, RequestHead(method, target, 11, lines, index, body_length), started, wall)
    x.host, x.port, x.path, x.query, x.client_ip = host, port, path, query, client_ip
    x.upstream_path, x.upstream_query = path, query
    return x


def finish(result: Any) -> Any:
    """What a hook came to: *result* itself, or what its coroutine returns when no fake makes it wait."""
    if not hasattr(result, "send"):  # a compiled coroutine is none to inspect
        return result
    try:
        result.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the coroutine waited for something that no fake provides")


class FakeConsumers:
    """Keys and consumers as plain dicts. ``trouble`` is raised by every look-up while it is set."""

    def __init__(self) -> None:
        self.keys: dict[str, Consumer] = {}
        self.names: dict[str, Consumer] = {}
        self.secrets: dict[tuple[str, str], str] = {}
        self.access_keys: dict[str, tuple[Consumer, str]] = {}
        self.trouble: BaseException | None = None
        self.version = 1
        self.asked: list[str] = []
        self.failures = FailedLogins()

    def add(self, consumer: Consumer, *keys: str) -> None:
        """A consumer with its keys; a new epoch begins."""
        self.names[consumer.name] = consumer
        for key in keys:
            self.keys[key] = consumer
        self.version += 1

    def epoch(self) -> int:
        return self.version

    def by_key(self, key: str) -> Consumer | None:
        self.asked.append(key)
        if self.trouble is not None:
            raise self.trouble
        return self.keys.get(key)

    def by_name(self, name: str) -> Consumer | None:
        if self.trouble is not None:
            raise self.trouble
        return self.names.get(name)

    def by_access_key(self, id: str) -> tuple[Consumer, str] | None:
        if self.trouble is not None:
            raise self.trouble
        return self.access_keys.get(id)

    def secret_of(self, name: str, kind: str) -> str | None:
        if self.trouble is not None:
            raise self.trouble
        return self.secrets.get((name, kind))


class FakeKeySets:
    """Key sets by URL; ``wanted`` lists what was asked for in vain."""

    def __init__(self) -> None:
        self.sets: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, int] = {}
        self.wanted: list[tuple[str, str]] = []

    def put(self, url: str, key_set: dict[str, Any]) -> None:
        self.sets[url] = key_set
        self.versions[url] = self.versions.get(url, 0) + 1

    def get(self, url: str) -> dict[str, Any] | None:
        return self.sets.get(url)

    def want(self, url: str, kid: str) -> None:
        self.wanted.append((url, kid))

    def version(self, url: str) -> int:
        return self.versions.get(url, 0)


class FakePolicy:
    """Gives the verdicts queued in ``verdicts``, then allows; ``wait`` makes ``take`` answer by coroutine."""

    def __init__(self, spec: LimitSpec) -> None:
        self.spec = spec
        self.verdicts: list[Verdict | BaseException] = []
        self.taken: list[tuple[str, int]] = []
        self.returned: list[tuple[str, int]] = []
        self.wait = False

    def take(self, partition: str, cost: int = 1) -> Verdict | Coroutine[Any, Any, Verdict]:
        self.taken.append((partition, cost))
        verdict: Verdict | BaseException = Verdict(True, max(self.spec.amount - 1, 0), self.spec.per)
        if self.verdicts:
            verdict = self.verdicts.pop(0)
        if isinstance(verdict, BaseException):
            raise verdict
        return self._later(verdict) if self.wait else verdict

    async def _later(self, verdict: Verdict) -> Verdict:
        return verdict

    def give_back(self, partition: str, cost: int = 1, taken: float = 0.0) -> None:
        self.returned.append((partition, cost))


class FakeLimits:
    """One ``FakePolicy`` a name, so that two places naming the same policy share it."""

    def __init__(self) -> None:
        self.policies: dict[str, FakePolicy] = {}

    def policy(self, spec: LimitSpec) -> FakePolicy:
        return self.policies.setdefault(spec.name, FakePolicy(spec))


class FakeTools:
    """Every tool, on a clock that moves only when the test says so.

    ``clock`` monotonic seconds, ``epoch_seconds`` wall time; ``advance`` moves both. ``offload`` runs inline and
    notes (pool, size); ``sleep`` advances the clock; ``counts`` holds what counters added up, by name and
    sorted labels.
    """

    def __init__(self, *, cleartext: bool = False, config_folder: Path = Path(), data_folder: Path = Path()) -> None:
        self.name = "tidegate"
        self.config_folder = config_folder
        self.data_folder = data_folder
        self.limits = FakeLimits()
        self.consumers = FakeConsumers()
        self.key_sets = FakeKeySets()
        self.cleartext = cleartext
        self.clock = 1000.0
        self.epoch_seconds = 1_700_000_000.0
        self.chance: list[float] = []
        self.counts: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
        self.offloaded: list[tuple[str, int]] = []
        self.offload_trouble: BaseException | None = None
        self.copies: list[tuple[str, str, str, Fields, bytes, float]] = []
        self.copies_taken = True
        self.spawned: list[Awaitable[Any]] = []
        self.lines: list[tuple[str, str, dict[str, object]]] = []
        self.secrets: dict[str, str] = {}
        self._tokens = 0

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass on both clocks."""
        self.clock += seconds
        self.epoch_seconds += seconds

    def count(self, name: str, **labels: str) -> int:
        """What was counted so far."""
        return self.counts.get((name, tuple(sorted(labels.items()))), 0)

    def now(self) -> float:
        return self.clock

    def wall(self) -> float:
        return self.epoch_seconds

    def random(self) -> float:
        return self.chance.pop(0) if self.chance else 0.5

    def token(self, size: int) -> bytes:
        self._tokens += 1
        return self._tokens.to_bytes(size, "big")

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    async def offload(self, work: Callable[..., Any], *arguments: Any, pool: str = "default", size: int = 4) -> Any:
        self.offloaded.append((pool, size))
        if self.offload_trouble is not None:
            raise self.offload_trouble
        return work(*arguments)

    def send_copy(self, upstream: str, method: str, path: str, fields: list[tuple[str, str]], body: bytes,
                  timeout: float) -> bool:  # fmt: skip
        if self.copies_taken:
            self.copies.append((upstream, method, path, fields, body, timeout))
        return self.copies_taken

    def counter(self, name: str, **labels: str) -> Callable[[int], None]:
        key = (name, tuple(sorted(labels.items())))

        def add(amount: int) -> None:
            self.counts[key] = self.counts.get(key, 0) + amount

        return add

    def spawn(self, work: Awaitable[Any]) -> None:
        self.spawned.append(work)

    def log(self, level: str, event: str, **fields: object) -> None:
        self.lines.append((level, event, fields))

    def secret(self, reference: str) -> str:
        return self.secrets.get(reference, reference)
