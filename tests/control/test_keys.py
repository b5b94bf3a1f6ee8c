"""``tidegate keys show``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tidegate.control import keys
from tidegate.control.reload import Unreachable

PAIR = {"key": "ci", "access_key_id": "cfg0", "secret_access_key": "s3cret"}


def answering(monkeypatch: pytest.MonkeyPatch, status: int, answer: dict[str, Any]) -> list[str]:
    asked: list[str] = []

    def ask(
        config: Path | None, data: Path | None, environment: Mapping[str, str], method: str, path: str
    ) -> tuple[int, dict[str, Any]]:
        asked.append(f"{method} {path}")
        if not status:
            raise Unreachable("no gateway answers")
        return status, answer

    monkeypatch.setattr(keys, "ask", ask)
    return asked


def test_a_pair_is_printed_as_the_variables_that_aws_clients_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = answering(monkeypatch, 200, {"consumer": "a b", "items": [PAIR]})
    assert keys.show(None, None, "a b", False) == 0
    assert asked == ["GET /api/v1/keys?consumer=a+b"]
    assert capsys.readouterr().out == "key ci\n  AWS_ACCESS_KEY_ID=cfg0\n  AWS_SECRET_ACCESS_KEY=s3cret\n"
    assert keys.show(None, None, "a b", True) == 0
    assert '"access_key_id": "cfg0"' in capsys.readouterr().out


def test_what_cannot_be_shown_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answering(monkeypatch, 200, {"items": []})
    assert (keys.show(None, None, "a", False), capsys.readouterr().out) == (0, "a has no keys.\n")
    answering(monkeypatch, 404, {"detail": "The config has no such consumer."})
    assert keys.show(None, None, "a", False) == 1
    assert capsys.readouterr().err == "tidegate: The config has no such consumer.\n"
    answering(monkeypatch, 0, {})
    assert keys.show(None, None, "a", False) == 3
