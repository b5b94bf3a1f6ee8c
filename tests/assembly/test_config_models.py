from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tidegate.assembly import config_models as m
from tidegate.assembly.config_words import Section
from tidegate.rules.pricing import dollars


@pytest.mark.parametrize(
    ("written", "nusd"),
    [
        (10, 10_000_000_000),
        (0.15, 150_000_000),
        ("0.075", 75_000_000),
        (0.3, 300_000_000),
        (0, 0),
        ("10", 10_000_000_000),
        ("0.125", 125_000_000),
        ("0.000000001", 1),
        ("1e3", 1_000_000_000_000),
    ],
)
def test_dollars_are_read_as_written(written: object, nusd: int) -> None:
    assert m.parse_usd(written) == nusd


@pytest.mark.parametrize(
    "written",
    [
        True,
        None,
        -1,
        "ten",
        float("nan"),
        float("inf"),
        "1e10",
        "0.0000000001",
        [],
        "",
        "-1",
        "NaN",
        "Infinity",
        "1e20",
        "1e999999999",
    ],
)
def test_what_is_no_amount_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="an amount of dollars"):
        m.parse_usd(written)


@given(st.integers(0, m.MOST_USD * m.NUSD))
def test_an_amount_is_written_so_that_it_is_read_again(nusd: int) -> None:
    assert m.parse_usd(dollars(nusd)) == nusd


def test_a_budget_may_be_one_or_several() -> None:
    one = m.Team.model_validate({"name": "t", "budget": {"usd": 10}})
    assert one.budget == (m.Budget(usd=10, per="month"),)
    with pytest.raises(ValidationError, match="stands here twice"):
        m.Team.model_validate({"name": "t", "budget": [{"usd": 1}, {"usd": 2}]})


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"name": "fast"}, "exactly one of targets and pipeline"),
        ({"name": "f*", "pipeline": {"parallel": ["a", "b"]}}, "cannot be a pipeline"),
        ({"name": "f", "pipeline": {}}, "exactly one of parallel and route"),
        ({"name": "f", "pipeline": {"parallel": ["a"], "quorum": 2}}, "could never be met"),
    ],
)
def test_contradictions_are_named(model: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        m.Model.model_validate(model)


def test_a_provider_keeps_what_its_preset_asks_for() -> None:
    provider = m.Provider.model_validate({"name": "aws", "use": "bedrock", "region": "eu-central-1"})
    assert provider.settings == {"region": "eu-central-1"}
    assert "sk-secret" not in repr(m.Provider.model_validate({"name": "a", "use": "openai", "api_key": "sk-secret"}))


def test_every_setting_is_explained() -> None:
    found = [getattr(m, name) for name in dir(m)]
    sections = [s for s in found if isinstance(s, type) and issubclass(s, Section)]
    assert [f"{s.__name__}.{n}" for s in sections for n, f in s.model_fields.items() if not f.description] == []
