"""The promise of a balancer: given usable endpoints, name one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import ResponseHead
from tidegate.rules.response_time import Timed


class Endpoint(Timed):
    """One address and port of an upstream, with what this worker knows of it. Survives reloads by its key.

    key        ``host:port``; identity over reloads together with the upstream's name
    host       name or address as written in the config; ``address`` the one to connect to (DNS names: resolved)
    weight     configured weight × slow-start factor; 0 gets nothing
    active     requests in flight on it, over all workers of the node (own ones exact, others' re-read each 5 ms)
    average    exponentially weighted seconds to the first byte, 0.0 without a sample; ``average_at`` its time
    load       weight reported by the endpoint itself (ORCA), 0.0 without report; ``load_at`` its time
    """

    __slots__ = (
        "address", "base_weight", "host", "index", "key", "load", "load_at", "location", "own_active", "port",
        "priority", "scheme", "slot", "state", "upstream", "zone",
    )  # fmt: skip

    def __init__(
        self,
        upstream: str,
        scheme: str,
        host: str,
        port: int,
        *,
        address: str = "",
        weight: float = 1.0,
        priority: int = 0,
        zone: str = "",
        location: tuple[float, float] | None = None,
        index: int = 0,
    ) -> None:
        super().__init__(weight)
        self.upstream = upstream
        self.scheme = scheme
        self.host = host
        self.port = port
        self.address = address or host
        self.key = f"{address or host}:{port}"
        self.base_weight = weight
        self.priority = priority
        self.zone = zone
        self.location = location
        self.index = index
        self.own_active = 0
        self.load = 0.0
        self.load_at = 0.0
        self.slot = -1
        """Place in the shared segment, -1 when it has none."""
        self.state: object = None
        """The engine's own per-endpoint object (pool, health); parts leave it alone."""

    def __repr__(self) -> str:
        return f"<Endpoint {self.key} weight={self.weight:g} active={self.active}>"


class Balancer(Protocol):
    """Built once per upstream and Plan as ``Class(config, tools)``; see ``ports/tools.BalancerTools``."""

    def pick(self, x: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint:
        """One of *endpoints*: the usable ones of the tier, never empty; on a retry without those already tried. The
        same tuple object is passed as long as nothing changed, so tables may be kept per ``endpoints is seen``
        (weights may change under slow start: ``tools.weights_version()`` tells)."""

    def observe(self, endpoint: Endpoint, seconds: float, failed: bool, head: ResponseHead | None) -> None:
        """Optional. One attempt ended its first-byte phase after *seconds*; *head* as it came from the upstream (a
        balancer that reads load reports may remove its fields)."""
