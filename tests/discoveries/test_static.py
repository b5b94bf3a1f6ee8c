"""Targets as written."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from tidegate.discoveries.static import Config, Static
from tidegate.ports.discovery import Found


def test_what_is_written_is_what_is_found() -> None:
    targets = [Found("192.0.2.1", "192.0.2.1", 80), Found("a.example", "a.example", 81, weight=2.0)]
    assert asyncio.run(Static(Config(), targets).find()) == (targets, 300.0)


def test_there_are_no_settings() -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"ttl": "1s"})
