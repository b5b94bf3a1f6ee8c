"""Contents are sealed under keys that hang on one another (CRP 10, #53, #55)."""

from __future__ import annotations

import os
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tidegate.exchange.context import Privacy
from tidegate.rules.context_keys import (
    WrongKey,
    new_context_key,
    new_tenant_key,
    number_of,
    open_context_key,
    open_tenant_key,
    sealer,
    unsealer,
)
from tidegate.wire.context_entry import BrokenEntry, content_digest

ROOT = bytes(range(32))


class Drawn:
    """Chance that repeats itself in the next test, never within one."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, size: int) -> bytes:
        self.count += 1
        return (sha256(b"%d" % self.count).digest() * 4)[:size]


def test_a_tenants_key_opens_under_its_root_for_its_tenant_only() -> None:
    sealed = new_tenant_key(ROOT, "acme", 3, Drawn())
    key = open_tenant_key(ROOT, "acme", sealed)
    assert (len(key), number_of(sealed)) == (32, 3)
    assert key not in sealed
    for root, tenant, bytes_ in (
        (bytes(32), "acme", sealed), (ROOT, "other", sealed), (ROOT, "acme", b"\0\0\0\4" + sealed[4:]),
        (ROOT, "acme", sealed[:-1]), (ROOT, "acme", b""),
    ):  # fmt: skip
        with pytest.raises(WrongKey):
            open_tenant_key(root, tenant, bytes_)


def test_a_contexts_key_opens_for_its_context_only() -> None:
    chance = Drawn()
    tenant = chance(32)
    salt = chance(16)
    sealed = new_context_key(tenant, 7, "acme", salt, chance)
    assert number_of(sealed) == 7
    assert len(open_context_key(tenant, "acme", salt, sealed)) == 32
    for name, other in (("acme", chance(16)), ("other", salt)):
        with pytest.raises(WrongKey):
            open_context_key(tenant, name, other, sealed)


@pytest.mark.parametrize("privacy", ["public", "internal"])
def test_plain_classes_stay_as_they_are(privacy: Privacy) -> None:
    payload = sealer(ROOT, "acme", "ctx_1", Drawn())("it_1", 0, privacy, b"hello")
    assert (payload.body, payload.ikey, len(payload.nonce)) == (b"hello", b"", 16)
    assert unsealer(ROOT, "acme", "ctx_1")(payload) == b"hello"


@pytest.mark.parametrize("privacy", ["personal", "sensitive", "secret"])
def test_higher_classes_are_sealed_each_under_a_key_of_its_own(privacy: Privacy) -> None:
    seal = sealer(ROOT, "acme", "ctx_1", Drawn())
    one, two = seal("it_1", 0, privacy, b"the same words"), seal("it_2", 0, privacy, b"the same words")
    assert b"words" not in one.body
    assert one.body != two.body
    assert one.ikey != two.ikey
    assert content_digest(one.nonce, one.body) != content_digest(two.nonce, two.body)
    assert unsealer(ROOT, "acme", "ctx_1")(one) == b"the same words"


def test_a_content_opens_nowhere_but_in_its_place() -> None:
    payload = sealer(ROOT, "acme", "ctx_1", Drawn())("it_1", 2, "personal", b"hello")
    flipped = bytes([payload.body[0] ^ 1]) + payload.body[1:]
    for key, tenant, context, changed in (
        (bytes(32), "acme", "ctx_1", payload),
        (ROOT, "other", "ctx_1", payload),
        (ROOT, "acme", "ctx_2", payload),
        (ROOT, "acme", "ctx_1", replace(payload, item="it_2")),
        (ROOT, "acme", "ctx_1", replace(payload, rev=3)),
        (ROOT, "acme", "ctx_1", replace(payload, body=flipped)),
        (ROOT, "acme", "ctx_1", replace(payload, body=b"")),
        (ROOT, "acme", "ctx_1", replace(payload, ikey=payload.ikey[:-1])),
        (ROOT, "acme", "ctx_1", replace(payload, ikey=b"x")),
    ):
        with pytest.raises(BrokenEntry):
            unsealer(key, tenant, context)(changed)


@given(st.binary(max_size=2000), st.text(min_size=1, max_size=64), st.integers(0, 1 << 40))
def test_whatever_is_sealed_opens_again(content: bytes, item: str, rev: int) -> None:
    item = item.encode("utf-8", "replace").decode()
    payload = sealer(ROOT, "acme", "ctx_1", os.urandom)(item, rev, "secret", content)
    assert unsealer(ROOT, "acme", "ctx_1")(payload) == content
