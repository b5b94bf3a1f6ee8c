"""The model behind every gateway: OpenAI's chat door and Anthropic's messages door on one port, answers made before.

    python benchmarks/model_upstream.py PORT [--chunks N] [--gap SECONDS]

A call whose body asks for a stream gets ``--chunks`` pieces of text, each in a write of its own, ``--gap`` seconds
apart, so that a gateway meets them one by one as it does from a real model. It must cost little: it shares a core with
the load generator.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import uvloop
from measure import LOAD_CORE, pinned
from upstream import must_be_free, wait_until_answered

PORT = 28411
WORDS = "The answer to this is rather long, and it comes in pieces as models give it. "


def chat() -> bytes:
    return json.dumps({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1760000000, "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": WORDS * 4, "refusal": None},
                     "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 420, "completion_tokens": 72, "total_tokens": 492,
                  "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                  "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0}},
        "service_tier": "default", "system_fingerprint": "fp_1",
    }).encode()  # fmt: skip


def messages() -> bytes:
    return json.dumps({
        "id": "msg_01", "type": "message", "role": "assistant", "model": "claude-haiku-4-5",
        "content": [{"type": "text", "text": WORDS * 4}], "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 420, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                  "output_tokens": 72},
    }).encode()  # fmt: skip


def chat_stream(chunks: int) -> list[bytes]:
    """Events of a chat stream, the end and its usage in the last one."""

    def event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1760000000,
                 "model": "gpt-4o-mini-2024-07-18", "service_tier": "default", "system_fingerprint": "fp_1",
                 "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
                 **more}  # fmt: skip
        return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"

    usage = {"choices": [], "usage": {"prompt_tokens": 420, "completion_tokens": chunks, "total_tokens": 420 + chunks}}
    last = event({}, "stop") + event({}, **usage) + b"data: [DONE]\n\n"
    return [event({"role": "assistant", "content": ""}), *[event({"content": " word"})] * chunks, last]


def messages_stream(chunks: int) -> list[bytes]:
    def event(kind: str, **more: Any) -> bytes:
        data = json.dumps({"type": kind, **more}, separators=(",", ":")).encode()
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    begun = event("message_start", message={
        "id": "msg_01", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 420, "output_tokens": 1}})  # fmt: skip
    begun += event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    piece = event("content_block_delta", index=0, delta={"type": "text_delta", "text": " word"})
    last = event("content_block_stop", index=0)
    last += event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None},
                  usage={"output_tokens": chunks})  # fmt: skip
    return [begun, *[piece] * chunks, last + event("message_stop")]


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunked(events: list[bytes]) -> list[bytes]:
    """The writes of a stream: its head with the first event, then an event a write."""
    framed = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    return [STREAM_HEAD + framed[0], *framed[1:-1], framed[-1] + b"0\r\n\r\n"]


class Model(asyncio.Protocol):
    """One connection; calls come one at a time."""

    def __init__(self, answers: dict[bytes, tuple[bytes, list[bytes]]], gap: float) -> None:
        self.answers = answers
        self.gap = gap
        self.data = b""
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self.data + data if self.data else data
        while data:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                break
            head = data[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(data) < end + 4 + length:
                break
            body, data = data[end + 4 : end + 4 + length], data[end + 4 + length :]
            unary, stream = self.answers[b"messages" if b"/messages" in head.split(b"\r\n", 1)[0] else b"chat"]
            if b'"stream":true' in body or b'"stream": true' in body:
                self.give(stream, 0)
            else:
                self.transport.write(unary)
        self.data = data

    def give(self, writes: list[bytes], at: int) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(writes[at])
        if at + 1 < len(writes):
            self.loop.call_later(self.gap, self.give, writes, at + 1)


async def serve(port: int, chunks: int, gap: float) -> None:
    """Serve until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    answers = {
        b"chat": (whole(chat()), chunked(chat_stream(chunks))),
        b"messages": (whole(messages()), chunked(messages_stream(chunks))),
    }
    await loop.create_server(lambda: Model(answers, gap), "127.0.0.1", port, backlog=4096)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()


class ModelUpstream:
    """The model as a process on the load's core, for a ``with`` block."""

    def __init__(self, chunks: int = 200, gap: float = 0.002) -> None:
        self.command = [sys.executable, str(Path(__file__).resolve()), str(PORT)]
        self.command += ["--chunks", str(chunks), "--gap", str(gap)]

    def __enter__(self) -> ModelUpstream:
        must_be_free(PORT)
        self.process = subprocess.Popen(self.command, preexec_fn=pinned(LOAD_CORE))
        wait_until_answered(f"http://127.0.0.1:{PORT}/", {}, self.process)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--chunks", type=int, default=200)
    parser.add_argument("--gap", type=float, default=0.002)
    given = parser.parse_args()
    uvloop.run(serve(given.port, given.chunks, given.gap))
