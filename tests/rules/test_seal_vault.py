"""The vault is bounded in time, entries and bytes, and each tenant sees its own (LLM 5.6)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.chat import SealedThought
from tidegate.rules import seal_vault
from tidegate.rules.seal_vault import LIFE, ONE, SealVault
from tidegate.rules.sealed_turns import CallSeals
from tidegate.rules.tool_ids import fit_id

SEALS = CallSeals("f", signature=b"s")


def big(size: int) -> CallSeals:
    return CallSeals("f", ((0, SealedThought(data=b"x" * size)),))


def test_what_is_put_is_found_for_an_hour() -> None:
    vault = SealVault()
    vault.put("t", "c1", SEALS, 0.0)
    assert vault.get("t", "c1", LIFE - 1) is SEALS
    assert vault.get("t", "c1", LIFE) is None
    assert (vault.entries, vault.size, vault.holds("t")) == (0, 0, False)


def test_a_tenant_sees_its_own() -> None:
    vault = SealVault()
    vault.put("t", "c1", SEALS, 0.0)
    assert vault.get("other", "c1", 1.0) is None
    assert vault.holds("t") and not vault.holds("other")


def test_an_id_that_a_client_gets_as_a_digest_is_found_by_it() -> None:
    vault = SealVault()
    id = "a:" + "x" * 90
    vault.put("t", id, SEALS, 0.0)
    assert vault.get("t", fit_id(id, 40), 1.0) is SEALS
    assert vault.get("t", fit_id(id, 64), 1.0) is SEALS
    assert vault.get("t", id, 1.0) is SEALS


def test_too_much_of_one_call_is_not_kept() -> None:
    vault = SealVault()
    vault.put("t", "c1", big(ONE), 0.0)
    vault.put("t", "", SEALS, 0.0)
    assert not vault.holds("t")


def test_a_tenant_pushes_out_its_own_oldest() -> None:
    vault = SealVault()
    vault.put("quiet", "c0", SEALS, 0.0)
    for number in range(100):
        vault.put("loud", f"c{number}", big(ONE // 2), 1.0)
    assert vault.get("loud", "c0", 2.0) is None
    assert vault.get("loud", "c99", 2.0) is not None
    assert vault.get("quiet", "c0", 2.0) is SEALS
    assert vault.shelves["loud"].size <= seal_vault.SIZE // seal_vault.SHARE


def test_what_has_ended_goes_when_its_tenant_puts_more() -> None:
    vault = SealVault()
    vault.put("t", "c1", SEALS, 0.0)
    vault.put("t", "c2", SEALS, LIFE)
    assert (vault.entries, list(vault.shelves["t"].kept)) == (1, ["c2"])


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 30), st.integers(0, 5000), st.integers(0, 4000))))
def test_the_bounds_hold_and_the_sums_are_right(puts: list[tuple[str, int, int, int]]) -> None:
    vault = SealVault(20_000, 16, 4_000)
    now = 0.0
    for tenant, id, size, wait in puts:
        now += wait
        vault.put(tenant, f"c{id}", big(size), now)
        assert vault.size <= 20_000 and vault.entries <= 16
        kept = [one for shelf in vault.shelves.values() for one in shelf.kept.values()]
        assert (vault.size, vault.entries) == (sum(one.size for one in kept), len(kept))
        assert all(shelf.size <= 5_000 and shelf.kept for shelf in vault.shelves.values())
