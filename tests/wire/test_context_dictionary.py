"""Dictionaries for deltas: framed, trained, shipped (CRP 6.5, RFC 9842)."""

from __future__ import annotations

import json
import runpy
from hashlib import sha256
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import Fault
from tidegate.wire.context_body import decode
from tidegate.wire.context_dictionary import LONGEST, MAGIC, encode, shipped, train

LIMITS = ContextLimits()
TRAINER = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "contexts" / "train_dictionary.py"))
SIZE, bodies = TRAINER["SIZE"], TRAINER["bodies"]


def read(body: bytes, *known: bytes) -> object:
    return decode("application/json", "dcz", body, LIMITS, {sha256(each).digest(): each for each in known})


def test_the_frame_is_a_head_of_40_bytes_with_the_hash_and_plain_zstd_behind_it() -> None:
    dictionary = b'{"delta_updates":[{"op":"append"'
    body = encode(b'{"delta_updates":[{"op":"append","items":[]}]}', dictionary)
    assert body[:40] == MAGIC + sha256(dictionary).digest()
    assert body[40:44] == b"\x28\xb5\x2f\xfd"
    assert read(body, dictionary) == {"delta_updates": [{"op": "append", "items": []}]}


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=400), max_size=8))
def test_what_is_written_is_what_is_read(value: dict[str, str]) -> None:
    assert read(encode(json.dumps(value).encode(), shipped()), shipped()) == value


def test_an_unknown_dictionary_is_415_and_tells_what_would_do_40() -> None:
    with pytest.raises(Fault) as raised:
        read(encode(b"{}", b"another dictionary"), shipped())
    assert (raised.value.code, raised.value.fields) == ("dictionary_unknown", [("accept-encoding", "zstd, gzip, br")])


def test_the_shipped_one_is_text_within_16_kib_and_worth_more_than_zstd_alone() -> None:
    dictionary = shipped()
    assert 8_000 < len(dictionary) <= SIZE == 16_384
    assert all(32 <= byte < 127 for byte in dictionary)
    unseen = bodies(100_000, 50, 6)
    plain = sum(map(len, unseen))
    alone = sum(len(zstd.compress(body, level=3)) for body in unseen)
    assert sum(len(encode(body, dictionary)) for body in unseen) < alone / 2 < plain / 2


def test_training_is_deterministic_and_leaves_the_tables_of_zstd_out() -> None:
    samples = bodies(7, 60, 6)
    one = train(samples, 2048)
    assert one == train(samples, 2048)
    assert 1024 < len(one) <= 2048
    assert all(32 <= byte < 127 for byte in one)


def test_too_little_and_too_much_are_refused() -> None:
    with pytest.raises(ValueError, match="train no dictionary"):
        train([b"x"], 2048)
    with pytest.raises(ValueError, match="at most"):
        train(bodies(7, 60, 6), LONGEST + 1)
