"""What a worker remembers of models between calls: who is busy, how fast, who rests (LLM 9).

Figures are each worker's own: a strategy compares targets, and every worker sees the same ones.
"""

from __future__ import annotations

from typing import Any, Final

from tidegate.exchange.chat import Usage
from tidegate.rules.cooldown import Cooldowns
from tidegate.rules.hedging import Hedging
from tidegate.rules.seal_vault import SealVault
from tidegate.rules.token_count import LearnedFactor

WEIGHT: Final = 0.2
"""Of the latest call in the moving averages."""

TARGETS: Final = 4096


class Figures:
    """One model of one provider. ``ttft`` and ``rate`` are 0.0 until somebody has called it."""

    __slots__ = ("cached_share", "calls", "in_flight", "rate", "ttft")

    def __init__(self) -> None:
        self.in_flight = 0
        self.calls = 0
        self.ttft = 0.0
        self.rate = 0.0
        self.cached_share = 0.0

    def answered(self, ttft: float, seconds: float, usage: Usage | None) -> None:
        """A call was answered: *ttft* seconds to its first content, *seconds* in all."""
        self.calls += 1
        self.ttft = ttft if self.calls == 1 else self.ttft + WEIGHT * (ttft - self.ttft)
        if usage is None:
            return
        if usage.output > 0 and seconds > ttft:
            rate = usage.output / (seconds - ttft)
            self.rate = rate if self.rate == 0.0 else self.rate + WEIGHT * (rate - self.rate)
        if usage.input > 0:
            share = min(1.0, usage.cache_read / usage.input)
            self.cached_share += WEIGHT * (share - self.cached_share)


class ModelStates:
    """One per worker. ``busy``: calls in flight by provider, and by ``provider|credential``."""

    def __init__(self) -> None:
        self.cooldowns = Cooldowns()
        self.figures: dict[str, Figures] = {}
        self.busy: dict[str, int] = {}
        self.hedges: dict[str, Hedging] = {}
        """By model, how many of its calls were hedged; by target, its pace."""
        self.turns: dict[str, int] = {}
        """Provider → its calls, where it has several credentials: they take turns."""
        self.skews: dict[str, float] = {}
        """Upstream → seconds that its clock is ahead of ours, where signatures were refused because of that."""
        self.seals = SealVault()
        """Sealed thoughts of answers whose clients may drop them."""
        self.factors: dict[str, LearnedFactor] = {}
        """Target → what it bills of a token that we count; only of models whose tokenizer nobody knows."""
        self.batches: dict[str, None] = {}
        """Batches that are booked."""
        self.counting = False
        """Some call had to be counted: from then on it is worth learning."""

    def of(self, key: str) -> Figures:
        """The figures of the target *key*."""
        found = self.figures.get(key)
        if found is None:
            if len(self.figures) >= TARGETS:
                self.figures = {key: f for key, f in self.figures.items() if f.in_flight}
            found = self.figures[key] = Figures()
        return found

    def factor(self, key: str) -> LearnedFactor:
        """What the target *key* was seen to bill, to learn more."""
        found = self.factors.get(key)
        if found is None:
            if len(self.factors) >= TARGETS:
                del self.factors[next(iter(self.factors))]
            found = self.factors[key] = LearnedFactor()
        return found

    def enter(self, name: str) -> None:
        """One more call in flight."""
        self.busy[name] = self.busy.get(name, 0) + 1

    def leave(self, name: str) -> None:
        """One less."""
        left = self.busy.get(name, 0) - 1
        if left > 0:
            self.busy[name] = left
        else:
            self.busy.pop(name, None)

    def explain(self, now: float) -> dict[str, Any]:
        """JSON-ready: who is busy, how fast, who rests."""
        return {
            "resting": self.cooldowns.explain(now),
            "in_flight": dict(self.busy),
            "targets": {
                key: {"in_flight": f.in_flight, "ttft": round(f.ttft, 4), "rate": round(f.rate, 1)}
                for key, f in self.figures.items()
            },
            "token_factors": {key: round(factor.value, 3) for key, factor in self.factors.items()},
        }
