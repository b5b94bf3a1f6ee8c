from __future__ import annotations

import socket
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tidegate.assembly.facts import Facts
from tidegate.assembly.prices import fact_table, nusd

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_prices_are_whole_nanodollars_per_million() -> None:
    price, catalogue = Facts(fact_table([("mine", "openai")], NOW)).of("mine", "gpt-4o-mini-2024-07-18")
    assert price is not None
    assert price.id == "mine/gpt-4o-mini"
    assert price.units["input"] == 150_000_000
    assert price.units["cache_read"] == 75_000_000
    assert price.units["output"] == 600_000_000
    assert price.services["priority"].units["output"] == 1_000_000_000
    assert price.services["batch"].units["input"] == 75_000_000
    assert catalogue.window == 128_000


def test_tiers_by_input_length_come_along() -> None:
    price, _ = Facts(fact_table([("g", "google")], NOW)).of("g", "gemini-2.5-pro")
    assert price is not None
    assert [(tier.above, tier.price) for tier in price.tiers["input"]] == [(200_000, 2_500_000_000)]


def test_a_cloud_finds_models_of_other_vendors() -> None:
    price, _ = Facts(fact_table([("az", "azure")], NOW)).of("az", "claude-haiku-4-5")
    assert price is not None


def test_searches_and_hours_become_our_units() -> None:
    price, _ = Facts(fact_table([("a", "anthropic")], NOW)).of("a", "claude-haiku-4-5")
    assert price is not None
    assert price.units["searches"] == 10_000 * 1_000_000_000  # 10 dollars a thousand


def test_a_price_finer_than_a_nanodollar_is_rounded_up() -> None:
    assert nusd(Decimal("0.0000000001")) == 1
    assert nusd(Decimal("0.15")) == 150_000_000


def test_a_vendor_the_table_does_not_know_has_no_facts() -> None:
    assert fact_table([("x", "no-such-vendor")], NOW).providers == {}


def test_every_model_of_the_table_is_read() -> None:
    from genai_prices import data

    table = fact_table([(provider.id, provider.id) for provider in data.providers], NOW)
    assert sum(map(len, table.providers.values())) >= sum(len(provider.models) for provider in data.providers)


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    assert fact_table([("mine", "openai")], NOW).providers["mine"]
