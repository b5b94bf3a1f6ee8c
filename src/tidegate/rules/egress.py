"""Where the gateway may go when somebody else names the place (S16.8, RELIABILITY E2): a link of a client's, say.

A link is read by one strict grammar. What it leaves out has been read in two ways by somebody: user names, backslashes,
odd spellings of numbers, names without a dot, ports other than the schemes' own.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

from tidegate.exchange.fault import CLIENT, Fault

LONGEST: Final = 4096
"""Characters of a link."""

_LINK: Final = re.compile(
    r"(https?)://([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?(/[!$-;=?-\[\]_a-z~]*)?"
    r"(?:\?([!$-;=?-\[\]_a-z~]*))?(?:#[!-~]*)?"
).fullmatch
_NAME: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?").fullmatch
_PORTS: Final = {"http": 80, "https": 443}

_TRANSLATED: Final = (
    IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"), IPv6Network("2002::/16"), IPv6Network("2001::/23"),
    IPv6Network("::ffff:0:0/96"), IPv6Network("::/96"),
)  # fmt: skip
"""Addresses of one family that stand for those of the other, and such as hide another in them."""
_UNICAST: Final = IPv6Network("2000::/3")
_RELAYS: Final = IPv4Network("192.88.99.0/24")


class Link(NamedTuple):
    """``target``: path and query as they are sent."""

    scheme: str
    host: str
    port: int
    target: str


def link_of(url: str, hosts: tuple[str, ...] = ()) -> Link:
    """*url* taken apart. *hosts*: those that are allowed, ``*.example.com`` for all below; (): any. Raises
    ``egress_denied``."""
    found = _LINK(url) if len(url) <= LONGEST else None
    if found is None:
        raise denied()
    scheme, host, port, path, query = found.groups()
    host = host.lower()
    if host.startswith("["):
        host = host[1:-1]
        if not is_public(host):
            raise denied()
    elif _NAME(host) is None and not is_public(host):
        raise denied()
    if port is not None and int(port) != _PORTS[scheme]:
        raise denied()
    if hosts and not any(_matches(host, allowed) for allowed in hosts):
        raise denied()
    return Link(scheme, host, _PORTS[scheme], (path or "/") + (f"?{query}" if query is not None else ""))


def is_name(host: str) -> bool:
    """Whether *host* of a link has to be looked up."""
    return _NAME(host) is not None


def checked(addresses: list[str]) -> str:
    """The one of *addresses* (of one name) to connect to. One bad address refuses the name: which of them is used must
    not be somebody's choice. Raises ``egress_denied``."""
    if not addresses or not all(is_public(address) for address in addresses):
        raise denied()
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether *address* is one of the public Internet, in plain spelling."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if found.is_multicast or not found.is_global:
        return False
    if isinstance(found, IPv4Address):
        return found not in _RELAYS and not found.is_reserved
    assert isinstance(found, IPv6Address)
    return found in _UNICAST and not any(found in network for network in _TRANSLATED)


def _matches(host: str, allowed: str) -> bool:
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed


def denied() -> Fault:
    """What is said of a forbidden place: nothing about it."""
    return Fault("egress_denied", "The gateway does not fetch from there.", side=CLIENT)
