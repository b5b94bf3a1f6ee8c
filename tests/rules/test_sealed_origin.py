"""Seals that return to their vendor alone, byte for byte (LLM rule 5)."""

from __future__ import annotations

from base64 import b64decode, b64encode

from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.chat import Origin
from tidegate.rules.sealed_origin import marked, marked_base64, unmarked, unmarked_base64

vendors = st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True)
seals = st.binary(max_size=60).filter(lambda seal: not seal.startswith(b"tg."))


@given(seals, vendors)
def test_a_seal_comes_back_with_its_vendor(seal: bytes, vendor: str) -> None:
    assert unmarked(marked(seal, Origin(vendor), "own"), "own") == (seal, Origin(vendor))


@given(seals, vendors)
def test_a_seal_survives_clients_that_decode_base64_into_the_other_alphabet(seal: bytes, vendor: str) -> None:
    own = b64encode(seal)
    for origin, given_seal in ((Origin(vendor), seal), (Origin("own"), own)):
        if origin.vendor == "own" and given_seal.startswith(b"dGcu"):
            continue
        written = marked_base64(given_seal, origin, "own")
        b64decode(written, validate=True)
        assert unmarked_base64(written, "own") == (given_seal, origin)
    other = marked_base64(seal, Origin(vendor), "own").replace(b"+", b"-").replace(b"/", b"_").rstrip(b"=")
    if vendor != "own":
        assert unmarked_base64(other, "own") == (seal, Origin(vendor))


def test_a_seal_of_nobody_known_returns_to_nobody() -> None:
    assert marked(b"s", None, "own") == b"tg..s"
    assert unmarked(b"tg..s", "own") == (b"s", Origin(""))


def test_bare_seals_are_the_dialects_own_and_odd_marks_are_seals() -> None:
    assert marked(b"s", Origin("own"), "own") == b"s"
    assert unmarked(b"s", "own") == (b"s", Origin("own"))
    assert unmarked(b"tg.nodot", "own") == (b"tg.nodot", Origin("own"))
    long = b"tg." + b"v" * 65 + b".s"
    assert unmarked(long, "own") == (long, Origin("own"))
    assert unmarked_base64(b"dGcu*", "own") == (b"dGcu*", Origin("own"))
