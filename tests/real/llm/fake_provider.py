"""A model vendor on a port of this machine: every dialect's door, faults on order, and books of its own.

What it would bill stands in ``bills``, by the id its answer carried; what it heard in ``heard``, byte for byte. It
runs a loop in a thread, so a test reads both directly. Nothing in here imports the gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from real.llm.fake_dialects import (
    AWS_TYPES,
    EMBEDDINGS,
    INPUT,
    MESSAGES,
    WEATHER,
    Asked,
    OpenaiEmbeddings,
    Piece,
    Said,
    Shape,
    compact,
    shape_of,
)

KEY: Final = "sk-upstream-0123456789"
AWS_KEY_ID: Final = "AKIDFAKE01234567"
GARBAGE: Final = b'data: {"id": "x", "choices": [{"ind\n\n'


@dataclass(frozen=True)
class Trouble:
    """A fault of one call.

    ``reset`` (closed without a byte), ``stall`` (nothing, ever), ``status`` (with *fields*), ``html``, ``empty`` (200
    and no body), ``slow`` (*seconds* before the first piece, after the head), ``cut``, ``late`` (a cut, of a
    whole answer in its last byte), ``malformed``, ``error``: the last four after *tokens* tokens of a stream, which is
    before the first content when it is 0.
    """

    kind: str
    tokens: int = 0
    status: int = 500
    fields: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    text: str = "something of the vendor's own"


@dataclass
class Heard:
    """A request as it came."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes
    at: float
    gone: float = 0.0
    """When the client was seen to be gone, 0 while it was not."""
    shape: Shape | None = None
    asked: Asked | None = None

    def field(self, name: str) -> str:
        return next((value for known, value in self.fields if known.lower() == name), "")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Bill:
    """What one call costs its caller, in tokens. *whole*: it was answered to its end."""

    id: str
    model: str
    dialect: str
    stream: bool
    input: int
    output: int
    whole: bool


Script = Callable[[Asked, str], Said]


def usual(asked: Asked, id: str) -> Said:
    """Two tool calls for who brings tools, else a text; thoughts for models that think, Mistral's
    manner for its own."""
    said = Said(id, asked.model, mistral="mistral" in asked.model)
    if "think" in asked.model:
        said.thoughts = ("Let me", " see.")
    if asked.tools and not asked.results:
        said.pieces, said.calls, said.stop = ("One moment.",), WEATHER, "tools"
    return said


@dataclass
class FakeProvider:
    """One vendor. ``troubles`` are taken one a call; ``always`` is every call's that finds none."""

    name: str = "fake"
    key: str = KEY
    script: Script = usual
    pause: float = 0.0
    """Seconds between two pieces of a stream."""
    patience: float = 30.0
    """Seconds after which a stalled call is given up."""
    troubles: deque[Trouble] = field(default_factory=deque)
    always: Trouble | None = None
    heard: list[Heard] = field(default_factory=list)
    bills: list[Bill] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self._ended: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.in_flight = 0
        self.most_in_flight = 0

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> FakeProvider:
        self._thread.start()
        self.listen()
        return self

    def listen(self) -> None:
        """Accept connections, on the same port as before."""

        async def begin() -> None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 22, backlog=4096)
            self.port = self._server.sockets[0].getsockname()[1]

        self._run(begin())

    def refuse(self) -> None:
        """Nobody listens any more, and all connections are gone."""

        async def end() -> None:
            if self._server is not None:
                self._server.close()
                self._server = None
            for writer in list(self._writers):
                writer.transport.abort()

        self._run(end())

    def close(self) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def __enter__(self) -> FakeProvider:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def forget(self) -> None:
        """A clean sheet: no troubles, nothing heard, nothing billed."""
        self.troubles.clear()
        self.always = None
        self.pause = 0.0
        self.script = usual
        self.heard.clear()
        self.bills.clear()
        self.most_in_flight = 0

    def billed(self) -> tuple[int, int]:
        """(input, output) of everything so far."""
        return sum(bill.input for bill in self.bills), sum(bill.output for bill in self.bills)

    # -- one connection --------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                heard = await self._read(reader)
                self.heard.append(heard)
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    keep = await self._answer(heard, reader, writer)
                finally:
                    self.in_flight -= 1
                if not keep:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, OSError):
            pass
        finally:
            self._writers.discard(writer)
            with contextlib.suppress(OSError):
                writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Heard:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        heard = Heard(method, target, fields, b"", time.monotonic())
        if heard.field("transfer-encoding") == "chunked":
            while size := int((await reader.readuntil(b"\r\n")), 16):
                heard.body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readuntil(b"\r\n")
        else:
            heard.body = await reader.readexactly(int(heard.field("content-length") or 0))
        return heard

    # -- one call --------------------------------------------------------------------------------------------------

    async def _answer(self, heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        path = heard.target.partition("?")[0]
        shape = heard.shape = shape_of(path)
        if shape is None:
            return self._aside(heard, path, writer)
        refused = self._refused(heard, shape)
        if refused:
            return self._whole(writer, 403 if "AWS" in refused else 401, shape.error(401, refused))
        try:
            asked = heard.asked = shape.asked(heard.target, heard.json)
        except (ValueError, AttributeError, TypeError) as error:
            return self._whole(writer, 400, shape.error(400, f"cannot read this: {error}"))
        trouble = self.troubles.popleft() if self.troubles else self.always
        if trouble is not None and trouble.kind in ("reset", "stall", "status", "html", "empty"):
            return await self._refuse(trouble, heard, shape, asked, reader, writer)
        said = self.script(asked, f"{self.name}-{next(self._numbers)}")
        if isinstance(shape, OpenaiEmbeddings):
            self._bill(said, shape, asked, 0, True)
            return self._whole(writer, 200, shape.answer(said, asked), shape.fields(said))
        if asked.stream:
            return await self._stream(trouble, said, heard, shape, asked, reader, writer)
        if trouble is not None and trouble.kind == "slow":
            await self._patient(trouble.seconds, heard, reader)
        if trouble is not None and trouble.kind == "error":
            return self._whole(writer, 200, shape.whole_error(trouble.text))
        body = shape.whole(said)
        if trouble is not None and trouble.kind == "malformed":
            return self._whole(writer, 200, body[: len(body) // 2])
        if trouble is not None and trouble.kind in ("cut", "late"):
            self._head(writer, 200, [("content-type", shape.content_type), ("content-length", str(len(body)))])
            writer.write(body[: len(body) // 2 if trouble.kind == "cut" else -1])
            await writer.drain()
            self._bill(said, shape, asked, said.output, False)
            return False
        self._bill(said, shape, asked, said.output, True)
        return self._whole(writer, 200, body, shape.fields(said), shape.content_type)

    def _bill(self, said: Said, shape: Shape, asked: Asked, output: int, whole: bool) -> None:
        self.bills.append(Bill(said.id, said.model, shape.name, asked.stream, said.input, output, whole))

    async def _refuse(
        self, trouble: Trouble, heard: Heard, shape: Shape, asked: Asked, reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:  # fmt: skip
        if trouble.kind == "reset":
            return False
        if trouble.kind == "stall":
            await self._patient(self.patience, heard, reader)
            return False
        if trouble.kind == "html":
            page = b"<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>"
            return self._whole(writer, 502, page, [], "text/html")
        if trouble.kind == "empty":
            kind = shape.stream_type if asked.stream else shape.content_type
            return self._whole(writer, 200, b"", [], kind)
        fields = [*trouble.fields]
        if shape.name == "bedrock_converse":
            fields.append(("x-amzn-ErrorType", AWS_TYPES.get(trouble.status, "InternalServerException")))
        return self._whole(writer, trouble.status, shape.error(trouble.status, trouble.text), fields)

    async def _stream(
        self, trouble: Trouble | None, said: Said, heard: Heard, shape: Shape, asked: Asked,
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
    ) -> bool:  # fmt: skip
        self._head(
            writer, 200, [("content-type", shape.stream_type), ("transfer-encoding", "chunked"), *shape.fields(said)]
        )
        produced = 0
        whole = False
        breaks = trouble if trouble is not None and trouble.kind in ("cut", "late", "malformed", "error") else None
        try:
            if trouble is not None and trouble.kind == "slow":
                await self._patient(trouble.seconds, heard, reader)
            pieces = shape.stream(said, asked)
            for piece in pieces:
                if breaks is not None and piece.tokens and produced + piece.tokens > breaks.tokens:
                    return await self._break(breaks, piece, shape, writer)
                if reader.at_eof() or writer.is_closing():
                    heard.gone = heard.gone or time.monotonic()
                    return False
                writer.write(b"%x\r\n%b\r\n" % (len(piece.data), piece.data))
                await writer.drain()
                produced += piece.tokens
                if self.pause:
                    await self._patient(self.pause, heard, reader)
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            whole = True
            return True
        finally:
            if breaks is None or produced or shape.opens:
                self._bill(said, shape, asked, max(produced, shape.opens), whole)

    async def _break(self, trouble: Trouble, piece: Piece, shape: Shape, writer: asyncio.StreamWriter) -> bool:
        if trouble.kind in ("cut", "late"):
            half = piece.data[: len(piece.data) // 2]
            writer.write(b"%x\r\n%b" % (len(piece.data), half))
            await writer.drain()
            return False
        data = shape.error_event(trouble.text) if trouble.kind == "error" else self._garbage(shape, piece)
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
        await writer.drain()
        return False

    def _garbage(self, shape: Shape, piece: Piece) -> bytes:
        """Something that the framing lets through and that no reader understands."""
        if shape.stream_type.endswith("eventstream"):
            return piece.data[:-4] + b"\x00\x00\x00\x00"
        if shape.stream_type.endswith("ndjson"):
            return b'{"model": "x", "mess\n'
        return GARBAGE

    async def _patient(self, seconds: float, heard: Heard, reader: asyncio.StreamReader) -> None:
        """Wait, or until the client has gone."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if reader.at_eof():
                heard.gone = heard.gone or time.monotonic()
                return
            await asyncio.sleep(min(left, 0.005))

    # -- bytes -----------------------------------------------------------------------------------------------------

    def _head(self, writer: asyncio.StreamWriter, status: int, fields: list[tuple[str, str]]) -> None:
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Odd"
        lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in fields)]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def _whole(
        self, writer: asyncio.StreamWriter, status: int, body: bytes, fields: list[tuple[str, str]] | None = None,
        kind: str = "application/json",
    ) -> bool:  # fmt: skip
        self._head(writer, status, [("content-type", kind), ("content-length", str(len(body))), *(fields or [])])
        writer.write(body)
        return True

    # -- what needs no script ----------------------------------------------------------------------------------------

    def _aside(self, heard: Heard, path: str, writer: asyncio.StreamWriter) -> bool:
        """Counts, lists, embeddings in other shapes."""
        if path == "/v1/messages/count_tokens":
            return self._whole(writer, 200, compact({"input_tokens": INPUT}))
        if path.endswith(":countTokens"):
            return self._whole(writer, 200, compact({"totalTokens": INPUT}))
        if path.endswith(":batchEmbedContents"):
            vectors = [{"values": [float(n), 0.5]} for n in range(len(heard.json["requests"]))]
            self.bills.append(Bill("emb", path, "gemini_embed", False, INPUT, 0, True))
            return self._whole(
                writer, 200, compact({"embeddings": vectors, "usageMetadata": {"promptTokenCount": INPUT}})
            )
        if path == "/v2/embed":
            vectors = [[float(n), 0.5] for n in range(len(heard.json["texts"]))]
            self.bills.append(Bill("emb", heard.json["model"], "cohere_embed", False, INPUT, 0, True))
            answer = {"id": "emb", "embeddings": {"float": vectors}, "texts": heard.json["texts"],
                      "meta": {"billed_units": {"input_tokens": INPUT}}}  # fmt: skip
            return self._whole(writer, 200, compact(answer))
        if path.startswith("/v1/batches"):
            return self._whole(writer, 200, compact(self._batch(heard, path)))
        if path == "/v1/models":
            rows = [{"id": "up-model", "object": "model", "created": 1, "owned_by": self.name}]
            return self._whole(writer, 200, compact({"object": "list", "data": rows}))
        return self._whole(writer, 404, EMBEDDINGS.error(404, f"nobody serves {path}"))

    def _batch(self, heard: Heard, path: str) -> dict[str, Any]:
        """A batch is over when it is asked for."""
        if heard.method == "POST":
            id = f"batch_{self.name}-{next(self._numbers)}"
            return {"id": id, "object": "batch", "status": "validating", "input_file_id": heard.json["input_file_id"]}
        id = path.rpartition("/")[2]
        if all(bill.id != id for bill in self.bills):
            self.bills.append(Bill(id, "up-model", "batch", False, INPUT, INPUT, True))
        ended = self._ended.setdefault(id, int(time.time()))
        usage = {"input_tokens": INPUT, "output_tokens": INPUT, "total_tokens": 2 * INPUT}
        return {"id": id, "object": "batch", "status": "completed", "completed_at": ended,
                "model": "up-model", "usage": usage}  # fmt: skip

    # -- keys --------------------------------------------------------------------------------------------------------

    def _refused(self, heard: Heard, shape: Shape) -> str:
        """Why the caller is not known; "" when it is."""
        bearer = heard.field("authorization")
        if bearer.startswith("AWS4-HMAC-SHA256 "):
            return "" if signature_of(heard, self.key) in bearer else "a wrong AWS signature"
        given = {bearer.removeprefix("Bearer "), heard.field("x-api-key"), heard.field("x-goog-api-key")} - {""}
        if shape is MESSAGES and not heard.field("anthropic-version"):
            return "no anthropic-version"
        return "" if given == {self.key} or (not self.key and not given) else "a wrong key"


def signature_of(heard: Heard, secret: str) -> str:
    """AWS Signature Version 4 of a request, computed anew from what arrived."""
    said = dict(part.strip().split("=", 1) for part in heard.field("authorization").partition(" ")[2].split(","))
    date, region, service, last = said["Credential"].split("/")[1:]
    names = said["SignedHeaders"].split(";")
    path, _, query = heard.target.partition("?")
    digest = hashlib.sha256(heard.body).hexdigest()
    # Every service but S3 signs a path whose escapes are escaped once more.
    fields = "".join(f"{name}:{' '.join(heard.field(name).split())}\n" for name in names)
    request = "\n".join([heard.method, path.replace("%", "%25"), query, fields, said["SignedHeaders"], digest])
    scope = f"{date}/{region}/{service}/{last}"
    text = "\n".join(
        ["AWS4-HMAC-SHA256", heard.field("x-amz-date"), scope, hashlib.sha256(request.encode()).hexdigest()]
    )
    key = ("AWS4" + secret).encode()
    for step in (date, region, service, last):
        key = hmac.new(key, step.encode(), "sha256").digest()
    return "Signature=" + hmac.new(key, text.encode(), "sha256").hexdigest()
