"""Who the client is, and what we tell the next hop about it (S4.4, S4.5).

Forwarding fields count only from configured proxies: from anyone else they are removed, and the socket's peer is the
client. Whatever the chain says, the address used by limits, lists and hashing is the one computed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from tidegate.exchange.exchange import Peer
from tidegate.exchange.head import Fields

FORWARDING: Final = frozenset(
    {
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-server",
        "x-forwarded-by",
        "x-forwarded-ssl",
        "x-forwarded-scheme",
        "x-forwarded-path",
        "x-forwarded-uri",
        "x-forwarded-client-cert",
        "x-original-forwarded-for",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "client-cert",
        "client-cert-chain",
    }
)
"""Removed when the peer is not trusted (S4.4, S7.15)."""

MADE: Final = frozenset({"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"})
"""Always set by us, from whomever the request came (S4.5)."""

_MAX_HOPS: Final = 32
_CACHED: Final = 4096
_PORT: Final = re.compile(r"[0-9]{1,5}").fullmatch
_BRACKETED: Final = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?").fullmatch
_V4_PORT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3}){3}):[0-9]{1,5}").fullmatch
_FORWARDED_ELEMENT: Final = re.compile(r'((?:[^",]|"(?:[^"\\]|\\.)*+")*+)(,|$)')
_FORWARDED_PAIR: Final = re.compile(r'[ \t]*([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*+)"|([^";, \t]*+))[ \t]*(?:;|$)')


def plain_address(text: str) -> str:
    """The address in *text* (``1.2.3.4``, ``1.2.3.4:80``, ``::1``, ``[::1]:80``) in its shortest form, IPv4-mapped
    IPv6 unmapped; "" when there is none."""
    match = _BRACKETED(text) or _V4_PORT(text)
    if match is not None:
        text = match[1]
    if "%" in text:
        return ""
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.compressed


class TrustedProxies:
    """The networks in ``trusted_proxies``. Remembers its answers for up to 4,096 addresses."""

    __slots__ = ("_answers", "_networks")

    def __init__(self, cidrs: Iterable[str] = ()) -> None:
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(ip_network(c, strict=False) for c in cidrs)
        self._answers: dict[str, bool] = {}

    def trusts(self, ip: str) -> bool:
        """Is *ip* the address of a trusted proxy? False for anything that is no address."""
        if not self._networks:
            return False
        answer = self._answers.get(ip)
        if answer is None:
            if len(self._answers) >= _CACHED:
                self._answers.clear()
            answer = self._answers[ip] = self._look(ip)
        return answer

    def _look(self, ip: str) -> bool:
        plain = plain_address(ip)
        if not plain:
            return False
        address = ip_address(plain)
        return any(address in network for network in self._networks)


def client_address(peer_ip: str, index: Mapping[str, str], source: str, trusted: TrustedProxies) -> str:
    """The client's address (S4.4).

    *source* is ``x-forwarded-for``, ``forwarded``, ``field:NAME`` or ``right:N`` (the N-th entry of
    ``x-forwarded-for`` from the right, 1 being the last). The chain is walked from the right past trusted addresses;
    an element that is no address, or the 33rd, stops the walk at the last good hop.
    """
    if not trusted.trusts(peer_ip):
        return _unmapped(peer_ip)
    if source.startswith("field:"):
        return plain_address(index.get(source[6:].lower(), "").strip(" \t")) or _unmapped(peer_ip)
    if source == "forwarded":
        chain = _forwarded_chain(index.get("forwarded", ""))
    else:
        value = index.get("x-forwarded-for", "")
        chain = [e.strip(" \t") for e in value.rsplit(",", _MAX_HOPS)[-_MAX_HOPS:]] if value else []
    if source.startswith("right:"):
        place = int(source[6:])
        return (plain_address(chain[-place]) if 0 < place <= len(chain) else "") or _unmapped(peer_ip)
    client = _unmapped(peer_ip)
    for element in reversed(chain):
        address = plain_address(element)
        if not address:
            return client
        client = address
        if not trusted.trusts(address):
            return client
    return client


def _unmapped(ip: str) -> str:
    return plain_address(ip) if ":" in ip else ip


def _forwarded_chain(value: str) -> list[str]:
    """The ``for`` of each RFC 7239 element, "" where it is missing or obfuscated; at most the last 32."""
    chain: list[str] = []
    position = 0
    while position < len(value):
        match = _FORWARDED_ELEMENT.match(value, position)
        if match is None:
            return [""]
        chain.append(_forwarded_for(match[1]))
        position = match.end()
    return chain[-_MAX_HOPS:]


def _forwarded_for(element: str) -> str:
    position = 0
    found = ""
    while position < len(element):
        match = _FORWARDED_PAIR.match(element, position)
        if match is None:
            return ""
        if match[1].lower() == "for":
            found = match[2] if match[2] is not None else match[3]
        position = match.end()
    return found


def forwarding_fields(
    peer: Peer, index: Mapping[str, str], host: str, port: int, forwarded: bool = False, by: str = ""
) -> Fields:
    """``x-forwarded-for``, ``-proto``, ``-host``, ``-port``, and ``forwarded`` when asked for (S4.5).

    *host* and *port* are what the client asked for, port 0 when it named none. A trusted peer's chain is continued
    and what it says about scheme, host and port is kept; of anyone else nothing is. *by* is our name in
    ``forwarded``.
    """
    address = peer.peer_ip
    scheme = peer.scheme
    shown_host = f"{host}:{port}" if port else host
    shown_port = str(peer.local_port)
    chain = address
    if peer.trusted:
        if "x-forwarded-for" in index:
            chain = f"{index['x-forwarded-for']}, {address}"
        said = index.get("x-forwarded-proto", "")
        if said == "http" or said == "https":
            scheme = said
        shown_host = index.get("x-forwarded-host") or shown_host
        said = index.get("x-forwarded-port", "")
        if _PORT(said) is not None:
            shown_port = said
    fields: Fields = [
        ("x-forwarded-for", chain),
        ("x-forwarded-proto", scheme),
        ("x-forwarded-host", shown_host),
        ("x-forwarded-port", shown_port),
    ]
    if forwarded:
        node = f'"[{address}]"' if ":" in address else address
        element = f'for={node};host="{host}:{port}"' if port else f'for={node};host="{host}"'
        element += f";proto={peer.scheme}"
        if by:
            element += f";by=_{by}"
        before = index.get("forwarded") if peer.trusted else None
        fields.append(("forwarded", f"{before}, {element}" if before else element))
    return fields
