from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import FakeTools, exchange
from tidegate.exchange.fault import Fault
from tidegate.exchange.identity import Identity
from tidegate.rules.traffic_split import BUCKETS, Splitter, bucket, choose, issue, read, unit_of

KEY = b"k" * 32


@pytest.mark.parametrize("weights", [(90, 10), (1, 1), (50, 30, 20), (1, 2, 3, 4), (98, 1, 1), (0, 5, 5), (1,) * 10])
def test_shares_are_within_one_percent_on_100_000_units_s23_7(weights: tuple[int, ...]) -> None:
    by_bucket = [choose(weights, number) for number in range(BUCKETS)]
    counts = Counter(by_bucket[bucket("checkout", f"unit-{n}")] for n in range(100_000))
    for arm, weight in enumerate(weights):
        assert abs(counts[arm] / 100_000 - weight / sum(weights)) < 0.01


def test_raising_10_to_20_moves_only_newcomers_s23_7() -> None:
    for before, after in [((10, 90), (20, 80)), ((10, 45, 45), (20, 45, 45)), ((45, 10, 45), (45, 20, 45))]:
        raised = next(arm for arm in range(len(before)) if after[arm] > before[arm])
        moves = {(choose(before, n), choose(after, n)) for n in range(BUCKETS)}
        assert all(then == now or now == raised for then, now in moves)
        assert any(then != now for then, now in moves)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 100), min_size=2, max_size=6), st.data())
def test_raising_any_weight_moves_units_into_that_arm_alone(weights: list[int], data: st.DataObject) -> None:
    arm = data.draw(st.integers(0, len(weights) - 1))
    raised = [*weights]
    raised[arm] += data.draw(st.integers(1, 100))
    if sum(weights):
        for number in range(0, BUCKETS, 37):
            then, now = choose(weights, number), choose(raised, number)
            assert then == now or now == arm
            assert weights[then] > 0


def test_no_weight_at_all_is_503_s5_8() -> None:
    with pytest.raises(Fault) as caught:
        choose((0, 0), 17)
    assert (caught.value.status, caught.value.code) == (503, "upstream_unavailable")


def test_a_unit_keeps_its_bucket_and_salts_do_not_share_them() -> None:
    assert bucket("a", "u") == bucket("a", "u")
    assert 0 <= bucket("a", "\udc80é") < BUCKETS
    same = sum(bucket("a", str(n)) % 100 == bucket("b", str(n)) % 100 for n in range(10_000))
    assert 50 < same < 150


def test_units_are_read_from_the_request() -> None:
    x = exchange(path="/p", fields=[("x-user", "u1"), ("cookie", "sid=s1")], client_ip="192.0.2.7")
    x.identity = Identity("mobile", "api_key", tenant="acme")
    assert unit_of(x, "consumer") == "acme\0mobile"
    assert unit_of(x, "ip") == "192.0.2.7"
    assert unit_of(x, "path") == "/p"
    assert unit_of(x, "header:X-User") == "u1"
    assert unit_of(x, "cookie:sid") == "s1"
    assert [unit_of(exchange(), by) for by in ("consumer", "header:x-user", "cookie:sid")] == [None, None, None]
    with pytest.raises(ValueError, match="consumer"):
        unit_of(x, "tenant")


def test_a_sealed_unit_is_read_back_and_a_forged_one_is_not_s23_7() -> None:
    value = issue(KEY, bytes(range(16)))
    assert read(KEY, value) == bytes(range(16)).hex()
    assert read(b"other key of 32 bytes in length!", value) is None
    for position in range(42):  # the last letter has two bits of padding
        other = "A" if value[position] != "A" else "B"
        assert read(KEY, value[:position] + other + value[position + 1 :]) is None
    for junk in (None, "", "x", "é" * 43, "!" * 43, value + "=", value[:-1]):
        assert read(KEY, junk) is None


def splitter(**more: object) -> Splitter:
    return Splitter((50, 50), ("stable", "canary"), "r", KEY, FakeTools().token, **more)  # type: ignore[arg-type]


def test_a_request_without_a_unit_gets_a_cookie_and_then_keeps_its_arm_s23_7() -> None:
    split, x = splitter(), exchange()
    arm = split.pick(x)
    assert x.answer_fields is not None
    ((name, line),) = x.answer_fields
    assert name == "set-cookie"
    assert line.endswith("; Path=/; Max-Age=7776000; HttpOnly; SameSite=Lax; Secure")
    again = exchange(fields=[("cookie", line.partition(";")[0])])
    assert split.pick(again) == arm
    assert again.answer_fields is None


def test_a_cookie_on_cleartext_is_not_marked_secure() -> None:
    x = exchange(scheme="http")
    splitter().pick(x)
    assert x.answer_fields is not None and x.answer_fields[0][1].endswith("SameSite=Lax")


def test_a_known_unit_needs_no_cookie() -> None:
    split, arms = splitter(by="header:x-user"), set()
    for n in range(50):
        x = exchange(fields=[("x-user", f"u{n}")])
        arms.add(split.pick(x))
        assert x.answer_fields is None
    assert arms == {0, 1}


def test_a_named_header_forces_an_arm_and_an_unknown_name_is_ignored_s23_7() -> None:
    split = splitter(by="ip", force="x-arm")
    assert [split.pick(exchange(fields=[("x-arm", arm)])) for arm in ("stable", "canary")] == [0, 1]
    assert split.pick(exchange(fields=[("x-arm", "nobody")])) == split.pick(exchange())
    assert {splitter(by="ip").pick(exchange(fields=[("x-arm", arm)])) for arm in ("stable", "canary")} == {
        split.pick(exchange())
    }


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Splitter((1,), ("a",), "r", b"short", FakeTools().token)
