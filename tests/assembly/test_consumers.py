"""Who may call, as a worker knows it: S7.2, S7.4, S7.8, S7.9, C8.2, C8.3."""

from __future__ import annotations

import pytest

from tidegate.assembly.consumers import Callers, Configured, WorkerConsumers, pack, unpack
from tidegate.exchange.fault import Fault
from tidegate.ports.consumers import Consumer
from tidegate.rules.credentials import digest_of, make_key, name_digest
from tidegate.rules.sigv4 import derived_secret
from tidegate.wire.key_table import KeyTable, write

OLD, NEW = b"o" * 32, b"n" * 32
KEY, KEY_ID = make_key("live", bytes(range(48)))
MOBILE = Consumer("mobile", key_id="m1", tags=("gold",))
RUNTIME = Consumer("runtime", tenant="t1", key_id=KEY_ID, scopes=("read",), priority=1)


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def consumers(clock: Clock) -> WorkerConsumers:
    made = WorkerConsumers((OLD, NEW), clock)
    made.configure(Callers([Configured(MOBILE, (digest_of(NEW, b"tg-mobile-key"),), {"basic": "hash"})]))
    made.load(KeyTable(write([(digest_of(NEW, KEY.encode()), pack(RUNTIME)), (name_digest("runtime"), pack(RUNTIME))],
                             seq=10)))  # fmt: skip
    return made


def test_keys_of_the_config_and_of_the_table_have_their_owners(consumers: WorkerConsumers) -> None:
    for _ in range(2):  # looked up, then remembered
        assert consumers.by_key("tg-mobile-key") == MOBILE
        assert consumers.by_key(KEY) == RUNTIME
    assert consumers.by_name("mobile") == MOBILE
    assert consumers.by_name("runtime") == RUNTIME
    assert consumers.by_name("nobody") is None
    assert (consumers.secret_of("mobile", "basic"), consumers.secret_of("mobile", "hmac")) == ("hash", None)


@pytest.mark.parametrize(
    "key", ["", "tg-mobile-ke", "tg-mobile-key ", "TG-MOBILE-KEY", KEY[:-1] + "g", KEY[:20], "' OR 1=1 --", "k" * 5000,
            digest_of(NEW, b"tg-mobile-key").hex(), "ключ"]
)  # fmt: skip
def test_nothing_else_is_a_key_not_even_its_digest_s7_8(consumers: WorkerConsumers, key: str) -> None:
    assert consumers.by_key(key) is None


def test_a_key_kept_under_an_older_pepper_is_found_c9_3(clock: Clock) -> None:
    consumers = WorkerConsumers((OLD, NEW), clock)
    consumers.load(KeyTable(write([(digest_of(OLD, b"legacy"), pack(RUNTIME))], seq=1)))
    assert consumers.by_key("legacy") == RUNTIME


def test_a_patch_revokes_a_remembered_key_and_begins_an_epoch_s7_9(consumers: WorkerConsumers) -> None:
    assert consumers.by_key(KEY) == RUNTIME
    before = consumers.epoch()
    consumers.patch(11, [(digest_of(NEW, KEY.encode()), None)])
    assert consumers.epoch() > before
    assert consumers.by_key(KEY) is None


def test_a_patch_adds_and_disables_keys(consumers: WorkerConsumers) -> None:
    digest = digest_of(NEW, b"new")
    consumers.patch(11, [(digest, pack(Consumer("newcomer")))])
    assert consumers.by_key("new") == Consumer("newcomer")
    consumers.patch(12, [(digest, pack(Consumer("newcomer", disabled=True)))])
    assert consumers.by_key("new") is None


def test_a_patch_the_table_or_the_worker_already_knows_changes_nothing(consumers: WorkerConsumers) -> None:
    epoch = consumers.epoch()
    consumers.patch(10, [(digest_of(NEW, KEY.encode()), None)])
    assert (consumers.by_key(KEY), consumers.epoch(), consumers.seq()) == (RUNTIME, epoch, 10)


def test_a_new_table_keeps_the_patches_that_are_younger(consumers: WorkerConsumers) -> None:
    consumers.patch(11, [(digest_of(NEW, b"eleven"), pack(Consumer("eleven")))])
    consumers.patch(12, [(digest_of(NEW, b"twelve"), pack(Consumer("twelve")))])
    consumers.load(KeyTable(write([], seq=11)))
    assert consumers.by_key("eleven") is None
    assert consumers.by_key("twelve") == Consumer("twelve")
    assert consumers.seq() == 12


def test_a_stale_snapshot_serves_keys_of_the_config_and_503_for_the_rest_s7_4(consumers: WorkerConsumers) -> None:
    assert consumers.by_key(KEY) == RUNTIME
    consumers.set_stale(True)
    assert consumers.by_key("tg-mobile-key") == MOBILE
    for look_up in (lambda: consumers.by_key(KEY), lambda: consumers.by_key("unknown"),
                    lambda: consumers.by_name("runtime")):  # fmt: skip
        with pytest.raises(Fault) as caught:
            look_up()
        assert (caught.value.status, caught.value.code) == (503, "auth_unavailable")
    consumers.set_stale(False)
    assert consumers.by_key(KEY) == RUNTIME


def test_an_expired_key_stays_expired_when_the_clock_steps_back_au_expired_clock(
    consumers: WorkerConsumers, clock: Clock
) -> None:
    digest = digest_of(NEW, b"brief")
    brief = Consumer("brief", expires=clock.now + 60)
    consumers.patch(11, [(digest, pack(brief))])
    assert consumers.by_key("brief") == brief
    clock.now += 60  # remembered, yet no verdict outlives its key
    assert consumers.by_key("brief") is None
    clock.now -= 3600
    assert consumers.by_key("brief") is None
    longer = Consumer("brief", expires=clock.now + 120)
    consumers.patch(12, [(digest, pack(longer))])
    assert consumers.by_key("brief") == longer


def test_a_damaged_record_is_our_trouble_and_not_a_verdict(consumers: WorkerConsumers) -> None:
    consumers.patch(11, [(digest_of(NEW, b"torn"), b"\xc1")])
    with pytest.raises(Fault) as caught:
        consumers.by_key("torn")
    assert caught.value.code == "auth_unavailable"


def test_a_new_generation_replaces_the_keys_of_the_config(consumers: WorkerConsumers) -> None:
    assert consumers.by_key("tg-mobile-key") == MOBILE
    consumers.configure(Callers([Configured(Consumer("partner"), (digest_of(NEW, b"tg-partner-key"),))]))
    assert consumers.by_key("tg-mobile-key") is None
    assert consumers.by_key("tg-partner-key") == Consumer("partner", key_id="ae8d96bd")


def test_what_is_remembered_is_bounded(clock: Clock) -> None:
    consumers = WorkerConsumers((NEW,), clock, remembered=3)
    consumers.configure(Callers([Configured(Consumer("many"), tuple(digest_of(NEW, b"k%d" % n) for n in range(10)))]))
    found = [consumers.by_key(f"k{n}") for n in range(10)]
    assert [None if each is None else each.name for each in found] == ["many"] * 10
    assert len(consumers._remembered) <= 3


def test_a_record_survives_packing() -> None:
    full = Consumer("n", "t", "k", ("a", "b"), ("s",), 2, 1.5, True)
    assert unpack(pack(full)) == full


def test_no_pepper_no_verifier(clock: Clock) -> None:
    with pytest.raises(ValueError):
        WorkerConsumers((), clock)


def test_a_key_of_the_config_has_a_short_stable_id_in_records() -> None:
    consumers = WorkerConsumers((NEW,), lambda: 0.0)
    digests = (digest_of(NEW, b"tg-one"), digest_of(NEW, b"tg-two"))
    consumers.configure(Callers([Configured(Consumer("a"), digests)]))
    one, two = consumers.by_key("tg-one"), consumers.by_key("tg-two")
    assert one is not None and two is not None
    assert (one.key_id, two.key_id) == (digests[0].hex()[:8], digests[1].hex()[:8])
    assert consumers.by_key("tg-one") is one
    assert consumers.by_name("a") == Consumer("a")


def test_callers_that_were_replaced_are_returned_and_let_go_bit_by_bit() -> None:
    consumers = WorkerConsumers((NEW,), lambda: 0.0)
    old = Callers(Configured(Consumer(f"c{n}"), (digest_of(NEW, b"%d" % n),), {"hmac": "s"}) for n in range(5))
    assert consumers.configure(old).let_go(1) is False
    assert consumers.configure(Callers()) is old
    assert consumers.by_key("1") is None and consumers.secret_of("c1", "hmac") is None
    assert [old.let_go(2), old.let_go(2), old.let_go(2)] == [True, True, False]
    assert (old.names, old.digests, old.secrets) == ({}, {}, {})


def test_a_key_with_a_name_and_an_end_of_its_own_is_its_owners_no_longer_than_that() -> None:
    digest = digest_of(b"pepper", b"a-named-key")
    owner = Consumer("c", key_id="ci", expires=150.0)
    now = [100.0]
    found = WorkerConsumers([b"pepper"], lambda: now[0])
    found.configure(Callers([Configured(Consumer("c", expires=500.0), (digest,), {}, ((digest, owner),))]))
    assert found.by_key("a-named-key") == owner
    now[0] = 200.0
    assert found.by_key("a-named-key") is None


def test_an_access_key_id_finds_the_key_of_the_config_it_was_made_from_and_its_secret_llm_2() -> None:
    now = [100.0]
    found = WorkerConsumers((OLD, NEW), lambda: now[0])
    one, two = digest_of(NEW, b"tg-one"), digest_of(NEW, b"tg-two")
    named = Consumer("c", key_id="ci", expires=150.0)
    found.configure(Callers([Configured(Consumer("c"), (one, two), {}, ((two, named),))]))
    first, second = f"cfg{one.hex()[:13]}", f"cfg{two.hex()[:13]}"
    assert found.by_access_key(first) == (Consumer("c", key_id=one.hex()[:8]), derived_secret(NEW, first))
    assert found.by_access_key(second) == (named, derived_secret(NEW, second))
    now[0] = 200.0
    assert (found.by_access_key(second), found.by_access_key("cfg"), found.by_access_key("ci")) == (None, None, None)
    found.configure(Callers())
    assert found.by_access_key(first) is None
