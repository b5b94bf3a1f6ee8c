"""Request ids: what is kept and what is made (S4.12)."""

import uuid
from random import Random

import pytest

from tidegate.rules.request_id import RequestIds, is_good_request_id


@pytest.mark.parametrize("drawn", [0, 1, -1])
def test_an_id_is_a_version_7_uuid_of_its_millisecond(drawn: int) -> None:
    made = uuid.UUID(RequestIds(lambda bits: drawn & ((1 << bits) - 1)).make(1_763_000_000.123))
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == 1_763_000_000_123


def test_ten_thousand_ids_of_one_millisecond_differ_and_are_well_formed() -> None:
    ids = RequestIds(Random(1).getrandbits)
    made = {ids.make(5.0) for _ in range(10_000)}
    assert len(made) == 10_000
    assert {uuid.UUID(one).version for one in made} == {7}


def test_two_workers_never_make_the_same_id() -> None:
    one, other = RequestIds(Random(1).getrandbits), RequestIds(Random(2).getrandbits)
    assert not {one.make(n / 1000) for n in range(3000)} & {other.make(n / 1000) for n in range(3000)}


@pytest.mark.parametrize(("value", "good"), [("a", True), ("A-b_c.9", True), ("x" * 128, True), ("x" * 129, False),
                                             ("", False), ("a b", False), ("a\n", False), ("ä", False)])  # fmt: skip
def test_only_plain_short_ids_are_kept(value: str, good: bool) -> None:
    assert is_good_request_id(value) is good
