"""Tools that do nothing: what parts are built with when a config is only checked or explained."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from tidegate.ports.authority import Limits, LimitSpec, Verdict
from tidegate.ports.consumers import Consumer, Consumers, KeySets
from tidegate.rules.failed_logins import FailedLogins

T = TypeVar("T")


class InertPolicy:
    """Allows everything, counts nothing."""

    def __init__(self, spec: LimitSpec) -> None:
        self.spec = spec

    def take(self, partition: str, cost: int = 1) -> Verdict:
        return Verdict(True, self.spec.amount, 0.0)

    def give_back(self, partition: str, cost: int = 1, taken: float = 0.0) -> None:
        pass


class InertLimits:
    def policy(self, spec: LimitSpec) -> InertPolicy:
        return InertPolicy(spec)


class InertConsumers:
    """Knows nobody."""

    def __init__(self) -> None:
        self.failures = FailedLogins()

    def epoch(self) -> int:
        return 0

    def by_key(self, key: str) -> Consumer | None:
        return None

    def by_name(self, name: str) -> Consumer | None:
        return None

    def by_access_key(self, id: str) -> tuple[Consumer, str] | None:
        return None

    def secret_of(self, name: str, kind: str) -> str | None:
        return None


class InertKeySets:
    """Has no key set."""

    def get(self, url: str) -> dict[str, Any] | None:
        return None

    def want(self, url: str, kid: str) -> None:
        pass

    def version(self, url: str) -> int:
        return 0


class InertTools:
    """``ports/tools`` for parts of every kind: nothing goes out, nothing waits. Only the date is real, because parts
    judge expiries by it."""

    def __init__(self, scope: str, data_folder: Path) -> None:
        self.scope = scope
        self.name = ""
        self.config_folder = data_folder
        self.data_folder = data_folder
        self.limits: Limits = InertLimits()
        self.consumers: Consumers = InertConsumers()
        self.key_sets: KeySets = InertKeySets()
        self.cleartext = True

    def now(self) -> float:
        return 0.0

    def wall(self) -> float:
        return time.time()

    def random(self) -> float:
        return 0.5

    def token(self, size: int) -> bytes:
        return bytes(size)

    def weights_version(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        raise RuntimeError("nothing waits while a config is checked")

    async def offload(self, work: Callable[..., T], *arguments: Any, pool: str = "default", size: int = 4) -> T:
        raise RuntimeError("nothing waits while a config is checked")

    def send_copy(
        self, upstream: str, method: str, path: str, fields: list[tuple[str, str]], body: bytes, timeout: float
    ) -> bool:
        return False

    def faults_allowed(self) -> bool:
        return False

    def counter(self, name: str, **labels: str) -> Callable[[int], None]:
        return _count

    def spawn(self, work: Awaitable[Any]) -> None:
        close = getattr(work, "close", None)
        if close is not None:
            close()

    def log(self, level: str, event: str, **fields: object) -> None:
        pass

    def secret(self, reference: str) -> str:
        return "0" * 32


def _count(amount: int) -> None:
    pass
