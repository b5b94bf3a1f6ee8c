"""Another path, query or host for the upstream, after matching and authentication (S5.7)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.ports.tools import Tools
from tidegate.rules.canonical import canonical_host, canonical_path
from tidegate.rules.field_template import BadValue, compile_template
from tidegate.rules.rewriting import (
    checked_path,
    query_with,
    query_without,
    rendered_host,
    rendered_path,
    swap_prefix,
)


def _prefix(text: str) -> str:
    """A prefix as ``swap_prefix`` wants it: canonical, without the last slash."""
    try:
        path, flags = canonical_path(text)
    except Fault as fault:
        raise ValueError(f"{text!r} is no path: {fault.detail}") from None
    if flags:
        raise ValueError(f"{text!r} holds %2F or a semicolon: a prefix is whole plain segments")
    return path.removesuffix("/")


def _path_template(text: str) -> str:
    template = compile_template(text)
    if not text.startswith("/"):
        raise ValueError("a path begins with /")
    if template.literal is not None:
        _prefix(text)
    return text


def _host_template(text: str) -> str:
    if compile_template(text).literal is not None:
        try:
            canonical_host(text)
        except Fault:
            raise ValueError(f"{text!r} is no host") from None
    return text


def _value_template(text: str) -> str:
    compile_template(text)
    return text


Prefix = Annotated[str, AfterValidator(_prefix)]
Value = Annotated[str, AfterValidator(_value_template)]


class Replacement(BaseModel):
    """One prefix for another."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    old: Prefix = Field(alias="from", description="The prefix that goes, by whole segments.")
    new: Prefix = Field(alias="to", description="What stands in its place; `/` for nothing.")


class QueryEdits(BaseModel):
    """Edits of the query, in this order; every other pair stays byte for byte."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    remove: tuple[str, ...] = Field(default=(), description="Names that go.")
    set: dict[str, Value] = Field(default={}, description="Name to value, replacing what is there.")
    add: dict[str, Value] = Field(default={}, description="Name to value, one more pair.")


class Config(BaseModel):
    """Settings of ``rewrite``. Of the three ways to change the path only one may be written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strip_prefix: Prefix = Field("", description="Take this prefix away: /catalog/x becomes /x, /catalog becomes /.")
    replace_prefix: Replacement | None = Field(None, description="Put one prefix in the place of another.")
    path: Annotated[str, AfterValidator(_path_template)] | None = Field(
        None, description="The whole path, a template: /v2/items/{capture.id}."
    )
    query: QueryEdits | None = Field(None, description="Pairs removed, set and added.")
    host: Annotated[str, AfterValidator(_host_template)] | None = Field(
        None, description="The Host the upstream sees, a template."
    )

    @model_validator(mode="after")
    def _one_path(self) -> Config:
        ways = [bool(self.strip_prefix), self.replace_prefix is not None, self.path is not None]
        if sum(ways) > 1:
            raise ValueError("write one of strip_prefix, replace_prefix and path")
        if not any(ways) and self.query is None and self.host is None:
            raise ValueError("nothing to rewrite: write strip_prefix, replace_prefix, path, query or host")
        return self


class Rewrite:
    """Several of these on one route work on each other's result."""

    stage = "other"

    def __init__(self, config: Config, tools: Tools) -> None:
        replacement = config.replace_prefix
        self._old = replacement.old if replacement else config.strip_prefix
        self._new = replacement.new if replacement else ""
        self._swaps = replacement is not None or bool(config.strip_prefix)
        self._path = compile_template(config.path) if config.path is not None else None
        self._host = compile_template(config.host) if config.host is not None else None
        edits = config.query
        self._drop = frozenset(edits.remove) | frozenset(edits.set) if edits else frozenset()
        pairs = [*edits.set.items(), *edits.add.items()] if edits else []
        self._pairs = [(name, compile_template(text)) for name, text in pairs]

    def on_request_head(self, x: Exchange) -> None:
        if self._swaps:
            path = swap_prefix(x.upstream_path, self._old, self._new)
            if path is not None:
                x.upstream_path = checked_path(path, x.path)
        elif self._path is not None:
            x.upstream_path = rendered_path(self._path, x)
        if self._host is not None:
            x.upstream_host = rendered_host(self._host, x)
        if self._drop:
            x.upstream_query = query_without(x.upstream_query, self._drop)
        for name, value in self._pairs:
            try:
                x.upstream_query = query_with(x.upstream_query, name, value.render(x))
            except BadValue as bad:
                raise Fault("bad_request", str(bad), side=CLIENT) from None
