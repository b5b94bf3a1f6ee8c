"""``/api/v1/usage`` (C11.1)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tidegate.control.admin.usage import span
from tidegate.control.bookkeeper import Usage

ROW = {"model": "fast", "requests": 3, "errors": 1, "input_tokens": 10, "output_tokens": 4, "cached_tokens": 2,
       "estimated": 1, "cost": 12_500_000, "saved": 0, "waste": 1}  # fmt: skip


def test_usage_is_told_in_counts_and_decimal_dollars(call: Any, door: Any, desk: Any, bearer: Any) -> None:
    desk.used = Usage([ROW, {**ROW, "model": "slow", "cost": 3_000_000_000}], 1_763_700_000.5)
    answer = call(door, "GET", "/api/v1/usage?from=2026-11-01&to=2026-11-21", bearer)
    assert desk.calls == ["usage 2026-11-01T00 2026-11-22T00 model "]
    fast = {"requests": 3, "errors": 1, "input_tokens": 10, "output_tokens": 4, "cached_tokens": 2, "estimated": 1,
            "cost_usd": "0.0125", "saved_usd": "0", "waste_usd": "0.000000001"}  # fmt: skip
    assert answer.json() == {
        "from": "2026-11-01T00:00:00Z",
        "to": "2026-11-22T00:00:00Z",
        "by": ["model"],
        "total": {"requests": 6, "errors": 2, "input_tokens": 20, "output_tokens": 8, "cached_tokens": 4,
                  "estimated": 2, "cost_usd": "3.0125", "saved_usd": "0", "waste_usd": "0.000000002"},
        "items": [{"model": "fast", **fast}, {"model": "slow", **fast, "cost_usd": "3"}],
        "as_of": 1_763_700_000.5,
    }  # fmt: skip


def test_buckets_and_other_names_are_keys_of_the_items(call: Any, door: Any, desk: Any, bearer: Any) -> None:
    desk.used = Usage([{**ROW, "at": "2026-11-21", "consumer": "c"}], 5.0)
    query = "by=consumer,model&bucket=day&from=2026-11-21T08:30Z&to=2026-11-21T10:00%2B01:00"
    answer = call(door, "GET", f"/api/v1/usage?{query}", bearer)
    assert desk.calls == ["usage 2026-11-21T08 2026-11-21T09 consumer,model day"]
    (item,) = answer.json()["items"]
    assert [item[name] for name in ("at", "consumer", "model")] == ["2026-11-21", "c", "fast"]


def test_what_only_ledgers_tell_can_be_asked_for_and_so_can_the_prices_of_today(
    call: Any, door: Any, desk: Any, bearer: Any
) -> None:
    desk.used = Usage([{**ROW, "user": "u1", "tag": "a,b", "repriced": 25_000_000, "unpriced": 2}], 5.0)
    answer = call(door, "GET", "/api/v1/usage?by=user,tag&from=2026-11-21&to=2026-11-21&reprice=1", bearer)
    assert desk.calls == ["usage 2026-11-21T00 2026-11-22T00 user,tag  reprice"]
    for told in (answer.json()["total"], answer.json()["items"][0]):
        assert (told["cost_usd"], told["repriced_usd"], told["unpriced"]) == ("0.0125", "0.025", 2)
    assert answer.json()["items"][0]["tag"] == "a,b"


@pytest.mark.parametrize(
    "query",
    ["from=yesterday", "to=2026-13-01", "from=2026-11-02&to=2026-10-01", "by=nobody", "reprice=often",
     "by=model,model", "bucket=week", "from=" + "1" * 100, "from=0001-01-01T00:00%2B14:00",
     "to=9999-12-31", "by=hour%22"],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(call: Any, door: Any, desk: Any, bearer: Any, query: str) -> None:
    answer = call(door, "GET", f"/api/v1/usage?{query}", bearer)
    assert (answer.status, answer.json()["code"], desk.calls) == (422, "invalid_field", [])


def test_money_is_told_to_who_has_the_token_only(call: Any, door: Any, desk: Any) -> None:
    assert call(door, "GET", "/api/v1/usage").status == 401
    assert desk.calls == []


def test_left_out_it_is_today_until_now() -> None:
    now = datetime(2026, 11, 21, 13, 5, tzinfo=UTC)
    assert span("", "", now.timestamp()) == (datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 21, 14, tzinfo=UTC))
    assert span("2026-11-21T08:59", "2026-11-21T10:00", 0.0) == (
        datetime(2026, 11, 21, 8, tzinfo=UTC),
        datetime(2026, 11, 21, 10, tzinfo=UTC),
    )
