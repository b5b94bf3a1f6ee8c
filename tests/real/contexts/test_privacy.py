"""What was redacted or deleted is in no file of the node; what is personal in no log, what is secret in no upstream
body (CRP 10; #53, #54, #55)."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from real.contexts.dialogue import body_of, new_mark, post, script
from real.llm.fake_provider import FakeProvider
from real.llm.house import KEY, ModelHouse, model, provider
from real.processes import TOKEN, until

pytestmark = pytest.mark.timeout(120)

SESSION = "user-42:support"


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider(script=script) as started:
        yield started


@pytest.fixture
def house(tmp_path: Path, fake: FakeProvider) -> Iterator[ModelHouse]:
    made = ModelHouse(
        tmp_path,
        {
            "providers": [provider("openai", fake, "p")],
            "models": [model("fast", "p")],
            "routes": [
                {"name": "v1", "match": {"path": "/v1"}, "filters": [{"use": "api_key"}], "llm": {"contexts": {}}},
                {"name": "c", "match": {"path": "/v1/contexts"}, "filters": [{"use": "api_key"}], "contexts": {}},
            ],
        },
        workers=2,
    ).ready()
    yield made
    made.leave()


def call(
    house: ModelHouse, method: str, path: str, body: Any = None, **fields: str
) -> tuple[int, Any]:  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", house.door, timeout=20)
    try:
        named = {"authorization": f"Bearer {KEY}", "content-type": "application/json", **fields}
        connection.request(method, path, None if body is None else json.dumps(body), named)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def files_with(house: ModelHouse, *words: str) -> list[str]:
    """The files of the node, its output among them, in which one of *words* occurs, in any letter of UTF-8 or 16."""
    wanted = [word.encode(code) for word in words for code in ("utf-8", "utf-16-le")]
    return [
        path.name
        for path in sorted(house.folder.rglob("*"))
        if path.is_file() and any(word in path.read_bytes() for word in wanted)
    ]


def test_after_redaction_no_byte_is_left_and_the_log_is_whole_53(house: ModelHouse, fake: FakeProvider) -> None:
    marks = [new_mark() + "the-redacted-words" for _ in range(3)]
    long = "the-long-redacted-words " * 400
    first = post(house.door, "chat", body_of("chat", marks[0], store=True))
    id = first.context["id"]
    # SQLite masks what it keeps; that the masks are struck is ``tests/repositories``' to show. Here: everything else.
    assert files_with(house, "the-redacted-words") == []
    status, told = call(house, "PATCH", f"/v1/contexts/{id}", {"delta_updates": [
        {"op": "append", "items": [{"id": "it-doc", "type": "document", "content": long},
                                   {"id": "it-two", "type": "message", "role": "user", "content": marks[1]}]},
        {"op": "put", "item": {"type": "fact", "key": "a.b", "content": marks[2], "privacy": "personal"}},
    ]})  # fmt: skip
    assert status == 200, told
    status, view = call(house, "GET", f"/v1/contexts/{id}")
    said = [item["id"] for item in view["items"] if "words" in json.dumps(item)]
    assert len(said) == 4, view

    status, told = call(house, "POST", f"/v1/contexts/{id}/redact", {"selector": {"ids": said}, "reason": "asked for"})
    assert status == 200, told
    assert files_with(house, "redacted-words", marks[0], marks[2]) == []
    for _ in range(4):  # both workers
        status, after = call(house, "GET", f"/v1/contexts/{id}")
        assert status == 200, after
        assert "redacted-words" not in json.dumps(after)
        assert [item["type"] for item in after["items"] if item["id"] in said] == ["redacted"] * 4
    status, log = call(house, "GET", f"/v1/contexts/{id}/log")
    assert (status, "redacted-words" in json.dumps(log)) == (200, False)
    last = post(house.door, "chat", body_of("chat", new_mark(), context_id=id))
    assert last.status == 200, last.body
    assert b"redacted-words" not in fake.heard[-1].body
    assert "redacted-words" not in house.gateway.said
    checked = subprocess.run(
        [sys.executable, "-m", "tidegate", "context", "fsck", "-c", str(house.gateway.config),
         "--data", str(house.gateway.data)], capture_output=True, text=True, timeout=60, cwd=house.folder,
    )  # fmt: skip
    assert (checked.returncode, checked.stdout) == (0, "everything is whole\n"), checked.stderr


def test_after_deletion_the_id_is_gone_and_nothing_is_left_54(house: ModelHouse) -> None:
    first = post(house.door, "chat", body_of("chat", new_mark() + "deleted-words", store=True))
    id = first.context["id"]
    second = post(house.door, "chat", body_of("chat", new_mark() + "deleted-words", context_id=id))
    assert second.status == 200
    status, receipt = call(house, "DELETE", f"/v1/contexts/{id}")
    assert status == 200, receipt
    assert (receipt["object"], receipt["id"], receipt["backends"]) == ("context.deletion", id, ["sqlite"])
    assert receipt["entries"] == 4
    assert receipt["bytes"] > 0
    assert len(receipt["digest"]) >= 64
    for _ in range(4):
        status, told = call(house, "GET", f"/v1/contexts/{id}")
        assert (status, told["code"]) == (410, "context_deleted"), told
    assert post(house.door, "chat", body_of("chat", new_mark(), context_id=id)).status == 410
    assert files_with(house, "deleted-words") == []


def test_personal_words_are_in_no_file_and_secret_ones_in_no_upstream_body_55(
    house: ModelHouse, fake: FakeProvider
) -> None:
    first = post(house.door, "chat", body_of("chat", new_mark(), session_id=SESSION))
    assert first.status == 200, first.body
    second = post(house.door, "chat", body_of("chat", new_mark(), context_id=first.context["id"], delta_updates=[
        {"op": "put", "item": {"type": "preference", "key": "seat", "content": "personal-words",
                                 "privacy": "personal"}},
        {"op": "put", "item": {"type": "fact", "key": "door", "content": "secret-words", "privacy": "secret"}},
        {"op": "merge", "on": "state", "value": {"form": "personal-words of the state"}},
    ]))  # fmt: skip
    assert second.status == 200, second.body
    heard = b"".join(each.body for each in fake.heard)
    assert b"personal-words" in heard
    assert b"secret-words" not in heard
    assert "⟦secret:door⟧" in fake.heard[-1].body.decode("utf-8")
    status, metrics = call_metrics(house)
    assert status == 200
    for word in ("personal-words", "secret-words", first.context["id"], SESSION):
        assert word not in metrics
    until(lambda: len(house.records()) >= 2, 5.0, lambda: "no records", each=0.1)
    assert files_with(house, "personal-words", "secret-words") == []
    assert "words" not in house.gateway.said


def call_metrics(house: ModelHouse) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", house.gateway.admin, timeout=10)
    try:
        connection.request("GET", "/metrics", headers={"authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
