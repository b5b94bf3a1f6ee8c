"""Which bucket a request falls into (S9): tenant first, and nobody can choose another's."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fakes import exchange
from tidegate.exchange.fault import Fault
from tidegate.exchange.identity import Identity
from tidegate.rules.partition import SKIP, check_by, network, partition_by, reads_identity


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "20010db800000000/64"),
        ("2001:db8:0:0:ffff::9", "20010db800000000/64"),
        ("2001:db8:0:1::1", "20010db800000001/64"),
        ("fe80::1%eth0", "fe80000000000000/64"),
        ("no:address", "no:address"),
    ],
)
def test_ipv6_is_cut_to_its_64_s9(address: str, seen: str) -> None:
    assert network(address) == seen


@pytest.mark.parametrize("by", ["consumer", "tenant", "key", "ip", "header:X-Team", "claim:team"])
def test_what_may_be_counted_by(by: str) -> None:
    assert check_by(by) == by


@pytest.mark.parametrize("by", ["", "user", "header:", "header:a b", "header:a:b", "claim:", "ip "])
def test_anything_else_is_refused_at_config_time(by: str) -> None:
    with pytest.raises(ValueError, match="by is one of"):
        check_by(by)


def test_who_needs_a_caller() -> None:
    assert [reads_identity(by) for by in ("consumer", "tenant", "key", "claim:a", "ip", "header:a")] == [
        True, True, True, True, False, False,
    ]  # fmt: skip


def test_every_partition_begins_with_the_tenant() -> None:
    x = exchange(fields=[("x-team", "blue")])
    x.identity = Identity("ann", "jwt", tenant="acme", key_id="k1", claims={"team": "red", "n": 7})
    wanted = {
        "consumer": "acme|consumer:ann",
        "tenant": "acme|tenant",
        "key": "acme|key:k1",
        "ip": "acme|ip:192.0.2.1",
        "header:X-Team": "acme|header:blue",
        "claim:team": "acme|claim:red",
        "claim:n": "acme|claim:7",
    }
    assert {by: partition_by(by)(x) for by in wanted} == wanted


@pytest.mark.parametrize("by", ["consumer", "tenant", "key", "header:x-team", "claim:team"])
def test_a_missing_value_is_counted_by_address_denied_or_skipped_s9_8(by: str) -> None:
    x = exchange()
    assert partition_by(by, "ip")(x) == "default|ip:192.0.2.1"
    assert partition_by(by, "skip")(x) == SKIP
    with pytest.raises(Fault) as refused:
        partition_by(by, "deny")(x)
    assert (refused.value.code, refused.value.status) == ("forbidden", 403)


@pytest.mark.parametrize("value", [True, None, "", ["a"], {"a": 1}, 1.5])
def test_a_claim_that_is_no_name_counts_as_missing(value: object) -> None:
    x = exchange()
    x.identity = Identity("ann", "jwt", claims={"team": value})
    assert partition_by("claim:team", "skip")(x) == SKIP


def test_a_long_value_is_kept_as_its_digest() -> None:
    x = exchange(fields=[("x-team", "a" * 129)])
    assert partition_by("header:x-team")(x).startswith("default|header:sha256:")
    assert len(partition_by("header:x-team")(x)) == len("default|header:sha256:") + 64


NAME = st.text(alphabet="a|%7C:", max_size=8)


@given(NAME, NAME, NAME, NAME)
@example("a|", "b", "a%7C", "b")
@example("a|consumer:b", "c", "a", "b|consumer:c")
def test_two_callers_of_different_tenants_never_share(tenant: str, name: str, tenant_2: str, name_2: str) -> None:
    x, y = exchange(), exchange()
    x.identity = Identity(name, "jwt", tenant=tenant)
    y.identity = Identity(name_2, "jwt", tenant=tenant_2)
    same = (tenant, name) == (tenant_2, name_2)
    assert (partition_by("consumer")(x) == partition_by("consumer")(y)) is same
