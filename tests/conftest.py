"""Makes ``tests/fakes.py`` importable as ``fakes`` from every twin, and lets the quick rooms go first."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

settings.register_profile(
    "tidegate",
    deadline=None,
    derandomize="TIDEGATE_EXPLORE" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tidegate")
"""The same examples in every run, so that a failure is of the change that it comes with; ``TIDEGATE_EXPLORE=1`` looks
for others. How long an example takes says what else runs on the machine, not whether the code is right."""

LAST = ("control", "real", "abuse")
"""Folders whose tests start processes: a mistake in a decision is shown before they begin."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        room = item.path.relative_to(HERE).parts[0]
        return LAST.index(room) if room in LAST else -1

    items.sort(key=turn)
