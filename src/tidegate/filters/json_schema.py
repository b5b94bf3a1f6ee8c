"""JSON bodies held against a JSON Schema (S10.4). Needs the extra ``schema``: ``pip install 'tidegate[schema]'``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, NEVER, UPSTREAM, Fault
from tidegate.exchange.head import NO_BODY, ResponseHead
from tidegate.ports.tools import Tools
from tidegate.rules.json_media import is_json
from tidegate.rules.json_patch import write_pointer
from tidegate.wire.json_scan import scan

MOST: Final = 1 << 20
"""Largest body held and read: one of 1 MiB costs the loop some 15 ms."""
_PROBLEMS_AT_MOST: Final = 10
_POINTER_AT_MOST: Final = 96
_PROBLEMS_SIZE: Final = 560
"""Characters of all problems together, so that they fit into a problem body of 1 KiB (S6.2)."""

Problem = dict[str, str]


class Side(BaseModel):
    """What one direction is held against."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, protected_namespaces=())

    schema_: dict[str, Any] | bool | None = Field(
        None, alias="schema", description="The schema itself; draft 2020-12 unless its $schema says otherwise."
    )
    file: str = Field("", description="Path of a JSON file with the schema, instead of writing it here.")
    mode: Literal["enforce", "report"] | None = Field(
        None, description="Refuse what does not fit, or only count it. Requests are enforced, answers reported."
    )
    formats: bool = Field(False, description="Check `format` too, which by itself is only a remark.")

    @model_validator(mode="after")
    def _one_schema(self) -> Side:
        if (self.schema_ is None) == (not self.file):
            raise ValueError("write exactly one of schema and file")
        return self


class Config(BaseModel):
    """Settings of ``json_schema``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: Side | None = Field(None, description="What request bodies must look like.")
    response: Side | None = Field(None, description="What bodies of successful answers must look like.")
    methods: tuple[str, ...] = Field(
        ("POST", "PUT", "PATCH", "QUERY"),
        description="Requests of these methods need a body that fits; of others only a body that is there.",
    )

    @model_validator(mode="after")
    def _something(self) -> Config:
        if self.request is None and self.response is None:
            raise ValueError("write request, response or both")
        return self


class JsonSchema:
    """Refusals name the places and the keywords that do not fit, never a value."""

    stage = "body"

    def __init__(self, config: Config, tools: Tools) -> None:
        self._methods = frozenset(config.methods)
        self._request = _Check(config.request, tools, "request", "enforce") if config.request else None
        self._response = _Check(config.response, tools, "response", "report") if config.response else None

    # -- requests ---------------------------------------------------------------------------------------------------

    def on_request_head(self, x: Exchange) -> None:
        """Refuse what need not be read for it: a type that is no JSON, or a length past the bound."""
        check = self._request
        if check is None or not self._held(x):
            return
        fault = None
        if not is_json(x.get("content-type")):
            fault = Fault("unsupported_media_type", "The body must be JSON in UTF-8.", side=CLIENT)
        elif x.head.body_length > MOST:
            fault = Fault("body_too_large", f"At most {MOST} bytes can be checked.", side=CLIENT, close=True)
        if fault is not None:
            check.failed(1)
            if check.enforced:
                raise fault
            x.note(self, True)

    def _held(self, x: Exchange) -> bool:
        return x.head.body_length != NO_BODY or x.method in self._methods

    def wants_request_body(self, x: Exchange) -> bool:
        return self._request is not None and self._held(x) and not x.noted(self)

    def on_request_body(self, x: Exchange, body: bytes) -> None:
        check = self._request
        assert check is not None
        try:
            problems = check.problems(body)
        except Fault:
            check.failed(1)
            if check.enforced:
                raise
            return
        if problems and check.enforced:
            raise Fault("invalid_field", "The body does not fit its schema.", side=CLIENT, extra={"errors": problems})

    # -- answers ----------------------------------------------------------------------------------------------------

    def on_response_head(self, x: Exchange, head: ResponseHead) -> None:
        """An answer that cannot be read cannot fit: refuse or count it before anything is held."""
        check = self._response
        if check is None or not _has_body(x, head) or (is_json(head.get("content-type")) and head.body_length <= MOST):
            return
        check.failed(1)
        if check.enforced:
            raise _bad_answer()

    def wants_body(self, x: Exchange, head: ResponseHead) -> bool:
        return (
            self._response is not None
            and _has_body(x, head)
            and is_json(head.get("content-type"))
            and head.body_length <= MOST
        )

    def on_response_body(self, x: Exchange, head: ResponseHead, body: bytes) -> None:
        check = self._response
        assert check is not None
        try:
            problems: list[Problem] | None = check.problems(body)
        except Fault:
            check.failed(1)
            problems = None
        if problems != [] and check.enforced:
            raise _bad_answer()


class _Check:
    """One compiled schema. ``failed`` counts what does not fit."""

    def __init__(self, side: Side, tools: Tools, direction: str, mode: str) -> None:
        self.enforced = (side.mode or mode) == "enforce"
        self.failed = tools.counter("schema_failures_total", policy=tools.scope, direction=direction)
        self._validator = _compiled(_schema(side, tools.config_folder), side.formats)

    def problems(self, body: bytes) -> list[Problem]:
        """What in *body* does not fit, at most ten. Raises the faults of ``scan``."""
        value = scan(body, max_size=MOST)
        if self._validator.is_valid(value):
            return []
        self.failed(1)
        return _told(self._validator.iter_errors(value))


def _schema(side: Side, folder: Path) -> Any:
    if not side.file:
        return side.schema_
    try:
        return json.loads((folder / side.file).read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"the schema {side.file} cannot be read: {error}") from None


def _compiled(schema: Any, formats: bool) -> Any:
    """A validator for *schema*. References lead nowhere but into it, and patterns take linear time."""
    try:
        import jsonschema_rs
    except ModuleNotFoundError:
        raise ValueError("json_schema needs jsonschema-rs: pip install 'tidegate[schema]'") from None
    try:
        return jsonschema_rs.validator_for(
            schema, validate_formats=formats, retriever=_nowhere, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise ValueError(f"the schema cannot be used: {error}") from None


def _nowhere(uri: str) -> Any:
    raise ValueError(f"a schema is not fetched from elsewhere: {uri}")


def _told(errors: Iterable[Any]) -> list[Problem]:
    """Problems as clients see them. Their text is ours: the library's own quotes the value."""
    told: list[Problem] = []
    size = 0
    for error in islice(errors, _PROBLEMS_AT_MOST):
        keyword = next((step for step in reversed(error.schema_path) if isinstance(step, str)), "schema")
        problem = {"pointer": write_pointer(error.instance_path)[:_POINTER_AT_MOST], "keyword": str(keyword)[:40]}
        missing = getattr(error.kind, "property", None)
        if keyword == "required" and isinstance(missing, str):
            problem["missing"] = missing[:40]
        size += sum(map(len, problem.values())) + 40
        if told and size > _PROBLEMS_SIZE:
            break
        told.append(problem)
    return told


def _has_body(x: Exchange, head: ResponseHead) -> bool:
    return (
        x.upstream_status != 0
        and 200 <= head.status < 300
        and head.status not in (204, 205)
        and x.method != "HEAD"
        and head.body_length != NO_BODY
    )


def _bad_answer() -> Fault:
    return Fault("bad_upstream", "The upstream's answer does not fit its schema.", side=UPSTREAM, retry=NEVER)
