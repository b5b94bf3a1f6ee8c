"""Priority tiers and panic (S11.10, S12.8): which endpoints the balancer may choose among."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeVar

OVERPROVISION: Final = 1.4
"""A tier is thought to bear 1.4 times its share, so the loss of a few endpoints moves nobody to the next tier."""
PANIC_TIER: Final = 5
"""In smaller tiers the dead would take most of the traffic."""


class Tiered(Protocol):
    """As much of an endpoint as this rule looks at."""

    priority: int


E = TypeVar("E", bound=Tiered)


def shares(counts: Iterable[tuple[int, int, int]]) -> list[tuple[int, float]]:
    """``(tier, share)`` for each tier that gets traffic, shares summing to 1.0.

    *counts*: ``(tier, all, usable)``. In ascending order each tier bears ``min(1, usable / all · 1.4)`` of what its
    betters left over. When all of them together cannot bear everything, what they can is scaled up (S11.10). Empty
    when nothing is usable.
    """
    loads: list[tuple[int, float]] = []
    left = 1.0
    for tier, total, usable in sorted(counts):
        if total <= 0 or usable <= 0:
            continue
        load = min(left, min(1.0, usable / total * OVERPROVISION))
        loads.append((tier, load))
        left -= load
        if left <= 1e-9:
            break
    borne = sum(load for _, load in loads)
    return [(tier, load / borne) for tier, load in loads]


def choose_tier(loads: Sequence[tuple[int, float]], draw: float) -> int:
    """The tier for one request; *draw* uniform in [0, 1), *loads* from :func:`shares`, not empty."""
    for tier, load in loads:
        draw -= load
        if draw < 0.0:
            return tier
    return loads[-1][0]


def panics(total: int, usable: int, percent: float = 50.0) -> bool:
    """S12.8: some but fewer than *percent* of a tier of at least five can be used."""
    return total >= PANIC_TIER and usable > 0 and usable * 100.0 < total * percent


def tiers(enabled: Sequence[E], usable: Sequence[E], percent: float = 50.0) -> list[tuple[float, tuple[E, ...], bool]]:
    """``(share, candidates, panicked)`` of each tier that gets traffic, best tier first. To be kept until health
    changes: one tier is the common case and then costs nothing per request. Empty when nothing is usable."""
    everyone: dict[int, list[E]] = {}
    fit: dict[int, list[E]] = {}
    for endpoint in enabled:
        everyone.setdefault(endpoint.priority, []).append(endpoint)
    for endpoint in usable:
        fit.setdefault(endpoint.priority, []).append(endpoint)
    counts = [(tier, len(members), len(fit.get(tier, ()))) for tier, members in everyone.items()]
    result: list[tuple[float, tuple[E, ...], bool]] = []
    for tier, share in shares(counts):
        panicked = panics(len(everyone[tier]), len(fit[tier]), percent)
        result.append((share, tuple(everyone[tier] if panicked else fit[tier]), panicked))
    return result


def candidates(enabled: Sequence[E], usable: Sequence[E], percent: float, draw: float) -> tuple[tuple[E, ...], bool]:
    """The endpoints to balance over for one request, and whether they are there in panic. ``((), False)`` when
    nothing is usable. *draw* uniform in [0, 1)."""
    result: tuple[tuple[E, ...], bool] = ((), False)
    for share, members, panicked in tiers(enabled, usable, percent):
        result = (members, panicked)
        draw -= share
        if draw < 0.0:
            break
    return result
