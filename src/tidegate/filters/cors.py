"""Cross-origin reads: preflights answered here, answers marked for the origins allowed (S21)."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Answer, Fields, ResponseHead
from tidegate.ports.settings import Duration
from tidegate.ports.tools import Tools
from tidegate.rules.cors_origin import check_origin, origin_test

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}\Z")
_NAMES_AT_MOST: Final = 64
"""Names in one ``Access-Control-Request-Headers``. A head holds 100 fields; pages add a handful."""


def _token(text: str) -> str:
    if _TOKEN.match(text) is None:
        raise ValueError(f"{text!r} is no token")
    return text


Token = Annotated[str, AfterValidator(_token)]


class Config(BaseModel):
    """Settings of ``cors``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    origins: tuple[Annotated[str, AfterValidator(check_origin)], ...] = Field(
        min_length=1, description="Origins allowed: https://app.example, https://*.app.example (any depth), null, or *."
    )
    methods: tuple[Token, ...] = Field((), description="Methods allowed. Empty: whatever the route takes.")
    headers: tuple[Token, ...] = Field(("*",), description="Request fields a page may set. `*`: those it asks for.")
    expose: tuple[Token, ...] = Field((), description="Answer fields a page may read beyond the usual ones.")
    credentials: bool = Field(False, description="Let pages send cookies and credentials.")
    max_age: Duration = Field(600.0, description="How long browsers may remember a preflight.")
    block: bool = Field(False, description="Refuse real requests from other origins with 403 instead of serving them.")

    @model_validator(mode="after")
    def _safe(self) -> Config:
        if self.credentials and "*" in self.origins:
            raise ValueError("origins: * with credentials: true would open the API to every page; name the origins")
        if self.credentials and "null" in self.origins:
            raise ValueError("origins: null with credentials: true: any page can make itself null")
        if self.credentials and "*" in self.expose:
            raise ValueError("expose: * means nothing to browsers when credentials are sent; name the fields")
        return self


class Cors:
    """Stands first on its route: a preflight carries no credentials (S21.1)."""

    stage = "cors"

    def __init__(self, config: Config, tools: Tools) -> None:
        self._allowed = origin_test(config.origins)
        self._any = "*" in config.origins
        self._methods = frozenset(config.methods)
        self._any_method = not config.methods or "*" in self._methods
        self._method_list = ", ".join(config.methods)
        self._headers = frozenset(name.lower() for name in config.headers)
        self._any_header = "*" in self._headers
        self._block = config.block
        self._max_age = str(int(config.max_age))
        self._extra: Fields = []
        if config.credentials:
            self._extra.append(("access-control-allow-credentials", "true"))
        self._expose: Fields = []
        if config.expose:
            self._expose.append(("access-control-expose-headers", ", ".join(config.expose)))

    def on_request_head(self, x: Exchange) -> Answer | None:
        index = x.head.index
        origin = index.get("origin")
        if origin is None:
            return None
        if x.method == "OPTIONS":
            method = index.get("access-control-request-method")
            if method is not None:
                x.note(self, True)
                return Answer(204, self._preflight(origin, method, index.get("access-control-request-headers", "")))
        if self._block and not self._allowed(origin):
            raise Fault("forbidden", "Requests from this origin are not allowed.", side=CLIENT)
        return None

    def _preflight(self, origin: str, method: str, names: str) -> Fields:
        """The answer's fields. What is not allowed gets none of CORS, and the browser stops there (S21.1)."""
        vary = ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
        wanted = [name.strip() for name in names.split(",")] if names else []
        if (
            not self._allowed(origin)
            or not (self._any_method or method in self._methods)
            or len(wanted) > _NAMES_AT_MOST
            or _TOKEN.match(method) is None
            or not all(self._may_set(name) for name in wanted)
        ):
            return [vary]
        fields: Fields = [
            ("access-control-allow-origin", self._shown(origin)),
            *self._extra,
            ("access-control-allow-methods", method if self._any_method else self._method_list),
        ]
        if wanted:
            fields.append(("access-control-allow-headers", ", ".join(wanted)))
        fields.append(("access-control-max-age", self._max_age))
        fields.append(vary)
        return fields

    def _may_set(self, name: str) -> bool:
        return _TOKEN.match(name) is not None and (self._any_header or name.lower() in self._headers)

    def _shown(self, origin: str) -> str:
        return "*" if self._any else origin

    def on_response_head(self, x: Exchange, head: ResponseHead) -> None:
        """Only this gateway says who may read: what the upstream thinks of CORS is dropped (S21.2)."""
        if x.method == "OPTIONS" and x.noted(self):
            return
        fields = [line for line in head.fields if not line[0].startswith("access-control-")]
        origin = x.head.index.get("origin")
        if origin is not None and self._allowed(origin):
            fields.append(("access-control-allow-origin", self._shown(origin)))
            fields += self._extra
            fields += self._expose
        for name, value in fields:
            if name == "vary" and (value == "*" or "origin" in value.lower().replace(" ", "").split(",")):
                break
        else:
            fields.append(("vary", "Origin"))
        head.fields = fields
