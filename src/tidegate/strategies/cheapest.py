"""Lowest price of this very call: its input, the share of it that is cached there lately, its expected output."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict

from tidegate.ports.strategy import Ask, Standing


class Config(BaseModel):
    """By the catalogue's prices; equal ones stay as written. No settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Cheapest:
    def __init__(self, config: Config) -> None:
        pass

    def order(self, standings: Sequence[Standing], ask: Ask, random: Callable[[], float]) -> list[int]:
        return sorted(range(len(standings)), key=lambda place: price_of(standings[place], ask))

    def served(self, standing: Standing, ask: Ask) -> None:
        pass


def price_of(standing: Standing, ask: Ask) -> float:
    """n$ times a million; only compared, never booked."""
    cached = ask.input_tokens * min(1.0, max(0.0, standing.cached_share)) if standing.price_cached else 0.0
    return (
        (ask.input_tokens - cached) * standing.price_input
        + cached * standing.price_cached
        + ask.output_tokens * standing.price_output
    )
