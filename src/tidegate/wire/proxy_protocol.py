"""PROXY protocol, versions 1 and 2: the line or block a balancer puts in front of a connection (S4.5)."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from tidegate.exchange.fault import CLIENT, Fault

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_SIZE: Final = 107
_V2_SIZE: Final = 16 + 4096
"""Addresses take 36 bytes, the rest is TLVs; senders stay far below 4 KiB."""
_V1: Final = re.compile(
    rb"PROXY (?:(TCP4) ([0-9.]{7,15}) ([0-9.]{7,15})|(TCP6) ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45}))"
    rb" (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
).fullmatch
_V1_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [ -~]*+)?\r\n").fullmatch


class Announced(NamedTuple):
    """What the header says.

    size              bytes it takes; the connection's own begin behind it
    ip, port          the client; ip "" when the sender speaks for itself or does not know (keep the socket's peer)
    local_ip, local_port   where the client connected to
    """

    size: int
    ip: str = ""
    port: int = 0
    local_ip: str = ""
    local_port: int = 0


def parse(data: bytes) -> Announced | None:
    """The header at the beginning of *data*, or None while it is not complete.

    Raises ``bad_request`` (``close`` set) as soon as *data* cannot be the beginning of one: the listener then closes
    without an answer (S4.5).
    """
    if data[:12] == _SIGNATURE[: len(data)]:
        return _parse_v2(data)
    if data[:6] == b"PROXY "[: len(data)]:
        return _parse_v1(data)
    raise _malformed()


def _parse_v1(data: bytes) -> Announced | None:
    end = data.find(b"\n", 0, _V1_SIZE)
    if end < 0:
        if len(data) >= _V1_SIZE:
            raise _malformed()
        return None
    line = data[: end + 1]
    match = _V1(line)
    if match is None:
        if _V1_UNKNOWN(line) is None:
            raise _malformed()
        return Announced(len(line))
    port, local_port = int(match[7]), int(match[8])
    if port > 65535 or local_port > 65535:
        raise _malformed()
    try:
        if match[1] is not None:
            ip = str(IPv4Address(match[2].decode()))
            local_ip = str(IPv4Address(match[3].decode()))
        else:
            ip = _v6(IPv6Address(match[5].decode()))
            local_ip = _v6(IPv6Address(match[6].decode()))
    except ValueError:
        raise _malformed() from None
    return Announced(len(line), ip, port, local_ip, local_port)


def _parse_v2(data: bytes) -> Announced | None:
    if len(data) > 12 and data[12] not in (0x20, 0x21):
        raise _malformed()
    if len(data) < 16:
        return None
    size = 16 + int.from_bytes(data[14:16], "big")
    if size > _V2_SIZE:
        raise _malformed()
    if len(data) < size:
        return None
    if data[12] == 0x20:
        # LOCAL: a health check of the balancer's own; whatever address is in it must be ignored.
        return Announced(size)
    family = data[13]
    if family == 0x11 and size >= 28:
        return Announced(
            size,
            str(IPv4Address(data[16:20])),
            int.from_bytes(data[24:26], "big"),
            str(IPv4Address(data[20:24])),
            int.from_bytes(data[26:28], "big"),
        )
    if family == 0x21 and size >= 52:
        return Announced(
            size,
            _v6(IPv6Address(data[16:32])),
            int.from_bytes(data[48:50], "big"),
            _v6(IPv6Address(data[32:48])),
            int.from_bytes(data[50:52], "big"),
        )
    if family == 0x00 or family == 0x31:
        return Announced(size)
    raise _malformed()


def _v6(address: IPv6Address) -> str:
    mapped = address.ipv4_mapped
    return str(address) if mapped is None else str(mapped)


def _malformed() -> Fault:
    return Fault("bad_request", "The PROXY header is malformed.", reason="bad_framing", side=CLIENT, close=True)
