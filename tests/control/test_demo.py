from __future__ import annotations

import asyncio
import contextlib
import io
import json
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tidegate.assembly.check import check
from tidegate.control import demo
from tidegate.control.local_model import News


def talk(*pieces: bytes, close: bool = True) -> bytes:
    """What the service answers to *pieces* over a real socket."""

    async def conversation() -> bytes:
        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await demo.converse(8091, reader, writer)

        server = await asyncio.start_server(converse, "127.0.0.1", 0, limit=demo.MAX_HEAD)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in pieces:
            writer.write(piece)
        if close:
            writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        server.close()
        return answer

    return asyncio.run(conversation())


def body(answer: bytes) -> dict[str, object]:
    result: dict[str, object] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return result


def test_the_demo_config_is_good(tmp_path: Path) -> None:
    path = tmp_path / "tidegate.yaml"
    path.write_text(demo.CONFIG)
    checked = check(path, {})
    assert checked.warnings == []
    assert [r.name for r in checked.built.plan.routes] == [
        "models", "contexts", "echo", "private", "slow", "live", "hello", "crp-discovery",
    ]  # fmt: skip
    assert len(checked.built.plan.upstreams["echo"].targets) == 2


def test_a_service_tells_what_it_was_asked() -> None:
    answer = talk(b"POST /echo?x=1 HTTP/1.1\r\nHost: a\r\nX-Test: Yes\r\nContent-Length: 2\r\n\r\nhi")
    assert body(answer) == {
        "instance": 8091, "method": "POST", "target": "/echo?x=1", "body": "hi",
        "fields": {"host": "a", "x-test": "Yes", "content-length": "2"},
    }  # fmt: skip


def test_a_chunked_body_is_put_together_and_connections_are_kept() -> None:
    request = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\n"
    answer = talk(request + request)
    assert answer.count(b"HTTP/1.1 200 OK") == 2 and answer.count(b'"body": "hello"') == 2


def test_head_has_no_body_and_close_is_obeyed() -> None:
    answer = talk(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n", close=False)
    assert answer.startswith(b"HTTP/1.1 200 OK") and answer.endswith(b"\r\n\r\n")


def test_nonsense_and_too_much_end_the_connection() -> None:
    assert talk(b"nonsense\r\n\r\n", close=False) == b""
    assert talk(b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", close=False) == b""
    with contextlib.suppress(ConnectionResetError):
        assert talk(b"x" * (demo.MAX_HEAD * 3), close=False) == b""


def test_a_websocket_echoes_messages_pings_and_the_close() -> None:
    upgrade = b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    mask = b"\x01\x02\x03\x04"

    def frame(first: int, data: bytes) -> bytes:
        length = demo.frame_length(len(data))
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        return bytes([first, length[0] | 0x80]) + length[1:] + mask + masked

    answer = talk(
        upgrade, frame(0x81, b"hi"), frame(0x89, b"p"), frame(0x82, b"z" * 300), frame(0x88, b""), close=False
    )
    head, _, frames = answer.partition(b"\r\n\r\n")
    assert b"101 Switching Protocols" in head and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    assert frames == b"\x81\x02hi" + b"\x8a\x01p" + b"\x82\x7e\x01\x2c" + b"z" * 300 + b"\x88\x00"


def test_commands_stand_unwrapped_on_lines_of_their_own() -> None:
    shown = io.StringIO()
    demo.show(Console(file=shown, width=30), Path("/tmp/demo/tidegate.yaml"))
    lines = shown.getvalue().splitlines()
    for what, command in demo.TRY:
        assert f"# {what}"[:20] in shown.getvalue() and command in lines
    assert "The config is /tmp/demo/tidegate.yaml" in lines


def told(*news: News) -> str:
    shown = io.StringIO()
    for each in news:
        demo.tell(Console(file=shown, width=30), each, Path("/tmp/demo/tidegate.yaml"))
    return shown.getvalue()


def test_what_to_ask_the_model_is_told_once_it_is_there() -> None:
    lines = told(News("ready", "http://127.0.0.1:9301")).splitlines()
    commands = [line for line in lines if line.startswith("curl ")]
    assert [shlex.split(command)[-3] for command in commands] == [
        "http://127.0.0.1:8080/v1/chat/completions",
        "http://127.0.0.1:8080/v1/messages",
    ]
    asked = [json.loads(shlex.split(command)[-1]) for command in commands]
    assert [(body["model"], body.get("stream")) for body in asked] == [("small", True), ("small", None)]
    assert all(demo.KEY in command for command in commands)
    assert lines[-1].endswith("tidegate usage -c /tmp/demo/tidegate.yaml")


def test_without_a_model_the_reason_is_told_and_that_all_else_works() -> None:
    assert told(News("failed", "no wheel [here]")) == (
        "There is no language model: no wheel [here]. Everything else works.\n"
    )


def test_what_the_model_is_at_is_told() -> None:
    assert told(News("installing", "it"), News("loading", "it"), News("again", "it died")).splitlines() == [
        "The language model is being installed: it. Everything else is there already.",
        "The language model is being loaded: it.",
        "The language model: it died.",
    ]


def test_the_program_is_named_so_that_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.shutil, "which", lambda name: None)
    assert demo.tidegate() == str(Path(sys.executable).with_name("tidegate"))
    monkeypatch.setattr(demo.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert demo.tidegate() == "tidegate"


def test_lengths_of_frames() -> None:
    assert demo.frame_length(125) == b"\x7d"
    assert demo.frame_length(126) == b"\x7e\x00\x7e"
    assert demo.frame_length(65536) == b"\x7f\x00\x00\x00\x00\x00\x01\x00\x00"


def test_children_are_ended_the_last_first() -> None:
    sleep = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); print(flush=True); time.sleep(60)"
    children = [subprocess.Popen([sys.executable, "-c", sleep], stdout=subprocess.PIPE) for _ in range(2)]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    demo.stop(children)
    assert [child.returncode for child in children] == [-signal.SIGINT] * 2


def test_a_child_that_has_ended_ends_the_waiting() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert demo.wait_until(lambda: True, [child]) is False


def test_waiting_asks_until_it_is_so() -> None:
    answers = [False, True]
    assert demo.wait_until(lambda: answers.pop(0), []) is True
    assert answers == []


def test_the_services_serve_once_both_take_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = (one.getsockname()[1], other.getsockname()[1])
        monkeypatch.setattr(demo, "PORTS", ports)
        assert demo.serving() is True
    monkeypatch.setattr(demo, "GATEWAY", f"127.0.0.1:{ports[0]}")
    assert (demo.serving(), demo.answering()) == (False, False)
