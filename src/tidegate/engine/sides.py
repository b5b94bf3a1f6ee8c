"""The two sides of an exchange, as the rooms between them see each other.

``ClientSide`` is what a journey, a lane or a relay may ask of the client's connection; HTTP/1.1 and HTTP/2 each
implement it. ``Side`` is all that a relay knows of either end. Plain base classes with empty methods, one above the
other, so that compiled code calls them directly.
"""

from __future__ import annotations

from typing import Any

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import Fields, ResponseHead


class Side:
    """One end of a relay: it gives bytes and can be told to pause, it takes an answer body or a request body. Each
    implements what it does; the rest does nothing."""

    def pause_source(self) -> None:
        """Read no more until resumed."""

    def resume_source(self) -> None:
        """Read on."""

    def take_chunk(self, chunk: bytes) -> None:
        """The next piece of an answer body, never empty."""

    def take_end(self, trailers: Fields) -> None:
        """The answer body is complete."""

    def take_request_chunk(self, chunk: bytes) -> None:
        """The next piece of a request body, never empty."""

    def take_request_end(self, trailers: Fields) -> None:
        """The request body is complete."""


class ClientSide(Side):
    """The client's side of the exchange that runs now.

    head_sent   our final status line is out: a fault can only cut (S6.5)
    gone        the client has left; what is sent goes nowhere
    shortened   the deadline is the client's own, shorter than the route's (S15.6)
    finish_on_disconnect   the route wants the exchange finished though the client has left (S15.8)
    """

    head_sent: bool
    gone: bool
    shortened: bool
    finish_on_disconnect: bool

    def set_deadline(self, when: float) -> None:
        """At *when* the journey is cancelled with ``upstream_timeout`` (moved, not added, by another call)."""

    def watch_idle(self, seconds: float, total: float, steady: bool) -> None:
        """From now on: *seconds* without a byte from the upstream, or *total* (0: none) in all, cut the answer; if
        *steady*, so does one that falls under the least rate (S15.4)."""

    def heard(self, size: int) -> None:
        """The upstream sent *size* bytes of the body."""

    def send_continue(self) -> None:
        """Send a 100 of our own, once, if the client waits for one (S2.13)."""

    def close_after(self, close: bool) -> None:
        """If *close*: the connection ends with the answer that comes now."""

    def send_interim(self, head: ResponseHead) -> None:
        """Forward a 100, 102 or 103."""

    def send_whole(self, x: Exchange, head: ResponseHead, body: bytes) -> None:
        """Answer in one go; ``head.body_length`` is re-made from *body*."""

    def send_head(self, x: Exchange, head: ResponseHead, source: Side, transform: Any) -> None:
        """Send the head; the body follows through ``take_chunk`` and ``take_end``. *transform(chunk, last)* remakes
        each piece, or is None."""

    def cut(self) -> None:
        """Break off so that the client cannot take it for a clean end."""

    def ended(self, x: Exchange) -> None:
        """The journey is over: the connection may turn to the next request."""

    def start_tunnel(self, head: ResponseHead, other: Any) -> bytes:
        """Send the 101 and hand every later byte to ``other.from_client``; returns what has already come."""
        raise NotImplementedError
