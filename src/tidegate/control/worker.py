"""A worker's body: everything around the engine that lives as long as the process.

Opened after the fork, in this order: loop, generation, engine, then the link. A worker starts and serves without
control; it watches the supervisor's channel and drains when that ends (ARCHITECTURE 1).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

import uvloop

from tidegate.assembly.build import Builder
from tidegate.assembly.consumers import WorkerConsumers
from tidegate.authorities.local import LocalLimits
from tidegate.control.channel import Channel
from tidegate.control.data_folder import DataFolder
from tidegate.control.link import LinkClient, Message
from tidegate.control.listening import adopt
from tidegate.engine.engine import Engine
from tidegate.engine.segment import Segment
from tidegate.engine.tools import EngineTools
from tidegate.ports.plan import Plan

SLICE: Final = 0.005
"""Seconds a plan is built in one go between two turns of the loop (ARCHITECTURE 11)."""
BEAT: Final = 0.25
"""Seconds between heartbeats; the watchdog waits for sixteen of them."""
REPORT: Final = 1.0
"""Seconds between reports (C8.4)."""
LOOK: Final = 0.05
"""Seconds between two looks at what is still in flight while draining."""


class Birth:
    """What the supervisor gives a worker."""

    def __init__(
        self,
        row: int,
        workers: int,
        generation: int,
        folder: DataFolder,
        config_folder: Path,
        sockets: dict[str, socket.socket],
        segment: Segment | None,
        refused: list[int],
        test_profile: bool,
        channel: Channel,
    ) -> None:
        self.row = row
        self.workers = workers
        self.generation = generation
        self.folder = folder
        self.config_folder = config_folder
        self.sockets = sockets
        self.segment = segment
        self.refused = refused
        self.test_profile = test_profile
        self.channel = channel


def serve(birth: Birth) -> int:
    """Be a worker until the end; the exit code."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(Worker(birth).run())
    finally:
        loop.close()


def rehearse(folder: DataFolder) -> int:
    """Load and build the newest generation without serving it: what a new program must be able to do before an
    upgrade. 0, or 1 with the reason on stderr."""
    raise NotImplementedError(folder)
