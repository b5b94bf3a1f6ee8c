"""Choosing a coding (S20.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.accept_encoding import best_coding

ALL = ("zstd", "br", "gzip")


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br", "br"),
        ("gzip", "gzip"),
        ("X-GZIP", "gzip"),
        ("gzip;q=1.0, br;q=0.9, zstd;q=0.1", "gzip"),
        ("gzip;q=0.5,br;q=0.5", "br"),
        ("br;q=0, *", "zstd"),
        ("*", "zstd"),
        ("*;q=0", ""),
        ("", ""),
        ("deflate", ""),
        ("identity, gzip;q=0.5", ""),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0, gzip", "gzip"),
        ("identity;q=0, gzip;q=0, br;q=0, zstd;q=0", ""),
        ("gzip; q=0.001", "gzip"),
        ("gzip;q=2", ""),
        ("gzip;q=-1", ""),
        ("gzip;level=9", ""),
        ("g zip, br", "br"),
        (",,br,,", "br"),
        (", ".join(["a"] * 32 + ["gzip"]), ""),
    ],
)
def test_the_highest_q_wins_then_our_order_s20_1(accept: str, coding: str) -> None:
    assert best_coding(accept, ALL) == coding


def test_only_what_is_offered_is_chosen() -> None:
    assert best_coding("zstd, gzip;q=0.1", ("gzip",)) == "gzip"


@given(st.text(max_size=60))
def test_any_text_gives_a_coding_offered_or_none(accept: str) -> None:
    assert best_coding(accept, ALL) in ("", *ALL)
