"""The promise of a discovery: the endpoints of an upstream, resolved off the data path in the control process."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Found(msgspec.Struct, frozen=True):
    """One endpoint found: the name as configured, the address to connect to."""

    host: str
    address: str
    port: int
    scheme: str = "http"
    weight: float = 1.0
    priority: int = 0
    zone: str = ""


class Discovery(Protocol):
    """Built once per upstream in control as ``Class(config, targets)``: *targets* are the upstream's, each a ``Found``
    whose address is still the host as written."""

    async def find(self) -> tuple[list[Found], float]:
        """The endpoints now, and the seconds after which to ask again (1-300)."""
