"""What credentials look like: S7.3, S7.8, S7.9, S7.17, C9.1."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import exchange
from tidegate.rules.credentials import (
    basic_pair,
    digest_of,
    has_typo,
    key_in_query,
    looks_like_jwt,
    make_key,
    name_digest,
    offer,
    offers,
    read_peppers,
    token_of,
)


@given(st.binary(min_size=48, max_size=48), st.integers(0, 71), st.sampled_from("0aZ"))
def test_an_own_key_has_its_format_and_one_wrong_character_is_a_typo_s7_8(
    chance: bytes, place: int, other: str
) -> None:
    key, key_id = make_key("live", chance)
    match = re.fullmatch(r"tg_live_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})_([0-9a-f]{8})", key)
    assert match is not None and match.group(1) == key_id
    assert int(match.group(3), 16) == zlib.crc32(key[:-9].encode())
    assert not has_typo(key)
    place = 8 + place % 12  # inside the id
    if key[place] != other:
        assert has_typo(key[:place] + other + key[place + 1 :])


def test_all_random_bytes_reach_the_secret() -> None:
    keys = {make_key("a", bytes(16) + bytes(n) + b"\x01" + bytes(31 - n))[0] for n in range(32)}
    assert len(keys) == 32


@pytest.mark.parametrize("key", ["tg-mobile-key", "tg_live_short_key_00000000", "sk-123", "", "k" * 1024])
def test_a_foreign_key_has_no_checksum_to_fail(key: str) -> None:
    assert not has_typo(key)


def test_a_text_too_long_is_no_key() -> None:
    assert has_typo("k" * 1025)


@pytest.mark.parametrize(("environment", "size"), [("Live", 48), ("", 48), ("a" * 17, 48), ("a_b", 48), ("live", 47)])
def test_a_key_is_not_made_from_bad_material(environment: str, size: int) -> None:
    with pytest.raises(ValueError):
        make_key(environment, bytes(size))


def test_a_digest_is_hmac_sha_256_under_the_pepper() -> None:
    assert digest_of(b"p" * 32, b"key") == hmac.new(b"p" * 32, b"key", hashlib.sha256).digest()
    assert name_digest("mobile") == hashlib.sha256(b"consumer\0mobile").digest()


def test_peppers_are_one_a_line_oldest_first() -> None:
    assert read_peppers("aa" * 32 + "\n" + "bb" * 32 + "\n") == (b"\xaa" * 32, b"\xbb" * 32)


@pytest.mark.parametrize("text", ["", "\n", "aa", "zz" * 32, "aa" * 32 + "\nxyz"])
def test_a_bad_pepper_file_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_peppers(text)
    assert "zz" not in str(caught.value) and "xyz" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "scheme", "token"),
    [(None, "bearer", None), ("Bearer abc", "bearer", "abc"), ("BEARER  abc ", "bearer", "abc"),
     ("Bearer", "bearer", ""), ("Basic abc", "bearer", None), ("Bearerabc", "bearer", None),
     ("Basic dTpw", "basic", "dTpw")],
)  # fmt: skip
def test_a_token_stands_behind_its_scheme(value: str | None, scheme: str, token: str | None) -> None:
    assert token_of(value, scheme) == token


def test_a_jwt_is_told_from_a_key() -> None:
    assert looks_like_jwt("eyJhbGciOiJub25lIn0.eyJhIjoxfQ.")
    assert not any(map(looks_like_jwt, ["", "a.b.c", "eyJ.a", "eyJ.a.b.c", "tg-mobile-key", "eyJ.a.b\n"]))


@pytest.mark.parametrize("query", ["api_key=1", "a=b&key=1", "access_token", "token="])
def test_names_that_carry_keys_in_a_query(query: str) -> None:
    assert key_in_query(query)
    assert not key_in_query("x" + query.replace("&", "&x"))
    assert not key_in_query("")


def test_a_basic_pair_is_utf_8_and_the_password_may_hold_colons_s7_17() -> None:
    assert basic_pair(base64.b64encode("jürgen:pa:ß".encode()).decode()) == ("jürgen", "pa:ß")
    assert basic_pair(base64.b64encode(b"user:").decode()) == ("user", "")


@pytest.mark.parametrize("raw", [b"", b"user", b":password", b"us\ner:p", b"u:p\x00", b"\xff:\xff"])
def test_a_malformed_basic_pair_is_none(raw: bytes) -> None:
    assert basic_pair(base64.b64encode(raw).decode()) is None
    assert basic_pair("no base64!") is None


def test_offers_are_kept_once_in_order() -> None:
    x = exchange()
    assert list(offers(x)) == []
    for challenge in ("Bearer", "Basic", "Bearer"):
        offer(x, challenge)
    assert list(offers(x)) == ["Bearer", "Basic"]
