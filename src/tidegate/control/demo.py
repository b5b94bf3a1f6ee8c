"""``tidegate demo``: a gateway in front of small services of its own, to be tried with curl.

This process prints and waits; the services (``serve``) are one child, the gateway is another with children of its own,
and the small language model (``local_model``), which comes last and may be missing, a third. Everything lies in a
temporary folder that goes with the demo.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidegate.control import local_model
from tidegate.control.demo_conversation import dialogue
from tidegate.control.local_model import LocalModel, News

if TYPE_CHECKING:
    from rich.console import Console

PORTS: Final = (8091, 8092)
"""Where the two instances of the demo service listen, on loopback."""
GATEWAY: Final = "127.0.0.1:8080"
ADMIN: Final = "127.0.0.1:9080"
KEY: Final = "demo-key-for-curl"
START: Final = 20.0
"""Seconds that services and gateway each may take until they are ready."""
TURN: Final = 60.0
"""Seconds that the small model may take for a turn of the demo's conversation."""
MAX_HEAD: Final = 64 << 10
MAX_BODY: Final = 1 << 20
"""Bytes of a request that a demo service reads."""

CONFIG: Final = f"""\
name: demo
listeners: [{{address: "{GATEWAY}"}}]
admin: {{address: "{ADMIN}"}}
data: ./data
workers: 2
upstreams:
  - name: echo
    targets: [{", ".join(f"{{url: http://127.0.0.1:{port}}}" for port in PORTS)}]
    balancer: {{use: peak_ewma}}
    health: {{path: /healthz, interval: 1s}}
providers:
  - {{name: local, use: xllamacpp, base_url: "http://{local_model.HOST}:{local_model.PORT}/v1", price: free}}
models:
  - name: small
    targets: [{{provider: local, model: {local_model.NAME}}}]
consumers:
  - {{name: you, keys: [{KEY}], budget: {{usd: 1, per: day}}, limits: {{requests: 60/m, in_flight: 4}}}}
routes:
  - name: models
    match: {{path: /v1}}
    filters:
      - {{use: api_key}}
    llm: {{contexts: {{}}}}
  - name: contexts
    match: {{path: /v1/contexts}}
    filters:
      - {{use: api_key}}
    contexts: {{}}
  - name: echo
    match: {{path: /echo}}
    upstream: echo
  - name: private
    match: {{path: /private}}
    filters:
      - {{use: api_key}}
      - {{use: rate_limit, rate: 5/s, burst: 5, by: consumer}}
    upstream: echo
  - name: slow
    match: {{path: /slow}}
    timeouts: {{request: 1s}}
    upstream: echo
  - name: live
    match: {{path: /ws}}
    upstream: echo
  - name: hello
    match: {{path: /hello, exact: true}}
    respond: {{json: {{hello: world}}}}
"""

TRY: Final = (
    ("an answer of the gateway itself", f"curl -i http://{GATEWAY}/hello"),
    ("two instances, balanced", f"curl http://{GATEWAY}/echo/anything?x=1"),
    ("no key: 401", f"curl -i http://{GATEWAY}/private"),
    ("a key, and a rate limit after five", f"curl -i -H 'x-api-key: {KEY}' http://{GATEWAY}/private"),
    ("too slow for the route: 504", f"curl -i http://{GATEWAY}/slow"),
    ("a WebSocket, if you have websocat", f"websocat ws://{GATEWAY}/ws"),
    ("what the gateway counts", f"curl http://{ADMIN}/metrics"),
)

CHAT: Final = (
    '{"model": "small", "stream": true, "max_tokens": 100, '
    '"messages": [{"role": "user", "content": "Why is the sky blue?"}]}'
)
MESSAGE: Final = '{"model": "small", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi!"}]}'
JSON: Final = "-H 'content-type: application/json'"


def try_models(config: Path) -> tuple[tuple[str, str], ...]:
    """What to try once the model is there."""
    return (
        (
            "a real answer, token by token, in OpenAI's shape; the last comment line is its cost",
            f"curl -N -H 'authorization: Bearer {KEY}' {JSON} http://{GATEWAY}/v1/chat/completions -d '{CHAT}'",
        ),
        (
            "the same model in Anthropic's shape, with model, usage and cost in the head",
            f"curl -i -H 'x-api-key: {KEY}' {JSON} http://{GATEWAY}/v1/messages -d '{MESSAGE}'",
        ),
        ("what was used, by whom", f"{tidegate()} usage -c {config}"),
    )


def tidegate() -> str:
    """The program as it is to be typed here: beside this Python, if it was not found by its name."""
    return "tidegate" if shutil.which("tidegate") else str(Path(sys.executable).with_name("tidegate"))


def main(install_model: bool = False) -> int:
    """Run the demo until Ctrl-C; the exit code. *install_model*: what the language model needs may be installed."""
    from rich.console import Console

    console = Console()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts what runs in the background with SIGINT ignored
        signal.signal(number, interrupt)
    with tempfile.TemporaryDirectory(prefix="tidegate-demo-") as folder:
        config = Path(folder) / "tidegate.yaml"
        config.write_text(CONFIG, "utf-8")
        ours = [sys.executable, "-m"]
        children = [subprocess.Popen([*ours, "tidegate.control.demo"], start_new_session=True)]
        model = LocalModel(Path(folder), install=install_model)
        try:
            # The services first: a gateway that finds them down keeps them out until they have passed two probes.
            started = wait_until(serving, children)
            if started:
                children.append(subprocess.Popen([*ours, "tidegate", "run", "-c", str(config)], start_new_session=True))
            if not started or not wait_until(answering, children):
                console.print("tidegate: the demo did not start; are the ports 8080, 9080, 8091 and 8092 free?")
                return 1
            show(console, config)
            held = False
            model.start()  # last: nobody waits for it
            while all(child.poll() is None for child in children):
                for news in model.news():
                    tell(console, news, config)
                    if news.state == "ready" and not held:
                        held = True
                        hold(console)
                time.sleep(0.2)
            console.print("tidegate: the demo ended by itself")
            return 1
        except KeyboardInterrupt:
            return 0
        finally:
            model.stop()
            stop(children)


def show(console: Console, config: Path) -> None:
    """What to try. Commands stand alone on their lines, unwrapped, to be copied."""
    console.rule("tidegate demo")
    offer(console, TRY)
    console.rule("Ctrl-C ends everything")
    console.print(f"The config is {config}", highlight=False, markup=False, soft_wrap=True)


def offer(console: Console, commands: tuple[tuple[str, str], ...]) -> None:
    """Commands, each under a word about it."""
    for what, command in commands:
        console.print(f"# {what}", style="dim", highlight=False, soft_wrap=True)
        console.print(command, style="bold", highlight=False, markup=False, soft_wrap=True)


def tell(console: Console, news: News, config: Path) -> None:
    """What has become of the language model."""
    if news.state == "ready":
        console.rule(f"the language model is there: {local_model.TITLE} on this machine, as model small")
        offer(console, try_models(config))
        return
    words = {
        "installing": f"The language model is being installed: {news.text}. Everything else is there already.",
        "loading": f"The language model is being loaded: {news.text}.",
        "again": f"The language model: {news.text}.",
    }
    told = words.get(news.state, f"There is no language model: {news.text}. Everything else works.")
    console.print(told, highlight=False, markup=False, soft_wrap=True)


def hold(console: Console) -> None:
    """A conversation that the gateway keeps, as it goes; and how to read it."""
    from tidegate.client.conversation import Conversation
    from tidegate.client.door import ContextError, Door

    console.rule("a conversation that the gateway keeps: each turn sends only what is new")
    talk = Conversation(Door(f"http://{GATEWAY}", KEY, timeout=TURN), "small")
    try:
        for who, what in dialogue(talk):
            console.print(f"{who:>6}  {' '.join(what.split())}", highlight=False, markup=False, soft_wrap=True)
    except (ContextError, OSError, http.client.HTTPException) as error:
        console.print(f"It broke off: {error}", highlight=False, markup=False, soft_wrap=True)
        return
    plane = f"http://{GATEWAY}/v1/contexts/{talk.id}"
    offer(console, (
        ("all that happened, in order", f"curl -H 'x-api-key: {KEY}' {plane}/log"),
        ("what the next turn would send to the model, token by token",
         f"curl -H 'x-api-key: {KEY}' {JSON} {plane}/render -d '{{\"model\": \"small\"}}'"),
    ))  # fmt: skip


def interrupt(number: int, frame: object) -> None:
    """SIGINT (Ctrl-C) and SIGTERM end the demo with its children."""
    raise KeyboardInterrupt


def wait_until(ready: Callable[[], bool], children: list[subprocess.Popen[bytes]]) -> bool:
    """Whether *ready* holds within ``START``; False at once when a child has ended."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and all(child.poll() is None for child in children):
        if ready():
            return True
        time.sleep(0.1)
    return False


def serving() -> bool:
    """Whether both instances of the service take connections."""
    try:
        for port in PORTS:
            socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def answering() -> bool:
    """Whether the gateway answers through to a service."""
    try:
        with urllib.request.urlopen(f"http://{GATEWAY}/echo", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def stop(children: list[subprocess.Popen[bytes]]) -> None:
    """End *children*, the gateway first; what does not end within 5 s is killed."""
    for child in reversed(children):
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


# -- the services ------------------------------------------------------------------------------------------------------


async def serve(ports: tuple[int, ...] = PORTS) -> None:
    """One small HTTP service on each of *ports*, until cancelled."""
    servers = [await asyncio.start_server(partial(converse, port), "127.0.0.1", port, limit=MAX_HEAD) for port in ports]
    async with asyncio.TaskGroup() as group:
        for server in servers:
            group.create_task(server.serve_forever())


async def converse(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All requests of one connection."""
    try:
        while await answer_one(reader, writer, port):
            pass
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


async def answer_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> bool:
    """One request and its answer; whether the connection goes on."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    path = target.partition("?")[0]
    if path == "/ws" and fields.get("upgrade", "").lower() == "websocket":
        await echo_websocket(reader, writer, fields.get("sec-websocket-key", ""))
        return False
    body = await read_body(reader, fields)
    if path == "/slow":
        await asyncio.sleep(3)
    said = {"instance": port, "method": method, "target": target, "fields": fields, "body": body.decode("latin-1")}
    content = json.dumps(said, indent=1).encode() + b"\n"
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content)
        + (b"" if method == "HEAD" else content)
    )
    await writer.drain()
    return fields.get("connection", "").lower() != "close"


async def read_body(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
    """The body of a request, up to ``MAX_BODY``. ``ValueError`` for more."""
    if fields.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            if len(body) + size > MAX_BODY:
                raise ValueError("too large")
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return body
    length = int(fields.get("content-length", "0"))
    if length > MAX_BODY:
        raise ValueError("too large")
    return await reader.readexactly(length)


async def echo_websocket(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """Send every message back (RFC 6455), until the client closes."""
    accept = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode(), usedforsecurity=False).digest()
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-accept: " + base64.b64encode(accept) + b"\r\n\r\n"
    )
    while True:
        first, second = await reader.readexactly(2)
        length = second & 0x7F
        if length > 125:
            length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
        if length > MAX_BODY or not second & 0x80:
            return
        mask = await reader.readexactly(4)
        data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(await reader.readexactly(length)))
        code = first & 0x0F
        # A ping (9) is answered by a pong (10); pongs need no answer; a close (8) is sent back and ends it.
        if code != 10:
            writer.write(bytes([first & 0xF0 | (10 if code == 9 else code)]) + frame_length(length) + data)
            await writer.drain()
        if code == 8:
            return


def frame_length(length: int) -> bytes:
    """The length field of an unmasked frame."""
    if length < 126:
        return bytes([length])
    return b"\x7e" + length.to_bytes(2, "big") if length < 65536 else b"\x7f" + length.to_bytes(8, "big")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing to clean up, and it may have been ignored
    asyncio.run(serve())
