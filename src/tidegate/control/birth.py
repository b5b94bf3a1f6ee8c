"""What control begins with, and why it may not begin at all."""

from __future__ import annotations

from pathlib import Path

from tidegate.control.channel import Channel


class Birth:
    """What the supervisor gives control. *fresh*: the gateway is starting, so a bad config ends it."""

    def __init__(
        self, config: Path, data: Path | None, workers: int | None, fresh: bool, test_profile: bool, channel: Channel
    ) -> None:
        self.config = config
        self.data = data
        self.workers = workers
        self.fresh = fresh
        self.test_profile = test_profile
        self.channel = channel


class CannotStart(Exception):
    """Why the gateway does not start; ``code`` is what it exits with."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code
