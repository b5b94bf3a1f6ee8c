"""A conversation as a client holds it, in three dialects, over plain sockets: what was said, what came back.

Every input and every answer has a marker of its own, so that what a provider was asked can be told from its bytes.
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from real.llm.fake_dialects import Asked, Said
from real.llm.fake_provider import FakeProvider
from real.llm.house import KEY

PATHS: Final = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
MARK: Final = re.compile(rb"(?:ask|say)-[0-9]+-")
"""A marker in what a provider heard."""

_numbers = itertools.count(1)


def script(asked: Asked, id: str) -> Said:
    """Answer in two pieces, with a marker."""
    return Said(id, asked.model, pieces=(f"say-{next(_numbers)}-", "and more"))


def marks(fake: FakeProvider) -> list[str]:
    """The markers of the last request that the provider heard, in their order."""
    return [mark.decode() for mark in MARK.findall(fake.heard[-1].body)]


@dataclass
class Answered:
    """One answer. ``context``: its object; ``events``: of a stream, the ``data`` of each."""

    status: int
    fields: dict[str, str]
    body: Any
    text: str = ""
    id: str = ""
    context: Any = None
    events: list[Any] = field(default_factory=list)

    @property
    def mark(self) -> str:
        found = MARK.search(self.text.encode())
        assert found is not None, self.text
        return found[0].decode()


def body_of(dialect: str, text: str, **more: Any) -> dict[str, Any]:
    """A call that says *text*."""
    if dialect == "responses":
        return {"model": "fast", "input": text, **more}
    body = {"model": "fast", "messages": [{"role": "user", "content": text}], **more}
    return {"max_tokens": 64, **body} if dialect == "messages" else body


def new_mark() -> str:
    return f"ask-{next(_numbers)}-"


def post(
    port: int, dialect: str, body: dict[str, Any], fields: dict[str, str] | None = None, timeout: float = 20.0
) -> Answered:  # fmt: skip
    """One call on a connection of its own, which any worker may take."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        named = {"authorization": f"Bearer {KEY}", "content-type": "application/json", **(fields or {})}
        connection.request("POST", PATHS[dialect], json.dumps(body), named)
        answer = connection.getresponse()
        return read(dialect, answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def read(dialect: str, status: int, fields: dict[str, str], data: bytes) -> Answered:
    if fields.get("content-type", "").startswith("text/event-stream"):
        return _read_stream(dialect, status, fields, data)
    body = json.loads(data)
    answered = Answered(status, fields, body)
    if status == 200:
        answered.id, answered.context = body["id"], body.get("context")
        answered.text = _text(dialect, body)
    return answered


def _text(dialect: str, body: Any) -> str:
    if dialect == "chat":
        return str(body["choices"][0]["message"]["content"])
    if dialect == "responses":
        return "".join(part["text"] for item in body["output"] if item["type"] == "message" for part in item["content"])
    return "".join(block["text"] for block in body["content"] if block["type"] == "text")


def _read_stream(dialect: str, status: int, fields: dict[str, str], data: bytes) -> Answered:
    lines = [line[6:] for line in data.split(b"\n") if line.startswith(b"data: ")]
    events = [json.loads(line) for line in lines if line != b"[DONE]"]
    answered = Answered(status, fields, data, events=events)
    if dialect == "chat":
        assert lines[-1] == b"[DONE]", data
        answered.id = events[0]["id"]
        answered.text = "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"])
        ends = [e for e in events if e["choices"] and e["choices"][0]["finish_reason"]]
    elif dialect == "responses":
        answered.id = events[0]["response"]["id"]
        answered.text = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
        ends = [e["response"] for e in events if e["type"] == "response.completed"]
    else:
        answered.id = events[0]["message"]["id"]
        answered.text = "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta")
        ends = [e for e in events if e["type"] == "message_delta"]
        assert events[-1]["type"] == "message_stop", data
    assert len(ends) == 1, data
    answered.context = ends[0].get("context")
    return answered
