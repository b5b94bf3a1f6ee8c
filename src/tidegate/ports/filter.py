"""The promise of a filter: hooks along one exchange.

A filter is one file in ``filters/`` (or an entry point ``tidegate.filters``): a frozen pydantic ``Config`` and a class
with the file's name in CamelCase, built once per place in the config as ``Filter(config, tools)``. It defines only
the hooks it needs; what it does not define costs nothing. ``on_...`` methods not named here are a build error.

A hook that has to wait returns a coroutine instead of a result (a plain ``def`` that returns one only when it must
wait keeps the common case free), or is an ``async def``. A class attribute ``stepped = True`` promises that its
coroutines await nothing but ``tools``; they are then stepped inline. Otherwise they run in a Task of their own.

``stage`` (class attribute) places the filter in the order that ``tidegate check`` expects (SEMANTICS 1):
``"cors" "ip" "pre_auth" "auth" "authorize" "limit" "fault" "body" "cache" "other"``.
``reads_identity = True`` says that the filter looks at ``x.identity``: before an ``auth`` filter the config is refused.
Both may be set on the instance where they depend on the settings. An int attribute ``body_limit`` sets the route's.
A ``ValueError`` from the constructor is a config error (a file that is not there, a time too far ahead).
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import Answer, ResponseHead
from tidegate.exchange.record import Record

HeadVerdict = Answer | None | Coroutine[Any, Any, "Answer | None"]
BodyVerdict = bytes | Answer | None | Coroutine[Any, Any, "bytes | Answer | None"]

HOOKS = (
    "on_request_head", "on_request_body", "on_attempt", "on_response_head", "on_response_chunk", "on_response_body",
    "on_done",
)  # fmt: skip


class Filter(Protocol):
    """Every hook a filter may define. Raise a ``Fault`` to refuse; return an ``Answer`` to answer."""

    def on_request_head(self, x: Exchange) -> HeadVerdict:
        """Once, in config order, after routing and before anything is sent. May edit the exchange."""

    def on_request_body(self, x: Exchange, body: bytes) -> BodyVerdict:
        """Once, with the whole decoded body (S3.4), gathered up to the route's ``body_limit``; b"" without a body.
        None leaves it, bytes replace it (length is re-made), an Answer ends the trip. Defining it stops streaming of
        requests on the route, unless an optional ``wants_request_body(x) -> bool``, asked once after the last
        ``on_request_head``, returns False: the engine gathers only if some filter wants it, and calls only those."""

    def on_attempt(self, x: Exchange, number: int) -> None:
        """Before each attempt (1, 2 ...), after the endpoint is chosen (``x.endpoint``)."""

    def on_response_head(self, x: Exchange, head: ResponseHead) -> Answer | None:
        """Once, in *reverse* config order, with the head that will go to the client; may edit ``head``. Also called
        for answers the gateway made itself (refusals included), so CORS and header edits reach those too; then
        ``x.upstream_status`` is 0."""

    def on_response_chunk(self, x: Exchange, chunk: bytes, last: bool) -> bytes:
        """Each piece of the body, inside the relay; must be quick. Only called when ``wants_chunks(x)`` (an
        optional method, asked after ``on_response_head``) returns True, or when that is not defined."""

    def on_response_body(self, x: Exchange, head: ResponseHead, body: bytes) -> BodyVerdict:
        """Once, with the whole decoded answer body, gathered up to 10 MiB (S3.12). Defining it stops streaming on the
        route, unless an optional ``wants_body(x, head)`` returns False for this answer."""

    def on_done(self, x: Exchange, record: Record) -> None:
        """Once, after the end, whatever happened."""
