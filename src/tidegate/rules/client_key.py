"""The one key a client of a model route brings, wherever its SDK puts it (LLM 2). The path decides the dialect, never
the field that carries the key."""

from __future__ import annotations

from typing import Final

from tidegate.exchange.fault import CLIENT, Fault
from tidegate.rules.canonical import query_value
from tidegate.rules.credentials import token_of

FIELDS: Final = ("x-api-key", "api-key", "x-goog-api-key")
SUBPROTOCOL: Final = "openai-insecure-api-key."


def client_key(fields: dict[str, str], query: str, query_key: bool) -> str:
    """The key, "" when there is none. *query_key*: ``?key=`` may carry one. Raises 400 ``ambiguous_credentials`` when
    two carriers differ: what one reader checks, another must not pass on."""
    found = ""
    for name in FIELDS:
        found = _same(found, fields.get(name))
    found = _same(found, token_of(fields.get("authorization"), "bearer"))
    protocols = fields.get("sec-websocket-protocol")
    if protocols is not None and SUBPROTOCOL in protocols:
        for protocol in protocols.split(","):
            word = protocol.strip()
            if word.startswith(SUBPROTOCOL):
                found = _same(found, word[len(SUBPROTOCOL) :])
    if query_key and "key=" in query:
        found = _same(found, query_value(query, "key"))
    return found


def without_key(query: str) -> str:
    """*query* without ``key``: it is neither logged nor sent on."""
    return "&".join([pair for pair in query.split("&") if pair.partition("=")[0] != "key"])


def _same(found: str, another: str | None) -> str:
    if not another:
        return found
    if found and found != another:
        raise Fault("bad_request", "The request carries two different credentials.", reason="ambiguous_credentials",
                    side=CLIENT)  # fmt: skip
    return another
