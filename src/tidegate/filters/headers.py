"""Header fields renamed, removed, set and added, on the way in and on the way out (S10.1, S10.2)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, GATEWAY, Fault
from tidegate.exchange.head import Fields, ResponseHead
from tidegate.ports.tools import Tools
from tidegate.rules.field_names import editable
from tidegate.rules.field_template import BadValue, FieldTemplate, compile_template


def _request_value(text: str) -> str:
    compile_template(text)
    return text


def _response_value(text: str) -> str:
    compile_template(text, response=True)
    return text


Name = Annotated[str, AfterValidator(editable)]
RequestValue = Annotated[str, AfterValidator(_request_value)]
ResponseValue = Annotated[str, AfterValidator(_response_value)]


class RequestEdits(BaseModel):
    """What happens to the request, in this order. Values see the request as it came to this filter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rename: dict[Name, Name] = Field(
        default={}, description="Old name to new name; lines already under the new name go."
    )
    remove: tuple[Name, ...] = Field(default=(), description="Names that go.")
    set: dict[Name, RequestValue] = Field(default={}, description="Name to value, replacing what is there.")
    add: dict[Name, RequestValue] = Field(default={}, description="Name to value, one more line.")


class ResponseEdits(BaseModel):
    """What happens to the answer, in this order; answers made by the gateway itself included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rename: dict[Name, Name] = Field(
        default={}, description="Old name to new name; lines already under the new name go."
    )
    remove: tuple[Name, ...] = Field(default=(), description="Names that go.")
    set: dict[Name, ResponseValue] = Field(default={}, description="Name to value, replacing what is there.")
    add: dict[Name, ResponseValue] = Field(default={}, description="Name to value, one more line.")


class Config(BaseModel):
    """Settings of ``headers``. Values are templates such as ``{consumer}`` or ``{request.header.x-a}`` (S10.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: RequestEdits = Field(default=RequestEdits(), description="Edits of the request.")
    response: ResponseEdits = Field(default=ResponseEdits(), description="Edits of the answer.")


class Headers:
    """Literal values are made into field lines once; only templates cost anything on the way."""

    stage = "other"

    def __init__(self, config: Config, tools: Tools) -> None:
        self._request = _Edits(config.request)
        self._response = _Edits(config.response)

    def on_request_head(self, x: Exchange) -> None:
        edits = self._request
        if edits.idle:
            return
        lines = edits.literals
        if edits.templates:
            try:
                lines = [(name, value.render(x)) for name, value in edits.templates]
            except BadValue as bad:
                raise Fault("bad_request", str(bad), side=CLIENT) from None
        for old, new in edits.rename:
            renamed = x.get(old)
            if renamed is not None:
                x.remove_field(old)
                x.set_field(new, renamed)
        if x.dropped is None:
            x.dropped = set(edits.drop)
        else:
            x.dropped |= edits.drop
        if x.added is None:
            x.added = list(lines)
        else:
            x.added = [line for line in x.added if line[0] not in edits.drop]
            x.added.extend(lines)

    def on_response_head(self, x: Exchange, head: ResponseHead) -> None:
        edits = self._response
        if edits.idle:
            return
        lines = edits.literals
        if edits.templates:
            lines = _answer_lines(edits.templates, x, head)
        fields = head.fields
        for old, new in edits.rename:
            if head.get(old) is not None:
                fields = [(new if name == old else name, value) for name, value in fields if name != new]
                head.fields = fields
        drop = edits.drop
        if drop:
            fields = [line for line in fields if line[0] not in drop]
        head.fields = fields + lines


def _answer_lines(templates: list[tuple[str, FieldTemplate]], x: Exchange, head: ResponseHead) -> Fields:
    """The lines for one answer. A bad value refuses the upstream's answer (S10.2); a refusal of our own goes out
    without that line, or one fault would hide the other."""
    lines: Fields = []
    for name, value in templates:
        try:
            lines.append((name, value.render(x, head)))
        except BadValue as bad:
            if x.upstream_status:
                raise Fault("bad_upstream", str(bad), side=GATEWAY) from None
    return lines


class _Edits:
    """Edits of one direction, ready for use. ``templates`` holds every line to send when some value is no literal;
    otherwise ``literals`` does."""

    __slots__ = ("drop", "idle", "literals", "rename", "templates")

    def __init__(self, edits: RequestEdits | ResponseEdits) -> None:
        response = isinstance(edits, ResponseEdits)
        lines: list[tuple[str, FieldTemplate]] = [
            (name, compile_template(text, response=response))
            for group in (edits.set, edits.add)
            for name, text in group.items()
        ]
        self.rename = tuple(edits.rename.items())
        self.drop = frozenset(edits.remove) | frozenset(edits.set)
        self.literals: Fields = [(name, value.literal) for name, value in lines if value.literal is not None]
        self.templates = lines if len(self.literals) < len(lines) else []
        self.idle = not (self.rename or self.drop or lines)
