"""The promise of a sink: it takes records and never blocks. Full queues drop and count (S26.12)."""

from __future__ import annotations

from typing import Protocol

from tidegate.exchange.record import Record


class Sink(Protocol):
    """Built once per worker as ``Class(config, tools)``; opened after the fork."""

    def write(self, record: Record) -> None:
        """Take one record; at most a list append on the hot path."""

    def flush(self) -> None:
        """Write out what waits; called each 100 ms by the wheel and at the end."""

    def close(self) -> None:
        """Flush and let go of files."""
