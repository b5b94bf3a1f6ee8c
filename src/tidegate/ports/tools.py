"""What a part is given to work with. Parts never see the Plan, the loop or a socket; they see these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tidegate.ports.authority import Limits
from tidegate.ports.consumers import Consumers, KeySets

T = TypeVar("T")


class BalancerTools(Protocol):
    """For balancers: chance, time and the weights' version."""

    def random(self) -> float:
        """Uniform in [0, 1)."""

    def now(self) -> float:
        """Monotonic seconds; may lag by one loop turn."""

    def weights_version(self) -> int:
        """Changes whenever an endpoint's weight has changed (slow start)."""


class Tools(Protocol):
    """For filters and every other part."""

    name: str
    """The gateway's configured name (``Via``, ``Proxy-Status``)."""
    config_folder: Path
    """Relative paths in a config start here."""
    data_folder: Path
    limits: Limits
    consumers: Consumers
    key_sets: KeySets
    cleartext: bool
    """True when some listener that reaches this route is plain text."""
    scope: str
    """Where this part stands in the config: ``<route>/<index of the filter>``. The same over reloads and workers as
    long as the place is, so it may name what must outlive both (the bucket of an unnamed limit, S9)."""

    def now(self) -> float:
        """Monotonic seconds; may lag by one loop turn."""

    def wall(self) -> float:
        """Seconds since the epoch; for HTTP dates, expiry and quota windows only."""

    def random(self) -> float:
        """Uniform in [0, 1)."""

    def token(self, size: int) -> bytes:
        """*size* unpredictable bytes."""

    async def sleep(self, seconds: float) -> None:
        """Wait on the worker's timer wheel; withdrawn when the exchange is cancelled."""

    async def offload(self, work: Callable[..., T], *arguments: Any, pool: str = "default", size: int = 4) -> T:
        """Run blocking *work* on a thread of the named pool of *size*; raises ``Fault`` 503 ``overloaded`` when 64
        calls wait already."""

    def send_copy(self, upstream: str, method: str, path: str, fields: list[tuple[str, str]], body: bytes,
                  timeout: float) -> bool:  # fmt: skip
        """Send a request to a configured upstream and drop the answer (mirror, S23.9). False: not sent (64 in flight
        already). Never raises, never delays the caller."""

    def faults_allowed(self) -> bool:
        """True while the operator config allows injected faults and nobody has pulled the kill switch (S25.2). Asked
        for each fault, so a pull is felt at once."""

    def counter(self, name: str, **labels: str) -> Callable[[int], None]:
        """An adder for the metric ``tidegate_<name>`` (``ports`` of S26). Ask at build time, call on the path."""

    def spawn(self, work: Awaitable[Any]) -> None:
        """Run *work* in a Task of its own, cancelled when the worker stops."""

    def log(self, level: str, event: str, **fields: object) -> None:
        """One line in the program log (rate-limited); never a secret."""

    def secret(self, reference: str) -> str:
        """The value of a config reference that is kept out of the Plan."""
