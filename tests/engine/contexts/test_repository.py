"""Twin of engine/contexts/repository.py: what is at hand, who may see it, and a store that is out."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Coroutine
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from backports import zstd
from context_house import CHAT, SlowStore, answers, chat, heard, one_model, texts
from context_house import play as play_models
from conversation import House, settle
from plane_house import BASE, PlaneHouse, append, created, message, play

from tidegate.engine.contexts.repository import PATIENCE, Repository, asker_of
from tidegate.engine.steps import Stepper
from tidegate.exchange.context_ids import Address
from tidegate.exchange.context_log import Asker, Found, Snapshot
from tidegate.exchange.fault import Fault
from tidegate.exchange.identity import Identity

ADA, BOB = Asker("t", "ada"), Asker("t", "bob")
ULID = "01J9ZK3V7Q2M8N4R6T0W5X1Y3B"


class Outcome:
    """Of a coroutine that runs stepped, like a journey."""

    def __init__(self) -> None:
        self.value: Any = None
        self.fault: Fault | None = None
        self.done = False


def begin(house: PlaneHouse, work: Coroutine[Any, Any, Any]) -> Outcome:
    outcome = Outcome()

    async def run() -> None:
        try:
            outcome.value = await work
        except Fault as fault:
            outcome.fault = fault
        outcome.done = True

    steps = house.house.runtime.steps
    steps.go(Stepper(steps, run()))
    return outcome


async def got(house: PlaneHouse, work: Coroutine[Any, Any, Any]) -> Any:
    outcome = begin(house, work)
    await settle()
    assert outcome.done
    if outcome.fault is not None:
        raise outcome.fault
    return outcome.value


async def code_of(house: PlaneHouse, work: Coroutine[Any, Any, Any]) -> str:
    with pytest.raises(Fault) as caught:
        await got(house, work)
    return caught.value.code


# -- at hand


def test_what_is_at_hand_costs_no_read_and_what_must_be_fresh_costs_one_4() -> None:
    store = SlowStore()

    async def scene(house: PlaneHouse) -> None:
        repository = house.repository
        id, _ = await created(house, {}, "t/ada")
        for _ in range(3):
            await house.ask("PATCH", f"{BASE}/{id}", append("x"), "t/ada")
        store.calls.clear()
        held = await got(house, repository.load(ADA, id))
        assert store.calls == []
        again = await got(house, repository.load(ADA, id, fresh=True))
        assert store.calls == ["load"] and again is held

    play(scene, store=store)


def test_a_version_takes_the_same_reads_at_the_start_and_the_end_of_a_long_line_4() -> None:
    store = SlowStore()

    async def scene(house: PlaneHouse) -> None:
        id, first = await created(house, {}, "t/ada")
        for _ in range(30):
            last = (await house.ask("PATCH", f"{BASE}/{id}", append("x"), "t/ada")).json["version"]
        reads = []
        for version in (first, last):
            house.repository.forget("t", id)
            store.calls.clear()
            found = await got(house, house.repository.resolve(ADA, Address("version", version)))
            assert found == Found(id, version, "main")
            reads.append(list(store.calls))
        assert reads == [["resolve", "load"]] * 2

    play(scene, store=store)


def test_what_is_at_hand_is_not_for_everybody() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, version = await created(house, {}, "t/ada")
        await got(house, house.repository.load(ADA, id))
        assert await code_of(house, house.repository.load(BOB, id)) == "context_not_found"
        assert await code_of(house, house.repository.load(Asker("u", "ada"), id)) == "context_not_found"
        assert await code_of(house, house.repository.resolve(BOB, Address("version", version))) == "version_not_found"
        unknown = Address("version", "cv_" + ULID)
        assert await code_of(house, house.repository.resolve(ADA, unknown)) == "version_not_found"

    play(scene)


def test_news_of_another_worker_is_read_behind_what_is_known() -> None:
    async def scene(house: PlaneHouse) -> None:
        other = Repository(house.house.runtime, house.repository.plan)
        id, _ = await created(house, {}, "t/ada")
        await got(house, other.load(ADA, id))
        second = (await house.ask("PATCH", f"{BASE}/{id}", append("x"), "t/ada")).json["version"]
        old = await got(house, other.load(ADA, id))
        assert second not in old.history.versions
        found = await got(house, other.resolve(ADA, Address("version", second)))
        assert found.context == id and second in old.history.versions
        assert len(old.view(second).items) == 1

    play(scene)


def test_what_another_worker_redacted_is_at_hand_no_more() -> None:
    async def scene(house: PlaneHouse) -> None:
        other = Repository(house.house.runtime, house.repository.plan)
        id, version = await created(house, {"items": [message("555-0199")]}, "t/ada")
        held = await got(house, other.load(ADA, id))
        assert b"555" in held.view(version).items[0].content
        await house.ask("POST", f"{BASE}/{id}/redact", {"selector": {"text": "555"}}, "t/ada")
        fresh = await got(house, other.load(ADA, id, fresh=True))
        assert [item.type for item in fresh.view(version).items] == ["redacted"]

    play(scene)


def test_what_was_used_longest_ago_gives_way() -> None:
    async def scene(house: PlaneHouse) -> None:
        ids = [(await created(house, {"items": [message("x" * 5000)]}, "t/ada"))[0] for _ in range(8)]
        assert house.repository.hot_bytes < 80_000
        for id in ids:
            assert (await house.ask("GET", f"{BASE}/{id}", who="t/ada")).status == 200

    play(scene, hot=60_000)


def test_a_snapshot_is_taken_and_read_back_to_the_same_view() -> None:
    store = SlowStore()

    async def scene(house: PlaneHouse) -> None:
        id, _ = await created(house, {"items": [message("first")]}, "t/ada")
        for number in range(40):
            await house.ask("PATCH", f"{BASE}/{id}", append(str(number)), "t/ada")
        await settle()
        assert store.calls.count("snapshot") == 1
        before = await house.ask("GET", f"{BASE}/{id}", who="t/ada")
        house.repository.forget("t", id)
        after = await house.ask("GET", f"{BASE}/{id}", who="t/ada")
        assert after.body == before.body and len(after.json["items"]) == 41

    play(scene, store=store)


def test_a_damaged_snapshot_is_as_good_as_none_I5() -> None:
    store = SlowStore()

    async def scene(house: PlaneHouse) -> None:
        id, _ = await created(house, {"items": [message("first")]}, "t/ada")
        for number in range(40):
            await house.ask("PATCH", f"{BASE}/{id}", append(str(number)), "t/ada")
        await settle()
        before = await house.ask("GET", f"{BASE}/{id}", who="t/ada")
        context = store.inner._contexts["t", id]
        whole = context.snapshot
        assert whole is not None
        for at in (0, len(whole.body) // 2, len(whole.body) - 1):
            broken = bytearray(whole.body)
            broken[at] ^= 1
            context.snapshot = Snapshot(whole.seq, bytes(broken))
            house.repository.forget("t", id)
            after = await house.ask("GET", f"{BASE}/{id}", who="t/ada")
            assert (after.status, after.body) == (200, before.body)
        house.repository.forget("t", id)
        assert (await house.ask("PATCH", f"{BASE}/{id}", append("more"), "t/ada")).status == 200
        await settle()
        assert context.snapshot.seq > whole.seq
        house.repository.forget("t", id)
        assert len((await house.ask("GET", f"{BASE}/{id}", who="t/ada")).json["items"]) == 42

    play(scene, store=store)


# -- names


def test_names_are_separate_for_each_subject_and_a_first_use_is_one_use_6() -> None:
    async def scene(house: PlaneHouse) -> None:
        repository = house.repository
        one = begin(house, repository.session(ADA, "desk"))
        two = begin(house, repository.session(ADA, "desk"))
        other = begin(house, repository.session(BOB, "desk"))
        await settle()
        assert one.value == two.value != other.value
        assert one.value.startswith("ctx_")

    play(scene)


def test_a_name_that_nobody_gave_means_nothing() -> None:
    async def scene(house: PlaneHouse) -> None:
        assert await got(house, house.repository.resolve(ADA, Address("name", "desk"))) == Found("")

    play(scene)


@pytest.mark.parametrize(
    ("identity", "asker"),
    [
        (None, Asker("default")),
        (Identity("ada", "api_key", tenant="t"), Asker("t", "ada", "red")),
        (Identity("app", "jwt", tenant="t", claims={"sub": "user-1"}), Asker("t", "app/user-1", "red")),
        (Identity("user-1", "jwt", tenant="t", claims={"sub": "user-1"}), Asker("t", "user-1", "red")),
        (Identity("app", "jwt", tenant="t", claims={"sub": 5}), Asker("t", "app", "red")),
    ],
)
def test_who_asks_is_known_from_authentication_alone(identity: Identity | None, asker: Asker) -> None:
    assert asker_of(identity, "red") == asker


def test_ids_of_one_millisecond_differ() -> None:
    async def scene(house: PlaneHouse) -> None:
        assert len({house.repository.mint() for _ in range(1000)}) == 1000
        assert len(house.repository.nonce()) == 16

    play(scene)


def test_a_lifetime_is_never_beyond_the_longest() -> None:
    async def scene(house: PlaneHouse) -> None:
        repository = house.repository
        longest = int(repository.limits.ttl * 1000)
        wanted = {None: 30 * 86_400_000, 60.0: 60_000, 0.0: longest, 1e12: longest}
        for seconds, ttl in wanted.items():
            made = await got(house, repository.creation(ADA, ttl=seconds))
            assert (made.ttl, made.access, len(made.salt)) == (ttl, "subject", 16)
        assert (await got(house, repository.creation(Asker("t")))).access == "tenant"

    play(scene)


# -- a store that is out


def test_a_store_that_hangs_is_503_within_its_time_58() -> None:
    store = SlowStore()

    async def scene(house: PlaneHouse) -> None:
        id, _ = await created(house, {}, "t/ada")
        gate = store.hold("load")
        outcome = begin(house, house.repository.load(ADA, id, fresh=True))
        await settle()
        house.house.pass_time(PATIENCE - 0.5)
        assert not outcome.done
        house.house.pass_time(1.0)
        assert outcome.done and outcome.fault is not None
        assert (outcome.fault.code, outcome.fault.status) == ("store_unavailable", 503)
        gate.set()
        await asyncio.sleep(0)

    play(scene, store=store)


def test_whatever_a_store_raises_is_told_as_503_and_reported() -> None:
    async def scene(house: PlaneHouse) -> None:
        async def broken() -> None:
            raise OSError("disk")

        work = house.repository.ask(house.store, broken())
        assert await code_of(house, work) == "store_unavailable"
        assert [type(error) for error in house.house.defects] == [OSError]
        house.house.defects.clear()

    play(scene)


# -- bodies of model calls


def test_a_turn_may_come_in_messagepack_and_with_a_dictionary_37_40() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        first, second = chat("hello", session_id="s"), chat("and now", session_id="s")
        client.says(posted(msgspec.msgpack.encode(first), "application/msgpack", "identity"))
        await reached(house)
        house.upstreams[-1].hears()
        _, fields, told = await answers(house, client, "hi")
        assert told["choices"][0]["message"]["content"] == "hi"
        dictionary = b'{"model":"fast","messages":[{"role":"user","content":"'
        house.runtime.contexts.offer("d", dictionary)
        raw = zstd.ZstdDict(dictionary, is_raw=True)
        small = zstd.compress(msgspec.json.encode(second), zstd_dict=raw)
        head = bytes.fromhex("5e2a4d1820000000")
        client.says(posted(head + sha256(dictionary).digest() + small, "application/json", "dcz"))
        await reached(house)
        sent = json.loads(house.upstreams[-1].hears().partition(b"\r\n\r\n")[2])
        assert texts(sent) == ["hello", "hi", "and now"]
        _, again, _ = await answers(house, client, "so")
        assert again["context-parent"] == fields["context-version"]
        client.says(posted(head + bytes(32) + small, "application/json", "dcz"))
        await settle()
        status, _, fault = heard(client)
        assert (status, fault["error"]["code"]) == (415, "dictionary_unknown")
        client.says(posted(gzip.compress(bytes(2 * 1024 * 1024)), "application/json", "gzip"))
        await settle()
        status, _, fault = heard(client)
        assert (status, fault["error"]["code"]) == (413, "ratio_exceeded")

    play_models(scene, one_model())


def posted(body: bytes, media: str, coding: str) -> bytes:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: gw\r\ncontent-type: {media}\r\ncontent-encoding: {coding}\r\n"
    return (head + f"content-length: {len(body)}\r\n\r\n").encode() + body


async def reached(house: House) -> None:
    """The call has come to a provider."""
    for _ in range(10):
        await settle()
        if house.upstreams and house.upstreams[-1].transport.sent:
            return


# -- what has been


def test_an_expired_context_is_told_apart_from_a_deleted_one_56() -> None:
    store = SlowStore()

    async def scene(house: PlaneHouse) -> None:
        deleted, _ = await created(house, {}, "t/ada")
        expired, _ = await created(house, {"ttl": 60}, "t/ada")
        await house.ask("DELETE", f"{BASE}/{deleted}", who="t/ada")
        house.house.now += 61.0
        for _ in range(2):
            assert await code_of(house, house.repository.load(ADA, deleted, fresh=True)) == "context_deleted"
            assert await code_of(house, house.repository.load(ADA, expired, fresh=True)) == "context_expired"
            await store.sweep(10)

    play(scene, store=store)
