"""The log of a context: pages of it, and a live tail for other devices (CRP 2.2)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidegate.engine.contexts.plane import Plane, invalid
from tidegate.engine.contexts.plane_read import is_known
from tidegate.engine.contexts.repository import Held
from tidegate.engine.lanes.http import chunk_hooks
from tidegate.engine.lanes.respond import respond_head
from tidegate.engine.sides import Side
from tidegate.exchange.context import Entry
from tidegate.exchange.context_ids import MAIN
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import CHUNKED, Answer
from tidegate.wire.context_history import entry_object

PAGE: Final = 100
LONGEST_PAGE: Final = 1000
STEP: Final = 5.0
"""Seconds between two looks at whether a tail may go on; a comment is sent then, so that nobody takes it for dead."""
LONGEST: Final = 3600.0
"""Seconds of a tail; its reader comes again with ``Last-Event-ID``."""
PAUSE: Final = 0.1
"""Seconds between two looks at a client that reads too slowly."""

_encode: Final = msgspec.json.Encoder().encode


async def show_log(plane: Plane) -> Answer | None:
    """``GET /{id}/log``: entries since ``after``, oldest first. None: the answer is a stream, and has been sent."""
    held = await plane.held()
    after = since(plane, held)
    if "text/event-stream" in plane.x.head.index.get("accept", ""):
        await follow(plane, held, after)
        return None
    branch = plane.query("branch")
    entries = [entry for entry in held.history.log() if entry.seq > after]
    if branch:
        line = set(held.history.line(plane.head(held, plane.branch_of(branch))))
        entries = [
            entry for entry in entries if entry.version in line or (not entry.version and entry.branch == branch)
        ]
    limit = plane.number("limit", PAGE, LONGEST_PAGE)
    page = entries[:limit]
    tag = plane.tag(held, held.head(MAIN) or "")
    tag = f'{tag[:-1]}.{held.history.seq}"'
    if is_known(plane.x.head.index.get("if-none-match", ""), tag):
        return Answer(304, [("etag", tag)])
    return plane.told({
        "object": "list", "data": [entry_object(entry) for entry in page], "has_more": len(entries) > limit,
        "last_seq": page[-1].seq if page else after,
    }, tag=tag)  # fmt: skip


def since(plane: Plane, held: Held) -> int:
    """The ``seq`` behind which entries are asked for: by version, by number, or by what a tail heard last."""
    after = plane.query("after")
    if after:
        return held.history.versions[plane.version(held, after)].seq
    text = plane.query("after_seq") or plane.x.head.index.get("last-event-id", "")
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise invalid("after_seq is a number.")
    return int(text)


class Tail(Side):
    """The source of a tail, as the client's connection sees it. ``full``: the client takes no more for now."""

    def __init__(self) -> None:
        self.full: bool = False

    def pause_source(self) -> None:
        self.full = True

    def resume_source(self) -> None:
        self.full = False


async def follow(plane: Plane, held: Held, after: int) -> None:
    """Entries as they come, until the client leaves, the context ends, or an hour is over."""
    repository, client, x, runtime = plane.repository, plane.client, plane.x, plane.runtime
    release = repository.tail(plane.asker, held.meta.id)
    x.on_end(release)
    tail = Tail()
    answer = Answer(200, [("content-type", "text/event-stream"), ("cache-control", "no-cache"),
                          ("x-accel-buffering", "no")])  # fmt: skip
    head = respond_head(plane.route, x, answer)
    head.body_length = CHUNKED
    until = runtime.clock() + LONGEST
    client.set_deadline(until + STEP)
    transform = chunk_hooks(plane.route, x) if plane.route.on_response_chunk else None
    client.send_head(x, head, tail, transform)
    try:
        while not client.gone and not runtime.draining and runtime.clock() < until:
            for entry in held.history.log():
                if entry.seq > after:
                    client.take_chunk(event(entry))
                    after = entry.seq
            while tail.full and not client.gone and runtime.clock() < until:
                await runtime.wheel.sleep(runtime.clock() + PAUSE)
            if not await repository.changed(plane.asker, held, after, STEP):
                client.take_chunk(b":\n\n")
            # Access is checked anew each time: a context may have been deleted, or its class may have risen.
            held = await repository.load(plane.asker, held.meta.id, fresh=True)
    except Fault as fault:
        client.take_chunk(b"event: error\ndata: " + _encode({"code": fault.code}) + b"\n\n")
    client.take_end([])


def event(entry: Entry) -> bytes:
    """One entry as a server-sent event; its id is where to go on from."""
    told: dict[str, Any] = entry_object(entry)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (entry.seq, entry.kind.encode(), _encode(told))
