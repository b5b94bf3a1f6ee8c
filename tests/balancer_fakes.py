"""What balancers are given: tools with seeded chance and a clock the test moves, and pools of endpoints."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from fakes import exchange
from tidegate.exchange.exchange import Exchange
from tidegate.ports.balancer import Endpoint


class PoolTools:
    """``chance``: numbers to give first; afterwards they come from a generator with a fixed seed."""

    def __init__(self, *chance: float, seed: int = 7) -> None:
        self.chance = list(chance)
        self.clock = 1000.0
        self.version = 0
        self._generator = random.Random(seed)

    def random(self) -> float:
        return self.chance.pop(0) if self.chance else self._generator.random()

    def now(self) -> float:
        return self.clock

    def weights_version(self) -> int:
        return self.version


def pool(*weights: float, **more: Any) -> tuple[Endpoint, ...]:
    """Endpoints named a, b, c ... with these weights; other settings as lists, one value an endpoint."""
    return tuple(
        Endpoint(
            "pool", "http", chr(ord("a") + n % 26) + (str(n // 26) if n >= 26 else ""), 80, weight=weight, index=n,
            **{name: values[n] for name, values in more.items()},
        )
        for n, weight in enumerate(weights)
    )  # fmt: skip


def sequence(balancer: Any, endpoints: Sequence[Endpoint], count: int, x: Exchange | None = None) -> str:
    """Hosts picked one after the other, each request over before the next begins."""
    return " ".join(balancer.pick(x or exchange(), endpoints).host for _ in range(count))


def tally(balancer: Any, endpoints: Sequence[Endpoint], count: int, x: Exchange | None = None) -> Counter[str]:
    """How often each host was picked, each request over before the next begins."""
    return Counter(sequence(balancer, endpoints, count, x).split())
