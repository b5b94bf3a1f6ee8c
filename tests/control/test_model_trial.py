from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tidegate.assembly.check import Checked, check
from tidegate.control.model_trial import trial

ANSWER = {
    "id": "x", "object": "chat.completion", "created": 1, "model": "served-model",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "OK"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}  # fmt: skip


class Vendor(http.server.BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, self.headers["authorization"], body["model"], body))
        status, answer = self.server.answer
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def vendor() -> Iterator[Any]:
    server: Any = http.server.HTTPServer(("127.0.0.1", 0), Vendor)
    server.asked, server.answer = [], (200, ANSWER)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def config(folder: Path, port: int) -> Checked:
    file = folder / "gw.yaml"
    file.write_text(f"""
listeners: [{{address: 127.0.0.1:8080}}]
providers:
  - {{name: one, use: openai, base_url: "http://127.0.0.1:{port}/v1", api_keys: [sk-first, sk-second],
      price: {{input: 1, output: 2}}}}
  - {{name: bare, use: openai_compatible, base_url: "http://127.0.0.1:{port}/v1", price: free}}
  - {{name: keyless, use: openai, price: free}}
  - {{name: entra, use: azure_openai, resource: r, api_key: "id:secret", price: free}}
models:
  - {{name: fast, targets: [{{provider: one, model: gpt-x}}]}}
  - {{name: "any-*", targets: [{{provider: keyless}}, {{provider: bare}}]}}
  - {{name: other, targets: [{{provider: keyless, model: m}}]}}
routes:
  - {{name: llm, match: {{path: /v1}}, llm: {{}}}}
""")
    return check(file, {})


def tried(folder: Path, vendor: Any, name: str, model: str = "") -> tuple[int, list[str]]:
    """The exit code, and what was said without the times."""
    lines: list[str] = []
    code = trial(config(folder, vendor.server_port), name, model, lines.append)
    port = str(vendor.server_port)
    return code, [
        " ".join("N" if word.isdigit() else word for word in line.replace(port, "P").split()) for line in lines
    ]


def test_each_key_is_tried_with_one_tiny_call(tmp_path: Path, vendor: Any) -> None:
    code, lines = tried(tmp_path, vendor, "one")
    assert (code, lines[0]) == (0, "one: gpt-x at http://127.0.0.1:P/v1/chat/completions")
    assert [line.partition(": ")[2] for line in lines[1:]] == [
        "answered by served-model in N ms, N tokens in, N out, 0.000005 USD"] * 2  # fmt: skip
    assert [(path, key, model) for path, key, model, _ in vendor.asked] == [
        ("/v1/chat/completions", "Bearer sk-first", "gpt-x"),
        ("/v1/chat/completions", "Bearer sk-second", "gpt-x"),
    ]
    assert vendor.asked[0][3]["messages"] == [{"role": "user", "content": "Say OK."}]
    assert "sk-" not in "".join(lines)


def test_a_refusal_is_told_in_our_words_and_fails(tmp_path: Path, vendor: Any) -> None:
    vendor.answer = (401, {"error": {"message": "no such key", "code": "invalid_api_key"}})
    code, lines = tried(tmp_path, vendor, "one")
    assert code == 1 and len(lines) == 3
    assert all(": bad_upstream" in line for line in lines[1:])


def test_a_model_may_be_named_and_must_be_where_the_config_names_none(tmp_path: Path, vendor: Any) -> None:
    assert tried(tmp_path, vendor, "bare") == (1, ["no model of bare is named: --model NAME"])
    code, lines = tried(tmp_path, vendor, "bare", "tiny")
    assert (code, lines[1]) == (0, "no key: answered by served-model in N ms, N tokens in, N out")
    assert vendor.asked[0][1:3] == (None, "tiny")


def test_what_cannot_be_tried_says_why(tmp_path: Path, vendor: Any) -> None:
    assert tried(tmp_path, vendor, "nobody") == (1, ["there is no provider nobody"])
    assert tried(tmp_path, vendor, "keyless") == (
        1, ["keyless has no credential that can be used; tidegate check says which is missing"])  # fmt: skip
    assert vendor.asked == []


def test_tokens_are_the_running_gateways_business(tmp_path: Path, vendor: Any) -> None:
    code, lines = tried(tmp_path, vendor, "entra", "gpt-x")
    assert code == 1 and lines[1].endswith(
        "its tokens are fetched by a running gateway; ask that one for the model instead"
    )


def test_a_provider_that_is_not_there_is_no_surprise(tmp_path: Path) -> None:
    lines: list[str] = []
    assert trial(config(tmp_path, 1), "bare", "tiny", lines.append) == 1
    assert lines[1].startswith("  no key: not reached: ")
