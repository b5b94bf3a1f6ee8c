"""One request to an address that the operator's config names (a key set, a token endpoint): bounded in size and time,
no redirects, no environment proxies, certificates checked. Blocks; call it on a thread."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

TIME: Final = 5.0
"""Seconds for each step; the caller bounds the whole."""
LARGEST: Final = 1 << 20


class FetchError(Exception):
    """What went wrong, without the address."""


def fetch(url: str) -> bytes:
    """The body behind *url* (http or https) when the answer is 200. Raises ``FetchError`` or ``OSError``."""
    status, body = ask("GET", url, {"accept": "application/json"})
    if status != 200:
        raise FetchError(f"the answer has status {status}")
    return body


def ask(method: str, url: str, fields: Mapping[str, str], body: bytes | None = None) -> tuple[int, bytes]:
    """(status, body) of whatever *url* answers. Raises ``FetchError`` or ``OSError``."""
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme not in ("http", "https") or host is None:
        raise FetchError("the address is not http or https")
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, parts.port, timeout=TIME, context=ssl.create_default_context())
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=TIME)
    try:
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        connection.request(method, target, body, headers={**fields, "connection": "close"})
        answer = connection.getresponse()
        found = answer.read(LARGEST + 1)
    except http.client.HTTPException as error:
        raise FetchError(f"the answer is not HTTP: {type(error).__name__}") from None
    finally:
        connection.close()
    if len(found) > LARGEST:
        raise FetchError("the answer is too large")
    if answer.length:
        # A bounded read of http.client does not complain about an end that came early.
        raise FetchError("the answer is cut short")
    return answer.status, found
