"""JSON bodies changed on the way, numbers kept as the text they came as (S10.3)."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, NEVER, UPSTREAM, Fault
from tidegate.exchange.head import NO_BODY, ResponseHead
from tidegate.ports.tools import Tools
from tidegate.rules.changed_body import changed_fields, digest_of
from tidegate.rules.field_names import editable
from tidegate.rules.field_template import BadValue
from tidegate.rules.json_edits import JsonEdits
from tidegate.rules.json_media import is_json
from tidegate.rules.json_patch import CannotApply
from tidegate.wire.json_scan import scan
from tidegate.wire.json_text import dumps, loads

MOST: Final = 1 << 20
"""Largest body held and changed (S10.3)."""


class Edits(BaseModel):
    """Changes of one body, in this order. A step `*` in keep, drop and rename stands for every element of an array."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep: tuple[str, ...] = Field((), max_length=256, description="JSON pointers of what stays; all else goes.")
    drop: tuple[str, ...] = Field((), max_length=256, description="JSON pointers of what goes.")
    rename: dict[str, str] = Field({}, description="JSON pointer of a member to its new name.")
    set: dict[str, Any] = Field({}, description="JSON pointer to a value; text is a template such as {consumer}.")
    merge: dict[str, Any] | None = Field(None, description="A merge patch (RFC 7396).")
    patch: tuple[dict[str, Any], ...] = Field((), max_length=64, description="A patch (RFC 6902).")
    headers: dict[Annotated[str, AfterValidator(editable)], str] = Field(
        {}, description="Header field to the JSON pointer of the text or number it carries, read after the changes."
    )

    def compiled(self, response: bool) -> JsonEdits:
        """Ready to apply; ``ValueError`` for what means nothing."""
        return JsonEdits(
            keep=self.keep,
            drop=self.drop,
            rename=self.rename,
            settings=self.set,
            merge=self.merge,
            patch=list(self.patch),
            fields=self.headers,
            response=response,
        )

    @property
    def empty(self) -> bool:
        """True when nothing would change."""
        return self == Edits.model_validate({})


class Config(BaseModel):
    """Settings of ``transform``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: Edits | None = Field(None, description="Changes of JSON request bodies; other types are refused.")
    response: Edits | None = Field(None, description="Changes of JSON answers with status 2xx; others pass unchanged.")

    @model_validator(mode="after")
    def _meant(self) -> Config:
        edits = [each for each in (self.request, self.response) if each is not None]
        if not edits or any(each.empty for each in edits):
            raise ValueError("nothing to change: write edits under request, response or both")
        if self.request is not None:
            self.request.compiled(False)
        if self.response is not None:
            self.response.compiled(True)
        return self


class Transform:
    """Requests that cannot be changed are refused; so are answers, for what should have been dropped must not leak."""

    stage = "body"

    def __init__(self, config: Config, tools: Tools) -> None:
        self._request = config.request.compiled(False) if config.request else None
        self._response = config.response.compiled(True) if config.response else None

    # -- requests ---------------------------------------------------------------------------------------------------

    def on_request_head(self, x: Exchange) -> None:
        if self._request is None or x.head.body_length == NO_BODY:
            return
        if not is_json(x.get("content-type")):
            raise Fault("unsupported_media_type", "The body must be JSON in UTF-8.", side=CLIENT)
        if x.head.body_length > MOST:
            raise Fault("body_too_large", f"At most {MOST} bytes can be changed.", side=CLIENT, close=True)

    def wants_request_body(self, x: Exchange) -> bool:
        return self._request is not None and x.head.body_length != NO_BODY

    def on_request_body(self, x: Exchange, body: bytes) -> bytes:
        edits = self._request
        assert edits is not None
        scan(body, max_size=MOST)
        try:
            root = edits.apply(loads(body), x)
            fields = edits.fields(root)
        except CannotApply as cannot:
            raise Fault("invalid_field", str(cannot), side=CLIENT) from None
        except BadValue as bad:
            raise Fault("bad_request", str(bad), side=CLIENT) from None
        changed = dumps(root)
        for name, value in fields:
            x.set_field(name, value)
        for name in ("content-digest", "repr-digest"):
            old = x.get(name)
            if old is not None:
                _replace(x, name, digest_of(changed, old))
        for name in ("content-encoding", "content-md5", "digest"):
            x.remove_field(name)
        return changed

    # -- answers ----------------------------------------------------------------------------------------------------

    def wants_body(self, x: Exchange, head: ResponseHead) -> bool:
        if self._response is None or not 200 <= head.status < 300 or x.method == "HEAD":
            return False
        if head.body_length == NO_BODY or not is_json(head.get("content-type")):
            return False
        if head.body_length > MOST:
            raise Fault("upstream_too_large", f"At most {MOST} bytes can be changed.", side=UPSTREAM, retry=NEVER)
        return True

    def on_response_body(self, x: Exchange, head: ResponseHead, body: bytes) -> bytes:
        edits = self._response
        assert edits is not None
        if len(body) > MOST:
            raise Fault("upstream_too_large", f"At most {MOST} bytes can be changed.", side=UPSTREAM, retry=NEVER)
        try:
            scan(body, max_size=MOST)
            root = edits.apply(loads(body), x, head)
            fields = edits.fields(root)
        except (Fault, CannotApply, BadValue):
            raise Fault("bad_upstream", "The upstream's answer cannot be changed as it must be.", side=UPSTREAM,
                        retry=NEVER) from None  # fmt: skip
        changed = dumps(root)
        head.fields = changed_fields(head.fields, changed)
        head.body_length = len(changed)
        for name, value in fields:
            head.set(name, value)
        return changed


def _replace(x: Exchange, name: str, value: str) -> None:
    if value:
        x.set_field(name, value)
    else:
        x.remove_field(name)
