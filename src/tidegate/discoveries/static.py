"""``{use: static}``: the targets as they are written; names are left to the connection."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from tidegate.ports.discovery import Found


class Config(BaseModel):
    """``static`` has no settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Static:
    """Nothing to find: what is written is what there is."""

    def __init__(self, config: Config, targets: Sequence[Found]) -> None:
        self._targets = list(targets)

    async def find(self) -> tuple[list[Found], float]:
        return list(self._targets), 300.0
