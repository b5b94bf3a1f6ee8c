"""Stored responses and conversations with the official SDK, strictly typed, on a whole gateway; the plane beside it
(CRP 2.2, 2.3; #37, #62)."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from real.contexts.dialogue import new_mark, script
from real.llm.fake_provider import FakeProvider
from real.llm.house import KEY, ModelHouse, model, provider
from real.llm.sdks import PYTHON, environment, need_python

pytestmark = pytest.mark.timeout(120)

SCRIPT = Path(__file__).parent / "sdk" / "use_mirror.py"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    with FakeProvider(script=script) as started:
        yield started


@pytest.fixture(scope="module")
def house(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelHouse]:
    keys = [{"use": "api_key"}]
    started = ModelHouse(
        tmp_path_factory.mktemp("mirror"),
        {
            "repository": {"use": "sqlite"},
            "providers": [provider("openai", fake, "p0")],
            "models": [model("fast", "p0")],
            "routes": [
                {"name": "v1", "match": {"path": "/v1"}, "filters": keys, "llm": {"contexts": {}}},
                {"name": "contexts", "match": {"path": "/v1/contexts"}, "filters": keys, "contexts": {}},
            ],
        },
        2,
    ).ready()
    yield started
    started.leave()


def test_the_official_sdk_finds_the_shapes_it_expects_62(house: ModelHouse) -> None:
    need_python()
    asked = [new_mark(), new_mark()]
    job = {"base": f"http://127.0.0.1:{house.door}", "key": KEY, "say": asked}
    done = subprocess.run([str(PYTHON), str(SCRIPT), json.dumps(job)], capture_output=True, text=True, timeout=60,
                          env=environment())  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["first"][0] == "completed" and told["first"][1]
    del told["first"]
    assert told == {
        "created": ["conversation", {"topic": "demo"}, True],
        "updated": {"topic": "other"},
        "again": [True, True, "completed"],
        "inputs": ["message"] * 4,
        "items": ["user", "user", "assistant", "user", "assistant"],
        "brought": ["function_call", "function_call_output"],
        "one": True,
        "removed": True,
        "deleted": 404,
        "cancelled": 400,
        "gone": [True, 404],
    }


def ask(
    house: ModelHouse, method: str, path: str, body: bytes = b"", **fields: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", house.door, timeout=20)
    try:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, path, body or None, {"authorization": f"Bearer {KEY}", **named})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_the_plane_is_one_store_for_all_workers_and_encodings_37(house: ModelHouse) -> None:
    pack = "application/msgpack"
    delta = {"items": [{"type": "message", "role": "user", "content": "hello"}], "state": {"n": 1}}
    digests = set()
    for media, body in (("application/json", json.dumps(delta).encode()), (pack, msgspec.msgpack.encode(delta))):
        status, fields, told = ask(house, "POST", "/v1/contexts", body, content_type=media)
        assert status == 201, told
        made: dict[str, Any] = json.loads(told)
        for _ in range(8):
            status, again, seen = ask(house, "GET", f"/v1/contexts/{made['id']}", if_none_match="")
            assert (status, again["etag"]) == (200, fields["etag"])
        view = json.loads(seen)
        digests.add(json.dumps([view["items"][0]["content"], view["state"]]))
        status, _, _ = ask(house, "GET", f"/v1/contexts/{made['id']}", if_none_match=fields["etag"])
        assert status == 304
    assert len(digests) == 1


def test_discovery_is_told_without_a_key(house: ModelHouse) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", house.door, timeout=20)
    connection.request("GET", "/.well-known/crp")
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    assert answer.status == 200 and told["crp"] == ["1"] and told["durable"] is True
    status, _, body = ask(house, "GET", "/v1/contexts", authorization="Bearer wrong")
    assert status == 401 and json.loads(body)["status"] == 401
