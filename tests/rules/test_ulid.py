"""Ids that sort by time."""

from __future__ import annotations

from tidegate.rules.ulid import ulid


def test_an_id_is_its_time_and_its_chance() -> None:
    assert ulid(0.0, 0) == "0" * 26
    assert ulid(1469918176.385, (1 << 80) - 1) == "01ARYZ6S41ZZZZZZZZZZZZZZZZ"


def test_ids_sort_by_time_first() -> None:
    assert ulid(1.0, (1 << 80) - 1) < ulid(1.25, 0) < ulid(1.25, 1)
