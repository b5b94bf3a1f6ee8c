"""The promise of a provider: data, no function (LLM 8, rule 10). If a new provider needs code, a dialect is missing.

A provider is one file in ``providers/``: a subclass of :class:`Preset` named like the file in CamelCase that only sets
attributes. A plain OpenAI-shaped vendor is one row of ``providers/presets.py`` instead. Config keys of a provider that
its base URL names (``{region}``, ``{resource}``) are asked for by name.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from tidegate.ports.dialect import Effort

Surface = Literal[
    "chat", "completions", "embeddings", "images", "images_edits", "images_variations", "speech", "transcriptions",
    "translations", "moderations", "rerank", "files", "uploads", "batches", "models", "realtime", "count_tokens",
    "responses", "messages", "predict", "embed",
]  # fmt: skip
"""What a door serves. ``chat`` in the provider's main dialect; ``responses`` and ``messages`` are second chat doors in
other dialects (a client that speaks one of those is preferred there: bytes pass), ``embed`` a second one beside
``embeddings``."""


class Auth(msgspec.Struct, frozen=True, tag_field="auth"):
    """How a call proves who pays. ``environment``: variables tried in order when the config names no key."""

    environment: tuple[str, ...] = ()


class NoAuth(Auth, frozen=True, tag="none"):
    """No credential; a key that is configured all the same goes as a bearer token."""


class Bearer(Auth, frozen=True, tag="bearer"):
    """``Authorization: <prefix> <key>``."""

    prefix: str = "Bearer"


class HeaderKey(Auth, frozen=True, tag="header"):
    """The key in a field of its own (``x-api-key``); ``also``: more fields that carry it."""

    header: str = "x-api-key"
    also: tuple[str, ...] = ()


class QueryKey(Auth, frozen=True, tag="query"):
    """The key as a query parameter; never logged."""

    parameter: str = "key"


class SigV4(Auth, frozen=True, tag="sigv4"):
    """AWS Signature Version 4 for *service* in the provider's region; a bearer key is used when there is one."""

    service: str = "bedrock"
    bearer_environment: tuple[str, ...] = ()


class ServiceAccount(Auth, frozen=True, tag="gcp"):
    """A Google service account: a signed JWT for an access token at *token_url*."""

    token_url: str = "https://oauth2.googleapis.com/token"
    scope: str = "https://www.googleapis.com/auth/cloud-platform"


class ClientCredentials(Auth, frozen=True, tag="oauth"):
    """OAuth client credentials (Entra and others): the key is ``id:secret``; *header*: an api key goes there when the
    config names one instead; *basic*: id and secret go in ``Authorization``, not in the form; *unique*: a field of the
    token request that carries an id of its own each time."""

    token_url: str = ""
    scope: str = ""
    header: str = ""
    basic: bool = False
    unique: str = ""


class Door(msgspec.Struct, frozen=True):
    """One way in: *dialect* "" for surfaces whose bytes pass as they are; *path* joins the base URL (of *base* when the
    door has another one); *auth*: where the provider's key goes here, when that is elsewhere (of keys that are sent as
    they are: one that signs or fetches a token does so at every door)."""

    dialect: str
    path: str
    auth: Bearer | HeaderKey | QueryKey | None = None
    base: str = ""
    stream_path: str = ""
    """Where streams have another path (``:streamRawPredict``)."""


class Preset:
    """One provider's data; what a subclass does not set is as here."""

    title: ClassVar[str] = ""
    base_url: ClassVar[str] = ""
    auth: ClassVar[Auth] = Bearer()
    doors: ClassVar[dict[str, Door]] = {}
    """Surface -> door."""
    fields: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Fields on every call (``anthropic-version``)."""
    query: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Query parameters on every call (``api-version``); values may hold ``{placeholders}`` of the config."""
    vendor: ClassVar[str] = ""
    """Whose sealed thoughts it understands, when that is not itself (a cloud that serves another's models)."""
    prices: ClassVar[str] = ""
    """Its id in the price table; "" for its own name."""
    rename: ClassVar[dict[str, str]] = {}
    accepts: ClassVar[tuple[str, ...]] = ()
    lacks: ClassVar[tuple[str, ...]] = ()
    thinking: ClassVar[Effort | None] = None
    thinking_style: ClassVar[str] = ""
    id_size: ClassVar[int] = 0
    usage: ClassVar[dict[str, str]] = {}
    usage_chunk: ClassVar[Literal["ask", "always", "never"]] = "ask"
    version: ClassVar[str] = ""
    faults: ClassVar[dict[int, str]] = {}
    """Status -> reason, where it differs from LLM 5.11 (``402: upstream_quota``)."""
    limits: ClassVar[Literal["", "openai", "anthropic"]] = ""
    """How its rate-limit fields read."""
    stops_on_cancel: ClassVar[bool] = True
    """Closing the connection ends generation and billing."""
    asks: ClassVar[tuple[str, ...]] = ()
    """Config keys it needs besides a key (``region``); every ``{name}`` in its URLs is one."""
    defaults: ClassVar[dict[str, str]] = {}
    """Values of those that may be left out."""
    checked: ClassVar[tuple[str, int]] = ("", 0)
    """(month, seen): 2 = named by two or more public catalogues, 1 = by one, 0 = from memory, unverified."""
