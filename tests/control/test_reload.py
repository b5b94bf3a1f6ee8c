"""``tidegate reload``: where the gateway is looked for, and what is made of its answer."""

from __future__ import annotations

import http.server
import os
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tidegate.control import reload
from tidegate.control.data_folder import DataFolder


class Answering(http.server.BaseHTTPRequestHandler):
    """Gives the server's ``answer`` and keeps what it was asked."""

    server: Any

    def do_POST(self) -> None:
        self.server.asked.append((self.path, self.headers.get("authorization")))
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass

    def address_string(self) -> str:
        return "test"


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


APPLIED = b'{"result":"applied","generation":9,"workers":{"applied":2,"of":2},"milliseconds":12.5}'


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "tidegate-data")
    folder.make()
    return folder


@pytest.fixture
def gateway(folder: DataFolder) -> Iterator[Any]:
    server: Any = UnixServer(str(folder.place_socket("control.sock")), Answering)
    server.asked = []
    server.answer = (200, APPLIED)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_reload_is_asked_for_over_the_gateways_own_socket(
    gateway: Any, folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reload.request(None, folder.path) == 0
    assert gateway.asked == [("/api/v1/reload", None)]
    assert capsys.readouterr().out == "generation 9 applied on 2/2 workers in 12.5 ms\n"


def test_a_reload_of_unchanged_files_says_so(
    gateway: Any, folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answer = (200, APPLIED.replace(b'"milliseconds"', b'"changed":false,"milliseconds"'))
    assert reload.request(None, folder.path) == 0
    told = capsys.readouterr().out
    assert told == "generation 9 serves on 2/2 workers already; nothing has changed since it was read\n"


def test_the_config_names_the_folder_even_while_it_is_broken(gateway: Any, folder: DataFolder) -> None:
    config = folder.path.parent / "c.yaml"
    config.write_text("data: ./tidegate-data\nroutes: nonsense\n")
    assert reload.request(config, None) == 0
    config.write_text("{not yaml")
    assert reload.request(config, None) == 0


def test_a_refusal_is_told_with_its_problem(
    gateway: Any, folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answer = (422, b'{"code":"invalid_field","detail":"c.yaml:3: routes[0]: bad"}')
    assert reload.request(None, folder.path) == 1
    assert "c.yaml:3: routes[0]: bad" in capsys.readouterr().err


def test_a_reload_that_a_worker_did_not_take_is_no_success(gateway: Any, folder: DataFolder) -> None:
    gateway.answer = (200, APPLIED.replace(b'"applied","', b'"partial","'))
    assert reload.request(None, folder.path) == 1


def test_nobody_there_is_said_with_the_places_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIDEGATE_ADMIN_URL", raising=False)
    config = tmp_path / "c.yaml"
    config.write_text("admin: {address: '127.0.0.1:1'}\n")
    assert reload.request(config, None) == 3
    said = capsys.readouterr().err
    assert f"{tmp_path / 'tidegate-data' / 'control.sock'} or http://127.0.0.1:1" in said


def test_without_the_socket_the_admin_address_is_asked_with_the_token(folder: DataFolder, tmp_path: Path) -> None:
    server: Any = http.server.HTTPServer(("127.0.0.1", 0), Answering)
    server.asked, server.answer = [], (200, APPLIED)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    (folder.path / "admin-token").write_text("kept-token\n")
    config = tmp_path / "c.yaml"
    config.write_text(f"admin:\n  address: 127.0.0.1:{server.server_port}\n")
    try:
        assert reload.ask(config, None, {})[0] == 200
        url = f"http://127.0.0.1:{server.server_port}"
        environment = {"TIDEGATE_ADMIN_URL": url, "TIDEGATE_ADMIN_TOKEN": "from-environment"}
        assert reload.ask(None, folder.path, environment)[0] == 200
    finally:
        server.shutdown()
        server.server_close()
    assert [token for _, token in server.asked] == ["Bearer kept-token", "Bearer from-environment"]


def test_without_a_config_the_folder_has_its_usual_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert reload.data_folder_of(Path("tidegate.yaml")) == Path(os.getcwd()) / "tidegate-data"
    assert reload.admin_url_of(Path("tidegate.yaml")) == ""
