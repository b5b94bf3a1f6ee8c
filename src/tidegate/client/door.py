"""The way to one gateway: HTTP over one kept connection, bodies compressed with the dictionary it offers (CRP 6).

Only the standard library is needed; where ``backports.zstd`` is missing, bodies go as they are.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

COMPRESSED_FROM: Final = 200
"""Bytes of a body that a dictionary is worth while for."""
DELTA: Final = "application/json"


class ContextError(Exception):
    """What the gateway refused. ``status`` and ``code`` as CRP 3.7 has them; ``details`` is the rest of the answer."""

    def __init__(self, status: int, code: str, message: str, details: dict[str, Any]) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.details = details


class Conflict(ContextError):
    """Somebody else was faster (409). ``head``: the version to go on from; ``missing``: what it has and we lack."""

    def __init__(self, status: int, code: str, message: str, details: dict[str, Any]) -> None:
        super().__init__(status, code, message, details)
        self.head: str = details.get("head") or ""
        self.missing: list[dict[str, Any]] = details.get("missing") or []


class Door:
    """One connection, for one thread at a time.

    base_url    like ``http://127.0.0.1:8080``
    key         a consumer's API key
    compress    use zstd with the gateway's dictionary where it offers one
    plane       path of the context plane
    """

    def __init__(
        self,
        base_url: str,
        key: str = "",
        *,
        timeout: float = 600.0,
        compress: bool = True,
        plane: str = "/v1/contexts",
    ) -> None:
        parts = urlsplit(base_url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        self._base = parts.path.rstrip("/")
        self._key = key
        self._lock = threading.Lock()
        self._compress = compress
        self._dictionary: bytes | None = None
        """b"" once it is known that there is none."""
        self.plane = plane
        self.sent = 0
        """Bytes of bodies sent, as they went."""

    def close(self) -> None:
        """End the connection; the next call opens another."""
        self._connection.close()

    def ask(self, method: str, path: str, body: Any = None, fields: dict[str, str] | None = None) -> Any:
        """One call; the decoded answer. Raises ``ContextError``, ``Conflict``, and ``OSError`` for a lost connection:
        then nobody knows whether it was heard, and only a call with an ``Idempotency-Key`` may be made again."""
        with self._lock:
            answer = self._answer(method, path, body, fields or {})
            data = answer.read()
            if answer.will_close:
                self._connection.close()
        return json.loads(data) if data else None

    def stream(self, path: str, body: Any, fields: dict[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """The events of a streamed answer, decoded. As ``ask``; an ``error`` event is raised too."""
        with self._lock:
            answer = self._answer("POST", path, body, fields or {})
            try:
                for line in answer:
                    if not line.startswith(b"data:"):
                        continue
                    data = line[5:].strip()
                    if data == b"[DONE]":
                        break
                    event = json.loads(data)
                    if "error" in event:
                        raise _error(answer.status, event)
                    yield event
            finally:
                # What is left unread would be taken for the next answer.
                self._connection.close()

    def _answer(self, method: str, path: str, body: Any, fields: dict[str, str]) -> http.client.HTTPResponse:
        sent = dict(fields)
        if self._key:
            sent["Authorization"] = f"Bearer {self._key}"
        data: bytes | None = None
        if body is not None:
            sent.setdefault("Content-Type", DELTA)
            data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        small = self._small(data) if data is not None and len(data) >= COMPRESSED_FROM else b""
        answer = self._exchange(method, path, small or data, {**sent, "Content-Encoding": "dcz"} if small else sent)
        if answer.status == 415 and small:
            # It has another dictionary by now, or none: this body goes plain, the next one asks what there is.
            answer.read()
            self._dictionary = None
            answer = self._exchange(method, path, data, sent)
        if answer.status >= 400:
            told = _decoded(answer.read())
            if answer.will_close:
                self._connection.close()
            raise _error(answer.status, told)
        return answer

    def _exchange(
        self, method: str, path: str, data: bytes | None, fields: dict[str, str]
    ) -> http.client.HTTPResponse:  # fmt: skip
        try:
            self._connection.request(method, self._base + path, data, fields)
            answer = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise error if isinstance(error, OSError) else ConnectionError(str(error)) from error
        self.sent += len(data or b"")
        return answer

    # -- dictionaries --------------------------------------------------------------------------------------------------

    def _small(self, data: bytes) -> bytes:
        """*data* compressed; b"" where that cannot be done."""
        if not self._compress:
            return b""
        if self._dictionary is None:
            self._dictionary = b""
            with suppress(OSError, ValueError, ImportError):
                self._dictionary = self._fetch()
        if not self._dictionary:
            return b""
        from tidegate.wire.context_dictionary import encode

        return encode(data, self._dictionary)

    def _fetch(self) -> bytes:
        """The dictionary for JSON that the gateway offers, b"" for none. It is asked for once: its name is its hash."""
        import backports.zstd  # noqa: F401

        told = _decoded(self._read("/.well-known/crp"))
        for offered in told.get("dictionaries", []):
            if offered.get("encoding") == DELTA:
                return self._read(f"{self.plane.rpartition('/')[0]}/context-dictionaries/{offered['sha256']}")
        return b""

    def _read(self, path: str) -> bytes:
        fields = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        answer = self._exchange("GET", path, None, fields)
        data = answer.read()
        return data if answer.status == 200 else b""


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        told = json.loads(data)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _error(status: int, told: dict[str, Any]) -> ContextError:
    """What a dialect's error or a problem of the plane says."""
    error = told.get("error")
    if isinstance(error, dict):
        code, message = str(error.get("code") or error.get("type") or ""), str(error.get("message", ""))
        details = error.get("context") or error
    else:
        code, message = str(told.get("code", "")), str(told.get("detail") or told.get("title") or "")
        details = told.get("context") or told
    kind = Conflict if code in ("context_conflict", "history_diverged") else ContextError
    return kind(status, code, message, details if isinstance(details, dict) else {})
