"""Usage times prices (LLM 10): whole n$, rounded once, parts that add up, a reserve that is never too small."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.chat import Usage
from tidegate.exchange.ledger import CostPart
from tidegate.ports.models import PriceRow, PriceTier
from tidegate.rules.pricing import cost_of, dollars, price_at, reserve_of

USD = 1_000_000_000
SONNET = PriceRow(
    "sonnet",
    {"input": 3 * USD, "output": 15 * USD, "cache_read": 300_000_000, "cache_write": 3_750_000_000,
     "cache_write_1h": 6 * USD, "searches": 10_000 * USD},
    {"input": (PriceTier(200_000, 6 * USD),), "output": (PriceTier(200_000, 22_500_000_000),)},
)  # fmt: skip
MINI = PriceRow("mini", {"input": 150_000_000, "output": 600_000_000, "cache_read": 75_000_000})


def parts(usage: Usage, row: PriceRow) -> dict[str, tuple[int, int]]:
    cost = cost_of(usage, row)
    assert sum(part.nusd for part in cost.parts) == cost.nusd
    return {part.name: (part.quantity, part.nusd) for part in cost.parts}


@pytest.mark.parametrize(
    ("usage", "row", "expected"),
    [
        (Usage(input=1000, output=500), MINI, {"input": (1000, 150_000), "output": (500, 300_000)}),
        (Usage(input=1000, output=0, cache_read=600), MINI, {"cache_read": (600, 45_000), "input": (400, 60_000)}),
        (
            Usage(input=2100, output=100, cache_read=1000, cache_write=1000,
                  cache_write_by_ttl=((300, 400), (3600, 600))),
            SONNET,
            {"cache_read": (1000, 300_000), "cache_write_1h": (600, 3_600_000), "cache_write": (400, 1_500_000),
             "input": (100, 300_000), "output": (100, 1_500_000)},
        ),
        (Usage(input=10, output=10, thinking=4), MINI, {"input": (10, 1500), "output": (10, 6000)}),
        (
            Usage(input=0, output=10, tool_calls=(("web_search", 2),)), SONNET,
            {"output": (10, 150_000), "searches": (2, 20_000_000)},
        ),
        (Usage(searches=1, tool_calls=(("web_search", 1),)), SONNET, {"searches": (1, 10_000_000)}),
        (Usage(input=200_001, output=1), SONNET, {"input": (200_001, 1_200_006_000), "output": (1, 22_500)}),
        (Usage(input=200_000, output=1), SONNET, {"input": (200_000, 600_000_000), "output": (1, 15_000)}),
    ],
)  # fmt: skip
def test_buckets_are_disjoint_and_each_has_its_price(
    usage: Usage, row: PriceRow, expected: dict[str, tuple[int, int]]
) -> None:
    assert parts(usage, row) == expected


def test_thinking_audio_and_images_have_lines_of_their_own_where_they_are_priced_apart() -> None:
    units = {"input": 1_000_000, "output": 2_000_000, "thinking": 3_000_000, "audio_in": 4_000_000,
             "audio_out": 5_000_000, "image_in": 6_000_000, "image_out": 7_000_000}  # fmt: skip
    usage = Usage(input=10, audio_in=2, image_in=3, output=20, thinking=4, audio_out=5, image_out=6)
    assert parts(usage, PriceRow("all", units)) == {
        "audio_in": (2, 8), "image_in": (3, 18), "input": (5, 5), "thinking": (4, 12), "audio_out": (5, 25),
        "image_out": (6, 42), "output": (5, 10),
    }  # fmt: skip


def test_what_is_not_counted_in_tokens_is_billed_by_its_unit_and_seconds_by_the_millisecond() -> None:
    units = {"seconds_in": 100_000 * USD, "seconds_out": USD, "characters": 15 * USD, "images": 40_000 * USD,
             "tool:code": 5 * USD}  # fmt: skip
    usage = Usage(ms_in=1500, ms_out=1, characters=3, images=2, tool_calls=(("code", 7), ("other", 9)))
    assert parts(usage, PriceRow("speech", units)) == {
        "characters": (3, 45_000), "seconds_in": (1500, 150_000_000), "seconds_out": (1, 1), "images": (2, 80_000_000),
        "tool:code": (7, 35_000),
    }  # fmt: skip


def test_a_request_has_its_price_and_a_free_model_none() -> None:
    row = PriceRow("call", {"input": 0}, per_request=7)
    assert parts(Usage(requests=3), row) == {"requests": (3, 21)}
    assert cost_of(Usage(input=5, output=5), PriceRow("gift", {"input": USD}, free=True)) == (0, (), ())


def test_the_sum_is_rounded_once_half_up_and_the_largest_part_takes_the_rest() -> None:
    row = PriceRow("odd", {"input": 400_000, "output": 300_000, "cache_read": 300_000})
    cost = cost_of(Usage(input=2, cache_read=1, output=1), row)  # 0.3 + 0.4 + 0.3
    assert cost.nusd == 1
    assert cost.parts == (CostPart("cache_read", 1, 0), CostPart("input", 1, 1), CostPart("output", 1, 0))
    assert cost_of(Usage(input=1), PriceRow("half", {"input": 500_000})).nusd == 1
    assert cost_of(Usage(input=1), PriceRow("less", {"input": 499_999})).nusd == 0


def test_a_count_below_zero_is_nought_and_flagged_and_never_pays_back() -> None:
    cost = cost_of(Usage(input=-5, output=10), MINI)
    assert (cost.nusd, cost.flags) == (6000, ("usage_negative",))
    cost = cost_of(Usage(input=10, cache_read=15), MINI)
    assert cost == (1125, (CostPart("cache_read", 15, 1125),), ("usage_negative",))
    assert cost_of(Usage(input=10, cache_read=-15), MINI).flags == ("usage_negative",)


def test_a_count_no_call_can_have_is_cut_and_flagged() -> None:
    cost = cost_of(Usage(output=10**30), MINI)
    assert (cost.nusd, cost.flags) == (600_000_000 * 10**6, ("usage_huge",))


def test_tiers_may_stand_in_any_order() -> None:
    row = PriceRow("t", {"input": 1}, {"input": (PriceTier(100, 3), PriceTier(10, 2))})
    assert [price_at(row, "input", read) for read in (10, 11, 100, 101)] == [1, 2, 2, 3]


def test_reserves_count_the_dearest_that_can_happen() -> None:
    assert reserve_of(MINI, 1000, 500) == 450_000
    assert reserve_of(MINI, 1000, 500, 3) == 150_000 + 900_000
    assert reserve_of(SONNET, 1000, 0, cache_writes=False) == 3_000_000
    assert reserve_of(SONNET, 1000, 0) == 6_000_000
    assert reserve_of(SONNET, 200_001, 10) == -(-(200_001 * 6_000 + 225_000) // 1)
    assert reserve_of(SONNET, 0, 0, other=Usage(tool_calls=(("web_search", 3),))) == 30_000_000
    assert reserve_of(PriceRow("call", {}, per_request=9), 5, 5, other=Usage(requests=2)) == 18
    assert reserve_of(PriceRow("gift", {"input": USD}, free=True), 10**6, 10**6) == 0
    loud = PriceRow("loud", {"input": 1_000_000, "output": 2_000_000, "audio_in": 9_000_000, "audio_out": 8_000_000})
    assert reserve_of(loud, 10, 10) == 170
    assert reserve_of(loud, 10, 10, media=False) == 30


counts = st.integers(0, 2_000_000)
prices = st.integers(0, 200 * USD)


@st.composite
def rows(draw: st.DrawFn) -> PriceRow:
    units = {"input": draw(prices), "output": draw(prices)}
    for name in ("cache_read", "cache_write", "cache_write_1h", "thinking", "audio_in", "audio_out", "image_in"):
        if draw(st.booleans()):
            units[name] = draw(prices)
    tiers = {
        name: tuple(PriceTier(above, draw(prices)) for above in draw(st.lists(counts, max_size=3, unique=True)))
        for name in units
        if draw(st.booleans())
    }
    return PriceRow("r", units, tiers, per_request=draw(st.integers(0, 1000)))


@st.composite
def honest(draw: st.DrawFn) -> Usage:
    read = draw(counts)
    parts = [draw(st.integers(0, read)) for _ in range(3)]
    parts.sort()
    cached, written, loud = parts[0], parts[1] - parts[0], parts[2] - parts[1]
    lasting = draw(st.integers(0, written))
    made = draw(counts)
    thought = draw(st.integers(0, made))
    return Usage(
        input=read, cache_read=cached, cache_write=written, audio_in=loud, output=made, thinking=thought,
        cache_write_by_ttl=((300, written - lasting), (3600, lasting)), audio_out=draw(st.integers(0, made - thought)),
    )  # fmt: skip


@given(honest(), rows())
def test_parts_add_up_to_the_exact_sum_rounded_once(usage: Usage, row: PriceRow) -> None:
    cost = cost_of(usage, row)
    assert sum(part.nusd for part in cost.parts) == cost.nusd
    exact = Fraction(row.per_request)
    for part in cost.parts:
        if part.name != "requests":
            exact += Fraction(part.quantity * price_at(row, part.name, usage.input), 1_000_000)
    assert abs(exact - cost.nusd) <= Fraction(1, 2)
    assert sum(p.quantity for p in cost.parts if p.name in ("input", "cache_read", "cache_write", "cache_write_1h",
                                                            "audio_in")) == usage.input  # fmt: skip
    assert cost.flags == ()


@given(honest(), rows(), counts, counts)
def test_a_reserve_is_never_less_than_honest_usage_costs(usage: Usage, row: PriceRow, more: int, longer: int) -> None:
    assert reserve_of(row, usage.input + more, usage.output + longer) >= cost_of(usage, row).nusd


whatever = st.integers(-(10**15), 10**15)


@given(st.builds(Usage, input=whatever, output=whatever, cache_read=whatever, cache_write=whatever, thinking=whatever,
                 audio_in=whatever, requests=whatever), rows())  # fmt: skip
def test_no_usage_whatever_costs_less_than_nothing(usage: Usage, row: PriceRow) -> None:
    cost = cost_of(usage, row)
    assert cost.nusd >= 0
    assert all(part.nusd >= 0 for part in cost.parts)


@pytest.mark.parametrize(
    ("nusd", "text"), [(0, "0"), (1, "0.000000001"), (12_500_000, "0.0125"), (3 * USD, "3"), (-1_500_000_000, "-1.5")]
)
def test_n_dollars_are_written_as_dollars(nusd: int, text: str) -> None:
    assert dollars(nusd) == text


def test_no_reservation_is_larger_than_what_a_store_can_hold() -> None:
    assert reserve_of(PriceRow("p", {"output": 10**12}), 0, 1 << 31, 1 << 16) == 10**18


def test_a_service_tier_is_booked_and_set_aside_at_its_own_price() -> None:
    """``service_tier: priority`` costs what the row of that tier says; ``auto`` may cost the dearest of them."""
    priority = PriceRow("m@priority", {"input": 2_000_000, "output": 4_000_000})
    row = PriceRow("m", {"input": 1_000_000, "output": 2_000_000}, services={"priority": priority})
    assert cost_of(Usage(input=10, output=10, tier="priority"), row).nusd == 60
    assert cost_of(Usage(input=10, output=10, tier="default"), row).nusd == 30
    assert [reserve_of(row, 10, 10, tier=tier) for tier in ("", "default", "priority", "auto")] == [30, 30, 60, 60]
