"""Hostile words: goldens, broken in their bytes and in their shapes, are read by every dialect. Nothing but a ``Fault``
is ever raised, streams keep the order law and end, and whatever was read can be written in every other dialect.

``TIDEGATE_FUZZ=20000`` (rounds for each dialect) looks further than a usual run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from dialects.golden_form import DECODERS, GOLDENS, NOW, VENDORS, event_bytes, features, known, voice_of
from tidegate.exchange.chat import ChatDelta, Failed
from tidegate.exchange.fault import Fault
from tidegate.ports.dialect import Hints
from tidegate.rules.chat_assembly import Assembler, deltas_of
from tidegate.rules.chat_order import OrderChecker

ROUNDS = int(os.environ.get("TIDEGATE_FUZZ", "250"))
DIALECTS = known()
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e300, -0.5, 2**70, "", "x", "\x00", "\ud83d", "tidegate:x:c:y", "data:;base64,", [], {},
    [[]], [{}], {"type": "text"}, {"type": None}, ["x"], [None], {"": {}}, "9" * 400,
)  # fmt: skip
"""Values nobody expects."""


def goldens(name: str, member: str) -> list[Any]:
    found = [json.loads((GOLDENS / feature / f"{name}.json").read_text("utf-8")) for feature in features()]
    return [golden[member] for golden in found if member in golden]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in *value*."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


def misshapen(value: Any, chance: Random) -> Any:
    """*value* with one to three things of it gone, doubled, or something else."""
    value = json.loads(json.dumps(value))
    for _ in range(chance.randint(1, 3)):
        there = list(places(value)) if isinstance(value, (dict, list)) else []
        if not there:
            return chance.choice(ODD)
        holder, key = chance.choice(there)
        what = chance.random()
        if what < 0.2:
            del holder[key]
        elif what < 0.4:
            other, from_key = chance.choice(there)
            if isinstance(from_key, str) or from_key < len(other):
                holder[key] = json.loads(
                    json.dumps(other.get(from_key) if isinstance(other, dict) else other[from_key])
                )
        elif what < 0.5 and isinstance(holder, list):
            holder.append(json.loads(json.dumps(holder[key])))
        else:
            holder[key] = json.loads(json.dumps(chance.choice(ODD)))
    return value


def misspelled(data: bytes, chance: Random) -> bytes:
    """*data* with one to three of its bytes or stretches gone, doubled, or something else."""
    broken = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(broken) + 1)
        end = min(len(broken), at + chance.choice((1, 1, 2, 10, 100)))
        what = chance.random()
        if what < 0.3:
            del broken[at:end]
        elif what < 0.6:
            broken[at:end] = chance.choice(
                (b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\xff", b"\x00", b"null", b"-")
            )
        else:
            broken[at:at] = broken[at:end]
    return bytes(broken)


def broken(body: Any, chance: Random) -> bytes:
    if chance.random() < 0.7:
        return json.dumps(misshapen(body, chance), ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    return misspelled(json.dumps(body).encode(), chance)


def broken_again(data: bytes, chance: Random) -> bytes:
    return broken(json.loads(data), chance) if is_json(data) else misspelled(data, chance)


def is_json(data: bytes) -> bool:
    try:
        json.loads(data.decode())
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", VENDORS)
def test_a_broken_request_is_read_or_refused_and_what_is_read_can_be_written(name: str) -> None:
    chance = Random(name)
    bodies = [body | {"provider_options": {name: {"a": {"b": 1}}}} for body in goldens(name, "request")]
    others = list(DIALECTS)
    for _ in range(ROUNDS):
        body = broken(chance.choice(bodies), chance)
        try:
            request = DIALECTS[name].read_request(body, Hints(model="m", stream=False))
        except Fault as fault:
            assert fault.status < 500, body
            continue
        other = chance.choice(others)
        try:
            out = DIALECTS[other].write_request(request, voice_of(other))
        except Fault as fault:
            assert fault.status < 500, body
            continue
        assert is_json(out.body) or not is_json(body)


@pytest.mark.parametrize("name", VENDORS)
def test_a_broken_answer_is_read_or_refused_and_what_is_read_can_be_written(name: str) -> None:
    chance = Random(name)
    bodies = goldens(name, "answer")
    others = list(DIALECTS)
    asked = DIALECTS[name].read_request(json.dumps(goldens(name, "request")[0]).encode(), Hints(model="m"))
    for _ in range(ROUNDS):
        body = broken(chance.choice(bodies), chance)
        try:
            answer = DIALECTS[name].read_answer(body, voice_of(name), {})
        except Fault as fault:
            assert fault.code == "bad_upstream", body
            continue
        other = DIALECTS[chance.choice(others)]
        written = other.write_answer(answer, asked, NOW)
        assert is_json(written.body) or not is_json(body)
        writer = other.events_writer(asked, "id", NOW, other.framing)
        for delta in deltas_of(answer):
            writer.write(delta)
        DIALECTS[name].usage_of_answer(body, voice_of(name))


@pytest.mark.parametrize("name", VENDORS)
def test_a_broken_stream_keeps_the_order_law_and_ends(name: str) -> None:
    chance = Random(name)
    streams = goldens(name, "stream")
    others = list(DIALECTS)
    asked = DIALECTS[name].read_request(json.dumps(goldens(name, "request")[0]).encode(), Hints(model="m"))
    for _ in range(ROUNDS):
        events = list(map(event_bytes, chance.choice(streams)))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(events)) if events else 0
            what = chance.random()
            if not events or what < 0.2:
                del events[at : at + 1]
            elif what < 0.35:
                events.insert(at, chance.choice(events))
            elif what < 0.5:
                other_at = chance.randrange(len(events))
                events[at], events[other_at] = events[other_at], events[at]
            else:
                event, data = events[at]
                events[at] = (event if chance.random() < 0.9 else "odd", broken_again(data, chance))
        reader, checker, assembler = DIALECTS[name].events_reader(voice_of(name), {}), OrderChecker(), Assembler()
        other = DIALECTS[chance.choice(others)]
        writer = other.events_writer(asked, "id", NOW, other.framing)
        deltas: list[ChatDelta] = [delta for event, data in events for delta in reader.feed(event, data)]
        for delta in deltas + reader.close():
            checker.check(delta)
            assembler.take(delta)
            writer.write(delta)
            assert not isinstance(delta, Failed) or delta.code
        assert checker.ended
        assembler.answer()
        for event, data in events:
            DIALECTS[name].usage_of_event(event, data, voice_of(name))


@pytest.mark.parametrize("name", VENDORS)
def test_a_broken_wire_is_refused_as_one(name: str) -> None:
    chance = Random(name)
    for _ in range(ROUNDS):
        decoder = DECODERS[DIALECTS[name].framing]()
        data = misspelled(bytes(chance.randrange(256) for _ in range(chance.randrange(60))) * 3, chance)
        try:
            decoder.feed(data)
            decoder.close()
        except Fault as fault:
            assert fault.code == "bad_upstream"


@pytest.mark.parametrize("name", VENDORS)
def test_a_broken_refusal_is_a_fault_of_the_upstream(name: str) -> None:
    chance = Random(name)
    whole = json.loads(DIALECTS[name].write_fault(Fault("rate_limited", "So it is."), "req-1").body)
    for _ in range(ROUNDS):
        status = chance.choice((400, 401, 402, 403, 404, 408, 413, 422, 424, 429, 500, 502, 503, 504, 529, 599))
        fields = chance.choice(({}, {"retry-after": "soon"}, {"retry-after-ms": "-1"}, {"x-amzn-errortype": "\x00"}))
        fault = DIALECTS[name].read_fault(status, fields, broken(whole, chance), NOW)
        assert fault.side == "upstream"
        assert fault.status >= 400
