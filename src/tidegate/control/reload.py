"""``tidegate reload``: ask the running gateway to read its config again, and tell what came of it.

The gateway is found through the socket in its data folder, else through the admin address (CONTROL 12).
"""

from __future__ import annotations

import http.client
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from tidegate.control.data_folder import DataFolder

DONE: Final = 0
REFUSED: Final = 1
UNREACHABLE: Final = 3
TIME: Final = 60.0
"""Seconds a large config may take to be proved and built."""
PATH: Final = "/api/v1/reload"
LONGEST: Final = 64 << 20


class Unreachable(Exception):
    """Nobody answers; the text says where we looked."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the gateway's own socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIME)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIME)
        self.sock.connect(str(self.path))


def request(config_path: Path | None, data: Path | None) -> int:
    """Ask for a reload and print its result; the exit code: 0 applied, 1 refused, 3 not reachable.

    *data* names the data folder; else the config (default ``./tidegate.yaml``) does, else ``./tidegate-data``.
    """
    try:
        status, answer = ask(config_path, data, os.environ)
    except Unreachable as error:
        sys.stderr.write(f"tidegate: {error}\n")
        return UNREACHABLE
    if status != 200:
        detail = answer.get("detail") or answer.get("title") or f"the gateway answered {status}"
        sys.stderr.write(f"tidegate: the reload was refused, the old config serves on\n{detail}\n")
        return REFUSED
    workers = answer["workers"]
    if not answer.get("changed", True):
        sys.stdout.write(
            f"generation {answer['generation']} serves on {workers['applied']}/{workers['of']} workers already; "
            "nothing has changed since it was read\n"
        )
        return DONE if answer["result"] == "applied" else REFUSED
    sys.stdout.write(
        f"generation {answer['generation']} {answer['result']} on {workers['applied']}/{workers['of']} workers "
        f"in {answer['milliseconds']} ms\n"
    )
    return DONE if answer["result"] == "applied" else REFUSED


def ask(
    config_path: Path | None, data: Path | None, environment: Mapping[str, str], method: str = "POST", path: str = PATH
) -> tuple[int, dict[str, Any]]:
    """Send the request where the gateway is found; status and body. Raises ``Unreachable``."""
    folder = DataFolder(data or data_folder_of(config_path or Path("tidegate.yaml")))
    tried: list[str] = []
    url = environment.get("TIDEGATE_ADMIN_URL", "")
    if not url:
        opening = folder.socket("control.sock")
        tried.append(str(opening))
        try:
            return _send(_UnixConnection(opening), method, path, {})
        except (OSError, http.client.HTTPException):
            url = admin_url_of(config_path or Path("tidegate.yaml"))
    if url:
        tried.append(url)
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        token = environment.get("TIDEGATE_ADMIN_TOKEN", "") or read_token(folder)
        try:
            connection = kind(parts.hostname or "", parts.port, timeout=TIME)
            return _send(connection, method, path, {"authorization": f"Bearer {token}"})
        except (OSError, http.client.HTTPException):
            pass
    raise Unreachable(f"no gateway answers at {' or '.join(tried)}; is it running?")


def _send(
    connection: http.client.HTTPConnection, method: str, path: str, fields: dict[str, str]
) -> tuple[int, dict[str, Any]]:
    try:
        length = {"content-length": "0"} if method == "POST" else {}
        connection.request(method, path, headers={**length, **fields})
        answer = connection.getresponse()
        body = answer.read(LONGEST)
        try:
            return answer.status, msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            return answer.status, {}
    finally:
        connection.close()


def read_token(folder: DataFolder) -> str:
    """The token kept in the data folder, or ""."""
    from tidegate.control.admin.token import read_kept

    return read_kept(folder)


def data_folder_of(config_path: Path) -> Path:
    """The data folder that a config names, even if the config is broken otherwise."""
    value = _setting(config_path, "data")
    return config_path.absolute().parent / (value if isinstance(value, str) else "tidegate-data")


def admin_url_of(config_path: Path) -> str:
    """Where a config says the admin API listens, or ""."""
    admin = _setting(config_path, "admin")
    if not isinstance(admin, dict):
        return ""
    address = admin.get("address", "127.0.0.1:9080")
    return f"http://{address.replace('0.0.0.0', '127.0.0.1')}" if isinstance(address, str) else ""


def _setting(config_path: Path, name: str) -> Any:
    """One top-level setting of a config; a config that cannot be read has none."""
    import yaml

    try:
        with config_path.open("rb") as file:
            tree = yaml.load(file.read(64 << 20), Loader=yaml.CSafeLoader)
    except (OSError, yaml.YAMLError, RecursionError, ValueError):
        return None
    return tree.get(name) if isinstance(tree, dict) else None
