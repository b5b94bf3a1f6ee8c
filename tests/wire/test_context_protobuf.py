"""Twin of wire/context_protobuf.py (CRP 6.3): judged by protobuf itself, from the file that is published."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from grpc_tools import protoc
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.context import Item
from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import Fault
from tidegate.wire.context_body import decode
from tidegate.wire.context_json import item_object, op_object, read_item, read_ops
from tidegate.wire.context_protobuf import MESSAGES, UNKNOWN, proto_text, read_message, write_message

LIMITS = ContextLimits()
PUBLISHED = Path(__file__).parents[2] / "docs/crp/crp.proto"


@pytest.fixture(scope="module")
def crp(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The module that protoc makes of the published file."""
    folder = tmp_path_factory.mktemp("proto")
    assert protoc.main(["", f"-I{PUBLISHED.parent}", f"--python_out={folder}", str(PUBLISHED)]) == 0
    spec = importlib.util.spec_from_file_location("crp_pb2", folder / "crp_pb2.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["crp_pb2"] = module
    spec.loader.exec_module(module)
    return module


def test_the_published_file_is_what_the_table_says() -> None:
    assert PUBLISHED.read_text() == proto_text()


def test_every_member_of_an_item_has_a_number_and_none_is_used_twice() -> None:
    told = {field.name for field in MESSAGES["Item"]}
    assert {name for name in Item.__struct_fields__ if name != "extra"} <= told
    for fields in MESSAGES.values():
        assert len({field.number for field in fields}) == len({field.name for field in fields}) == len(fields)


def test_an_item_of_protobuf_is_the_item_of_json(crp: Any) -> None:
    message = crp.Item(
        id="it_1", type="event", key="a.b", role="user", content=b'{"n":1.10}', pinned=True, priority=0, ttl=60,
        at="2026-11-22T09:02:00Z", about=["x", "y"], privacy="personal", more={"colour": b'"teal"'},
        provenance=crp.Provenance(by="tool", source="s"), geo=crp.Geo(point=[8.68, 50.11]), covers=["a", "b"],
    )  # fmt: skip
    value = read_message("Item", message.SerializeToString(), LIMITS)
    item = read_item(value, LIMITS)
    assert item.content == b'{"n":1.10}' and item.extra == {"colour": b'"teal"'} and item.priority == 0
    written = write_message("Item", msgspec.json.decode(msgspec.json.encode(item_object(item))))
    assert read_item(read_message("Item", written, LIMITS), LIMITS) == msgspec.structs.replace(
        item, content=b'{"n":1.1}'
    )
    parsed = crp.Item.FromString(written)
    assert (parsed.id, list(parsed.about), parsed.more["colour"]) == ("it_1", ["x", "y"], b'"teal"')
    assert list(parsed.geo.point) == [8.68, 50.11]


def test_one_delta_in_three_encodings_is_one_delta_37(crp: Any) -> None:
    ops = [
        {"op": "append", "items": [{"type": "message", "role": "user", "content": "hé", "weight": 2}]},
        {"op": "put", "item": {"type": "fact", "key": "k", "content": {"b": [1, 2.5], "a": None}}},
        {"op": "patch", "on": "state", "patch": [{"op": "add", "path": "/a", "value": 1}]},
        {"op": "splice", "id": "it_1", "at": 0, "del": 2, "ins": "x"},
        {"op": "mark", "id": "it_1", "pinned": False, "priority": 0},
        {"op": "compact", "from": "a", "to": "b", "summary": {"type": "summary", "content": "s"}},
        {"op": "rollback", "to": "cv_1"},
        {"op": "set_policy", "policy": {"keep": {"last_turns": 3}}},
    ]
    delta = {"delta_updates": ops, "parent": "cv_1"}
    proto = write_message("Delta", delta)
    assert len(crp.Delta.FromString(proto).delta_updates) == len(ops)
    bodies = {
        "application/json": msgspec.json.encode(delta), "application/msgpack": msgspec.msgpack.encode(delta),
        "application/x-protobuf": proto,
    }  # fmt: skip
    found = [decode(media, "", body, LIMITS) for media, body in bodies.items()]
    assert [each["parent"] for each in found] == ["cv_1"] * 3
    read = [read_ops(each["delta_updates"], LIMITS) for each in found]
    assert read[0] == read[1] == read[2]
    again = write_message("Delta", {"delta_updates": [msgspec.json.decode(msgspec.json.encode(op_object(op)))
                                                      for op in read[0]]})  # fmt: skip
    assert read_ops(read_message("Delta", again, LIMITS)["delta_updates"], LIMITS) == read[0]


def test_fields_of_a_later_version_come_back_as_they_came(crp: Any) -> None:
    later = crp.Item(id="it_1", type="message").SerializeToString() + b"\xfa\x07\x03new" + b"\x80\x08\x05"
    item = read_item(read_message("Item", later, LIMITS), LIMITS)
    assert UNKNOWN in item.extra
    written = write_message("Item", msgspec.json.decode(msgspec.json.encode(item_object(item))))
    assert written.endswith(b"\xfa\x07\x03new\x80\x08\x05")


def reason(name: str, body: bytes) -> str:
    with pytest.raises(Fault) as caught:
        read_message(name, body, LIMITS)
    assert (caught.value.code, caught.value.status) == ("invalid_body", 400)
    return caught.value.reason


@pytest.mark.parametrize(
    "body",
    [b"\x0a", b"\x0a\x05a", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x08\x01", b"\x0a\x01\xff", b"\x0b",
     b"\xff" * 11, b"\x38", b"\x2a\x01{", b"\x71\x00", b"\x72\x0b\x0a\x09" + b"\x00" * 9,
     b"\x72\x0a\x0a\x08\x00\x00\x00\x00\x00\x00\xf8\x7f", b"\xea\x01\x02\x08\x01"],
)  # fmt: skip
def test_what_is_no_clean_message_is_refused(body: bytes) -> None:
    assert reason("Item", body) in ("bad_encoding", "invalid_json")


def test_json_within_a_message_passes_the_gate_of_json_38() -> None:
    assert reason("Item", b'\x2a\x0d{"a":1,"a":2}') == "duplicate_key"
    assert reason("Item", b"\x2a\x03NaN") == "invalid_json"
    twice = b"\xea\x01\x06\x0a\x01a\x12\x011"
    assert reason("Item", twice + twice) == "duplicate_key"
    assert reason("Item", b"\xea\x01\x07\x0a\x02id\x12\x011") == "duplicate_key"


@given(st.binary(max_size=80), st.sampled_from(sorted(MESSAGES)))
def test_any_bytes_are_read_or_refused_as_400(body: bytes, name: str) -> None:
    try:
        read_message(name, body, LIMITS)
    except Fault as fault:
        assert fault.code == "invalid_body"
