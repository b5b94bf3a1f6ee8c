"""Bad deltas over HTTP: told which op and why, and head and digest stay as they were (CX-delta-bad; #11, #17, #41)."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from plane_house import PlaneHouse, message, open_plane

ROOT = "/v1/contexts"
VERSION = "cv_01J9ZK4A0C3E5G7H9J1K3M5N7P"
GOOD: dict[str, Any] = {"op": "append", "items": [message("never kept")]}
SPLICE = {"op": "splice", "id": "m1", "at": 99, "ins": "x"}

BAD: list[tuple[str, Any, int, str, list[dict[str, Any]]]] = [
    ("splice beyond the end", [SPLICE], 422, "delta_invalid", [{"op": 0, "reason": "out_of_range", "pointer": "/at"}]),
    ("unknown op", [GOOD, {"op": "explode"}], 422, "delta_invalid",
     [{"op": 1, "reason": "unknown_op", "pointer": "/op"}]),
    ("last op bad", [GOOD, {"op": "merge", "on": "state", "value": {"a": 1}}, {"op": "remove", "id": "nobody"}], 422,
     "delta_invalid", [{"op": 2, "reason": "target_missing", "pointer": "/id"}]),
    ("failed test", [GOOD, {"op": "patch", "on": "state", "patch": [{"op": "test", "path": "/n", "value": 2}]}], 422,
     "delta_invalid", [{"op": 1, "reason": "patch_failed", "pointer": "/patch/0"}]),
    ("half a tool pair", [GOOD, {"op": "remove", "id": "call"}], 422, "delta_invalid",
     [{"op": 1, "reason": "tool_pair_broken", "pointer": "/id"}]),
    ("a class that falls", [GOOD, {"op": "mark", "id": "m1", "privacy": "public"}], 422, "delta_invalid",
     [{"op": 1, "reason": "class_lowered", "pointer": "/privacy"}]),
    ("must be understood", [{"op": "append", "items": [{"type": "acme:x", "must_understand": True}]}], 422,
     "delta_invalid", [{"op": 0, "reason": "unknown_type", "pointer": "/items/0/type"}]),
    ("rollback in the middle", [GOOD, {"op": "rollback", "to": VERSION}], 422, "delta_invalid",
     [{"op": 1, "reason": "bad_position", "pointer": ""}]),
    ("rollback to nowhere", [{"op": "rollback", "to": VERSION}], 422, "delta_invalid",
     [{"op": 0, "reason": "not_ancestor", "pointer": "/to"}]),
    ("one op too many", [GOOD] * 257, 422, "delta_invalid", [{"op": 256, "reason": "too_many_ops", "pointer": ""}]),
]  # fmt: skip


def held_still(body: Any, status: int, code: str, errors: list[dict[str, Any]] | None, **members: Any) -> None:
    """PATCH *body*, see it refused, and find nothing changed."""

    async def run() -> None:
        house = await open_plane()
        items = [
            {"id": "m1", **message("hello")},
            {"id": "call", "type": "tool_call", "name": "n", "call_id": "c", "arguments": "{}"},
            {"id": "result", "type": "tool_result", "call_id": "c", "content": "done"},
        ]
        made = (await house.ask("POST", ROOT, {"items": items, "state": {"n": 1}})).json
        before = (await house.ask("GET", f"{ROOT}/{made['id']}")).body
        raw = body if isinstance(body, bytes) else msgspec.json.encode({"delta_updates": body, **members})
        heard = await house.ask("PATCH", f"{ROOT}/{made['id']}", raw)
        assert (heard.status, heard.code) == (status, code), heard.body
        if errors is not None:
            assert heard.json["errors"] == errors
        await unchanged(house, made["id"], before)

    asyncio.run(run())


async def unchanged(house: PlaneHouse, id: str, before: bytes) -> None:
    """View, version and digest are the same, and the log has nothing more."""
    other = house.house.client()  # a body that is too large costs its client the connection
    assert (await house.ask("GET", f"{ROOT}/{id}", side=other)).body == before
    assert len((await house.ask("GET", f"{ROOT}/{id}/log", side=other)).json["data"]) == 1


@pytest.mark.parametrize(("name", "ops", "status", "code", "errors"), BAD, ids=[each[0] for each in BAD])
def test_a_bad_delta_changes_nothing_cx_delta_bad(
    name: str, ops: Any, status: int, code: str, errors: list[dict[str, Any]]
) -> None:
    held_still(ops, status, code, errors)


def test_a_base_that_does_not_exist_is_not_found_cx_delta_bad() -> None:
    held_still([GOOD], 404, "version_not_found", None, parent=VERSION)


def test_text_that_is_no_utf_8_is_400_cx_delta_bad() -> None:
    body = b'{"delta_updates":[{"op":"append","items":[{"type":"message","role":"user","content":"\xff"}]}]}'
    held_still(body, 400, "invalid_body", None)


def test_a_million_ops_are_refused_cx_delta_bad() -> None:
    body = b'{"delta_updates":[' + b",".join([b'{"op":"x"}'] * 700_000) + b"]}"
    held_still(body, 422, "delta_invalid", [{"op": 256, "reason": "too_many_ops", "pointer": ""}])
    body = b'{"delta_updates":[' + b",".join([b'{"op":"x"}'] * 1_000_000) + b"]}"
    held_still(body, 413, "body_too_large", None)
