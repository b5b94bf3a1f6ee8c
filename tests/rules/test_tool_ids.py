from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.tool_ids import LETTERS_AND_DIGITS, SAFE, fit_id, minted_id


def test_an_id_that_fits_is_left_alone() -> None:
    assert fit_id("call_abc-1", 40) == "call_abc-1"
    assert fit_id("a1B2c3D4e", 9, LETTERS_AND_DIGITS) == "a1B2c3D4e"


def test_others_become_a_digest_that_never_changes() -> None:
    assert fit_id("toolu.01/x", 40) == fit_id("toolu.01/x", 40)
    assert fit_id("toolu.01/x", 40) != fit_id("toolu.01/y", 40)
    assert fit_id("", 40).startswith("call_")


@given(st.text(max_size=80), st.sampled_from([(9, LETTERS_AND_DIGITS), (40, SAFE), (64, SAFE)]))
def test_the_result_always_fits(id: str, bound: tuple[int, str]) -> None:
    limit, alphabet = bound
    made = fit_id(id, limit, alphabet)
    assert 0 < len(made) <= limit
    assert set(made) <= set(alphabet)
    assert fit_id(made, limit, alphabet) == made


def test_minted_ids_differ_by_turn_and_position() -> None:
    assert len({minted_id(seed, position) for seed in ("a", "b") for position in range(3)}) == 6
    assert minted_id("a", 0) == minted_id("a", 0)
