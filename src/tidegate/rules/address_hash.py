"""Hashing by client address as nginx does (S11.4), so that a fleet can be moved without moving its clients."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Final

START: Final = 89
TRIES: Final = 20


def significant(address: str) -> bytes:
    """What of an address counts: three octets of IPv4, 64 bits of IPv6 (hosts rotate the rest); b"" for text that is
    no address."""
    try:
        if ":" in address:
            whole = IPv6Address(address.partition("%")[0])
            mapped = whole.ipv4_mapped
            return mapped.packed[:3] if mapped is not None else whole.packed[:8]
        octets = address.split(".")
        return bytes([int(octet) for octet in octets[:3]]) if len(octets) == 4 else b""
    except ValueError:
        return b""


def rehash(number: int, part: bytes) -> int:
    """The next number after *number* (``START`` at first) for an address whose significant part is *part*."""
    for octet in part:
        number = (number * 113 + octet) % 6271
    return number


def shares(weights: Sequence[float]) -> list[int]:
    """Weights as the whole numbers that the formula needs; fractions count in hundredths."""
    if all(weight == int(weight) for weight in weights):
        return [int(weight) for weight in weights]
    return [round(weight * 100) for weight in weights]


def place(number: int, weights: Sequence[int], total: int) -> int:
    """Which member *number* falls on: ``number mod total``, counted along the weights."""
    left = number % total
    for index, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return index
    raise ValueError("total is the sum of weights")
