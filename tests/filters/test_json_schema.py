"""Bodies against a schema (S10.4)."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fakes import FakeTools, exchange
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import CHUNKED, NO_BODY, ResponseHead
from tidegate.filters.json_schema import MOST, Config, JsonSchema
from tidegate.wire.problem import problem

SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "tags": {"items": {"type": "string", "pattern": "^[a-z]+$"}}},
    "required": ["id"],
    "additionalProperties": False,
}
JSON = [("content-type", "application/json")]


class Stage:
    def __init__(self, folder: Path = Path(), **settings: Any) -> None:
        self.tools = FakeTools(config_folder=folder)
        self.tools.scope = "orders/1"  # type: ignore[attr-defined]
        self.filter = JsonSchema(Config.model_validate(settings), self.tools)

    def failures(self, direction: str = "request") -> int:
        return self.tools.count("schema_failures_total", policy="orders/1", direction=direction)

    def send(self, body: bytes, *, method: str = "POST", fields: Any = JSON, length: int | None = None) -> Fault | None:
        """What the client gets for *body*, or None when it goes on."""
        x = exchange(method, fields=fields, body_length=len(body) if length is None else length)
        try:
            self.filter.on_request_head(x)
            if self.filter.wants_request_body(x):
                self.filter.on_request_body(x, body)
        except Fault as fault:
            return fault
        return None

    def answer(self, body: bytes, *, status: int = 200, fields: Any = JSON, length: int | None = None) -> Any:
        """ "held", "streamed", or the fault."""
        x: Exchange = exchange()
        x.upstream_status = status
        head = ResponseHead(status, "", list(fields), len(body) if length is None else length)
        try:
            self.filter.on_response_head(x, head)
            if not self.filter.wants_body(x, head):
                return "streamed"
            self.filter.on_response_body(x, head, body)
        except Fault as fault:
            return fault
        return "held"


def enforced(**settings: Any) -> Stage:
    return Stage(request={"schema": SCHEMA} | settings)


# -- requests -------------------------------------------------------------------------------------------------------


def test_a_body_that_fits_goes_on() -> None:
    stage = enforced()
    assert stage.send(b'{"id": 7, "tags": ["a"]}') is None
    assert stage.failures() == 0


def test_a_body_that_does_not_fit_is_422_with_places_and_without_values_s10_4() -> None:
    stage = enforced()
    fault = stage.send(b'{"tags": ["ok", "SECRET"], "password": 1}')
    assert fault is not None
    assert (fault.code, fault.status) == ("invalid_field", 422)
    assert fault.extra is not None
    assert sorted(fault.extra["errors"], key=str) == [  # type: ignore[call-overload]
        {"pointer": "", "keyword": "additionalProperties"},
        {"pointer": "", "keyword": "required", "missing": "id"},
        {"pointer": "/tags/1", "keyword": "pattern"},
    ]
    told = problem(fault, "", "", "gw").body
    assert b"errors" in told
    assert b"SECRET" not in told and b"password" not in told
    assert stage.failures() == 1


def test_at_most_ten_problems_are_told_and_they_fit_the_answer() -> None:
    fault = enforced().send(json.dumps({"id": 1, "tags": [1] * 50}).encode())
    assert fault is not None and fault.extra is not None
    assert fault.extra["errors"] == [{"pointer": f"/tags/{n}", "keyword": "type"} for n in range(10)]
    deep = {"type": "object", "additionalProperties": {"type": "string"}}
    fault = Stage(request={"schema": deep}).send(json.dumps({"k" * 500 + str(n): 1 for n in range(20)}).encode())
    assert fault is not None
    body = json.loads(problem(fault, "r" * 36, "t" * 32, "gw").body)
    assert 1 <= len(body["errors"]) < 10


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [(b'{"id": 7', "invalid_json", 400), (b"", "invalid_json", 400), (b'{"id":1,"id":2}', "duplicate_key", 400),
     (b"[" * 65 + b"]" * 65, "depth_exceeded", 400)],
)  # fmt: skip
def test_what_is_no_json_is_400_s10_4(body: bytes, code: str, status: int) -> None:
    fault = enforced().send(body)
    assert fault is not None
    assert (fault.code, fault.status) == (code, status)


@pytest.mark.parametrize("kind", ["text/plain", "application/json; charset=latin-1", None])
def test_another_content_type_is_415_s10_4(kind: str | None) -> None:
    fault = enforced().send(b'{"id":7}', fields=[("content-type", kind)] if kind else [])
    assert fault is not None
    assert (fault.code, fault.status) == ("unsupported_media_type", 415)


def test_a_body_past_the_bound_is_413_before_it_is_read() -> None:
    fault = enforced().send(b"", length=MOST + 1)
    assert fault is not None
    assert (fault.status, fault.close) == (413, True)


def test_a_method_without_body_needs_none_but_a_body_that_is_there_is_checked() -> None:
    stage = enforced()
    assert stage.send(b"", method="GET", fields=[]) is None
    fault = stage.send(b"{}", method="DELETE")
    assert fault is not None and fault.status == 422


@pytest.mark.parametrize("body", [b"{}", b"{", b'{"id":"x"}'])
def test_reporting_counts_and_lets_pass(body: bytes) -> None:
    stage = enforced(mode="report")
    assert stage.send(body) is None
    assert stage.send(body, fields=[]) is None
    assert stage.failures() == 2


# -- answers --------------------------------------------------------------------------------------------------------


def test_answers_are_only_reported_unless_asked_for() -> None:
    stage = Stage(response={"schema": SCHEMA})
    assert [stage.answer(body) for body in (b'{"id":1}', b"{}", b"{")] == ["held"] * 3
    assert stage.failures("response") == 2


@pytest.mark.parametrize("body", [b"{}", b"{", b'{"id":1,"id":1}'])
def test_an_enforced_answer_that_does_not_fit_is_502_s10_4(body: bytes) -> None:
    stage = Stage(response={"schema": SCHEMA, "mode": "enforce"})
    fault = stage.answer(body)
    assert (fault.code, fault.status, fault.extra) == ("bad_upstream", 502, None)
    assert stage.failures("response") == 1


def test_an_enforced_answer_of_another_type_or_size_is_502() -> None:
    stage = Stage(response={"schema": SCHEMA, "mode": "enforce"})
    assert stage.answer(b"x", fields=[("content-type", "text/html")]).status == 502
    assert stage.answer(b"", length=MOST + 1).status == 502
    assert Stage(response={"schema": SCHEMA}).answer(b"", length=MOST + 1) == "streamed"


@pytest.mark.parametrize(("status", "length"), [(404, 2), (500, 2), (204, NO_BODY), (200, NO_BODY), (304, NO_BODY)])
def test_errors_and_empty_answers_stream_through(status: int, length: int) -> None:
    stage = Stage(response={"schema": SCHEMA, "mode": "enforce"})
    assert stage.answer(b"{}", status=status, length=length) == "streamed"


def test_an_answer_of_unknown_length_is_held() -> None:
    assert Stage(response={"schema": SCHEMA}).answer(b'{"id":1}', length=CHUNKED) == "held"


def test_without_a_side_that_side_is_not_touched() -> None:
    assert enforced().answer(b"x") == "streamed"
    assert Stage(response={"schema": SCHEMA}).send(b"x", fields=[]) is None


# -- settings -------------------------------------------------------------------------------------------------------


def test_a_schema_comes_from_a_file_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text(json.dumps(SCHEMA))
    stage = Stage(tmp_path, request={"file": "order.json"})
    fault = stage.send(b"{}")
    assert fault is not None and fault.status == 422
    with pytest.raises(ValueError, match=r"none\.json cannot be read"):
        Stage(tmp_path, request={"file": "none.json"})


@pytest.mark.parametrize(
    "schema",
    [{"type": "objekt"}, {"$ref": "http://127.0.0.1:9/schema"}, {"$ref": "file:///etc/passwd"}, {"pattern": "(?=a)b"},
     {"$ref": "#/$defs/none"}],
)  # fmt: skip
def test_a_schema_that_is_none_or_leads_elsewhere_is_refused_at_load(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the schema cannot be used"):
        Stage(request={"schema": schema})


def test_formats_are_checked_when_asked_for() -> None:
    schema = {"properties": {"at": {"format": "date"}}}
    assert Stage(request={"schema": schema}).send(b'{"at":"x"}') is None
    fault = Stage(request={"schema": schema, "formats": True}).send(b'{"at":"x"}')
    assert fault is not None and fault.status == 422


def test_without_the_extra_the_config_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "jsonschema_rs":
            raise ModuleNotFoundError(name=name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ValueError, match=r"pip install 'tidegate\[schema\]'"):
        enforced()


@pytest.mark.parametrize(
    "settings",
    [{}, {"request": {}}, {"request": {"schema": {}, "file": "a"}}, {"request": {"schema": {}, "mode": "warn"}},
     {"request": {"schema": []}}],
)  # fmt: skip
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(settings)


def test_settings_survive_the_generation_file() -> None:
    config = Config.model_validate({"request": {"schema": SCHEMA}})
    assert Config.model_validate(config.model_dump(mode="json", by_alias=True)) == config
