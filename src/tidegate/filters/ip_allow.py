"""``{use: ip_allow}``: which client addresses may call (S8.1). The address is the one S4.4 decided."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.ports.tools import Tools

REMEMBERED: Final = 4096
"""Decisions remembered by one filter: a network test costs 1 µs a list entry, a remembered one 0.1 µs."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(text: str) -> str:
    ipaddress.ip_network(text, strict=True)
    return text


Cidr = Annotated[str, AfterValidator(_network)]


class Config(BaseModel):
    """Settings of ``ip_allow``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow: tuple[Cidr, ...] = Field(
        default=(),
        max_length=10_000,
        description="Addresses or networks (CIDR) that may call. When empty, all may that `deny` does not name.",
    )
    deny: tuple[Cidr, ...] = Field(
        default=(), max_length=10_000, description="Addresses or networks (CIDR) that may not call. Wins over `allow`."
    )
    shadow: bool = Field(default=False, description="Decide, count and log, but let everybody pass.")

    @model_validator(mode="after")
    def _says_something(self) -> Config:
        if not self.allow and not self.deny:
            raise ValueError("name at least one network in allow or deny")
        return self


class IpAllow:
    """Deny wins; with an allow list, what is not on it is denied."""

    stage = "ip"
    stepped = True

    def __init__(self, config: Config, tools: Tools) -> None:
        self._allow = [ipaddress.ip_network(text) for text in config.allow]
        self._deny = [ipaddress.ip_network(text) for text in config.deny]
        self._shadow = config.shadow
        self._denied = tools.counter("auth_total", method="ip", outcome="would_deny" if config.shadow else "refused")
        self._log = tools.log
        self._decided: dict[str, bool] = {}

    def on_request_head(self, x: Exchange) -> None:
        allowed = self._decided.get(x.client_ip)
        if allowed is None:
            allowed = self._decide(x.client_ip)
            if len(self._decided) >= REMEMBERED:
                self._decided.clear()
            self._decided[x.client_ip] = allowed
        if allowed:
            return
        self._denied(1)
        if self._shadow:
            self._log("info", "ip_allow would deny", route=x.route, client_ip=x.client_ip)
            return
        raise Fault("forbidden", "This address may not call.", reason="ip_denied", side=CLIENT)

    def _decide(self, client_ip: str) -> bool:
        try:
            address = ipaddress.ip_address(client_ip)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self._deny):
            return False
        return not self._allow or any(address in network for network in self._allow)
