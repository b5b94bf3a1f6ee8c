"""Levels (S22.2)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fakes import FakeTools, exchange
from tidegate.exchange.identity import Identity
from tidegate.filters.priority import Config, Priority

SETTINGS = {"level": "low", "consumers": {"ann": "critical"}, "tenants": {"acme": 1}}


def level(identity: Identity | None = None, said: str = "", **settings: Any) -> int:
    x = exchange(fields=[("priority", said)] if said else [])
    x.identity = identity
    Priority(Config.model_validate(settings), FakeTools()).on_request_head(x)
    return x.priority


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (None, 3),
        (Identity("bob", "api_key"), 3),
        (Identity("bob", "api_key", tenant="acme"), 1),
        (Identity("bob", "api_key", tenant="acme", priority=2), 2),
        (Identity("ann", "api_key", tenant="acme", priority=2), 0),
    ],
)
def test_the_most_particular_setting_wins_s22_2(identity: Identity | None, expected: int) -> None:
    assert level(identity, **SETTINGS) == expected


def test_without_settings_the_routes_level_stays() -> None:
    assert level() == 2


def test_a_client_may_lower_itself_and_not_raise() -> None:
    assert (level(said="u=5"), level(said="u=7"), level(said="u=0")) == (3, 3, 2)
    assert level(said="u=7", client=False) == 2


@pytest.mark.parametrize("bad", ["urgent", 4, -1, True, 1.5])
def test_other_levels_are_refused(bad: object) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"level": bad})
