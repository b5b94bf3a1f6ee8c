from __future__ import annotations

import msgspec
import pytest

from tidegate.assembly.facts import REMEMBERED, Clause, Fact, Facts, FactTable, matches
from tidegate.ports.models import CatalogueRow, PriceRow, PriceTier

MINI = Fact(
    "mini",
    Clause("any", of=(Clause("is", "mini"), Clause("begins", "mini-2"))),
    {"input": 150, "output": 600},
    {"input": ((200_000, 300),)},
    {"priority": {"input": 250}},
    7,
    128_000,
)
TABLE = FactTable("test 1", "2026-11-22", {"openai": (MINI,)})


@pytest.mark.parametrize(
    ("clause", "fits", "fits_not"),
    [
        (Clause("is", "a"), "a", "ab"),
        (Clause("begins", "a"), "ab", "ba"),
        (Clause("ends", "a"), "ba", "ab"),
        (Clause("contains", "a"), "bab", "b"),
        (Clause("regex", "^a.c$"), "abc", "ab"),
        (Clause("any", of=(Clause("is", "a"), Clause("is", "b"))), "b", "c"),
        (Clause("all", of=(Clause("begins", "a"), Clause("ends", "b"))), "ab", "a"),
    ],
)
def test_clauses(clause: Clause, fits: str, fits_not: str) -> None:
    assert matches(clause, fits)
    assert not matches(clause, fits_not)


def test_a_model_is_found_by_its_clause_in_any_case() -> None:
    price, catalogue = Facts(TABLE).of("openai", "Mini-2024")
    assert price is not None
    assert (price.id, price.units, price.per_request) == ("openai/mini", {"input": 150, "output": 600}, 7)
    assert price.tiers == {"input": (PriceTier(200_000, 300),)}
    assert (price.source, price.as_of) == ("test 1", "2026-11-22")
    assert catalogue == CatalogueRow(window=128_000)


def test_a_service_tier_has_a_row_of_its_own_without_the_tiers_it_overrides() -> None:
    price, _ = Facts(TABLE).of("openai", "mini")
    assert price is not None
    priority = price.services["priority"]
    assert (priority.id, priority.units, priority.tiers) == (
        "openai/mini@priority", {"input": 250, "output": 600}, {},
    )  # fmt: skip


def test_what_is_not_known_has_no_price() -> None:
    facts = Facts(TABLE)
    assert facts.of("openai", "other") == (None, CatalogueRow())
    assert facts.of("nobody", "mini") == (None, CatalogueRow())
    assert facts.of("openai", "mini-2" + "0" * 300) == (None, CatalogueRow())


def test_the_price_of_a_whole_provider_goes_before_the_table_and_holds_for_what_it_does_not_know() -> None:
    facts = Facts(TABLE)
    facts.own["openai"] = free = PriceRow("config/openai", {}, free=True)
    price, catalogue = facts.of("openai", "mini")
    assert price is free and catalogue == Facts(TABLE).of("openai", "mini")[1]
    assert facts.of("openai", "nobody's") == (free, CatalogueRow())


def test_the_models_of_a_provider_are_known_by_name() -> None:
    assert Facts(TABLE).names("openai") == tuple(fact.id for fact in TABLE.providers["openai"])
    assert Facts(TABLE).names("nobody") == ()


def test_names_are_remembered_within_a_bound() -> None:
    facts = Facts(TABLE)
    first = facts.of("openai", "mini")
    assert facts.of("openai", "mini") is first
    for number in range(REMEMBERED):
        facts.of("openai", f"x{number}")
    assert len(facts._found) <= REMEMBERED


def test_a_table_travels_as_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(TABLE), type=FactTable) == TABLE
