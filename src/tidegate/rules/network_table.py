"""Something known about networks, found by address: the longest prefix counts, at one dict access a prefix length."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Generic, TypeVar

T = TypeVar("T")


class NetworkTable(Generic[T]):
    __slots__ = ("_by_length",)

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        """*entries*: (CIDR, value). Raises ``ValueError`` for text that is no network."""
        tables: dict[tuple[int, int], dict[int, T]] = {}
        for text, value in entries:
            network = ip_network(text)
            shift = network.max_prefixlen - network.prefixlen
            tables.setdefault((network.version, shift), {})[int(network.network_address) >> shift] = value
        self._by_length = sorted(tables.items(), key=_shift)

    def find(self, address: str) -> T | None:
        """The value of the longest network that holds *address*; None for none, and for text that is no address."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return None
        version, number = parsed.version, int(parsed)
        for (table_version, shift), table in self._by_length:
            if table_version == version:
                value = table.get(number >> shift)
                if value is not None:
                    return value
        return None


def _shift(entry: tuple[tuple[int, int], object]) -> int:
    return entry[0][1]
