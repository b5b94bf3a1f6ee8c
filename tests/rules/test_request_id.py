"""Request ids: what is kept and what is made (S4.12)."""

import uuid

import pytest

from tidegate.rules.request_id import is_good_request_id, uuid7


@pytest.mark.parametrize("chance", [0, 1, (1 << 74) - 1, 0x2AAAAAAAAAAAAAAAAAA])
def test_the_id_is_a_version_7_uuid_of_its_time(chance: int) -> None:
    made = uuid.UUID(uuid7(1_763_000_000_123, chance))
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == 1_763_000_000_123


def test_different_chance_gives_different_ids() -> None:
    assert len({uuid7(1, 1 << bit) for bit in range(74)}) == 74


@pytest.mark.parametrize(("value", "good"), [("a", True), ("A-b_c.9", True), ("x" * 128, True), ("x" * 129, False),
                                             ("", False), ("a b", False), ("a\n", False), ("ä", False)])  # fmt: skip
def test_only_plain_short_ids_are_kept(value: str, good: bool) -> None:
    assert is_good_request_id(value) is good
