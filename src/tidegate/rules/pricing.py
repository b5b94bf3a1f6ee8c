"""What usage costs (LLM 10): counts times prices in whole n$, rounded once, never through a float.

A price is n$ per million of its unit. Also here: the most a call can cost, and n$ as dollars in text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from tidegate.exchange.chat import Usage
from tidegate.exchange.ledger import CostPart

SCALE: Final = 1_000_000_000
"""Sums are kept in billionths of a n$: a price is per million, and seconds are counted in milliseconds."""
DOLLAR: Final = 1_000_000_000
LONG_LIVED: Final = 300
"""Seconds: what is cached for longer is written at the price of ``cache_write_1h``, where there is one."""
MOST: Final = 1_000_000_000_000
"""No count of a single call is larger; a larger one is cut to this, and flagged."""
DEAREST: Final = 10**18
"""n$: no call is set aside more for, so that sums fit the integers of messages and stores."""


class Tier(Protocol):
    """``ports/models.PriceTier``."""

    @property
    def above(self) -> int: ...
    @property
    def price(self) -> int: ...


class Prices(Protocol):
    """``ports/models.PriceRow``."""

    @property
    def units(self) -> dict[str, int]: ...
    @property
    def tiers(self) -> dict[str, tuple[Tier, ...]]: ...
    @property
    def services(self) -> Mapping[str, Any]: ...
    @property
    def per_request(self) -> int: ...
    @property
    def free(self) -> bool: ...


class Cost(NamedTuple):
    """``nusd`` is the sum of ``parts``. ``flags``: ``usage_negative`` (a count was below zero, or its parts were more
    than the whole), ``usage_huge``."""

    nusd: int
    parts: tuple[CostPart, ...] = ()
    flags: tuple[str, ...] = ()


FREE: Final = Cost(0)


class _Bill:
    """Lines of one bill: (name, quantity, billionths of n$)."""

    def __init__(self, prices: Prices, read: int) -> None:
        self.prices: Prices = prices
        self.units: dict[str, int] = prices.units
        self.read: int = read
        self.lines: list[tuple[str, int, int]] = []
        self.flags: list[str] = []

    def flag(self, name: str) -> None:
        if name not in self.flags:
            self.flags.append(name)

    def count(self, value: int) -> int:
        """*value*, if it can be true."""
        if value < 0:
            self.flag("usage_negative")
            return 0
        if value > MOST:
            self.flag("usage_huge")
            return MOST
        return value

    def add(self, name: str, quantity: int, share: int = 1000) -> None:
        """*share*: thousandths of the unit that one of *quantity* is."""
        if quantity > 0:
            self.lines.append((name, quantity, quantity * price_at(self.prices, name, self.read) * share))

    def apart(self, name: str, quantity: int) -> int:
        """Bill *quantity* under *name* if that has a price of its own; how much of the whole that takes away."""
        if quantity == 0 or name not in self.units:
            return 0
        self.add(name, quantity)
        return quantity

    def rest(self, name: str, quantity: int) -> None:
        """Bill what is left of a whole."""
        self.add(name, self.count(quantity))


def price_at(prices: Prices, unit: str, read: int) -> int:
    """n$ per million of *unit* in a call that reads *read* tokens; 0 for a unit without a price."""
    price = prices.units.get(unit, 0)
    if prices.tiers:
        reached = -1
        for tier in prices.tiers.get(unit, ()):
            if reached < tier.above < read:
                reached = tier.above
                price = tier.price
    return price


def cost_of(usage: Usage, prices: Prices) -> Cost:
    """What *usage* costs. Counts of a kind that has no price of its own stay in the whole they are part of: cached
    input costs as input, thinking as output."""
    if prices.free:
        return FREE
    if usage.tier and prices.services:
        prices = prices.services.get(usage.tier, prices)
    if not prices.tiers and not prices.per_request and _is_plain(usage):
        return _plain(usage.input, usage.output, prices.units)
    read = max(0, usage.input)
    bill = _Bill(prices, read)
    whole = bill.count(usage.input)
    if usage.cache_read:
        whole -= bill.apart("cache_read", bill.count(usage.cache_read))
    if usage.cache_write or usage.cache_write_by_ttl:
        whole -= _written(bill, usage)
    if usage.audio_in:
        whole -= bill.apart("audio_in", bill.count(usage.audio_in))
    if usage.image_in:
        whole -= bill.apart("image_in", bill.count(usage.image_in))
    bill.rest("input", whole)

    whole = bill.count(usage.output)
    if usage.thinking:
        whole -= bill.apart("thinking", bill.count(usage.thinking))
    if usage.audio_out:
        whole -= bill.apart("audio_out", bill.count(usage.audio_out))
    if usage.image_out:
        whole -= bill.apart("image_out", bill.count(usage.image_out))
    bill.rest("output", whole)

    if usage.characters or usage.ms_in or usage.ms_out or usage.images or usage.searches or usage.tool_calls:
        _fees(bill, usage)
    if prices.per_request:
        requests = bill.count(usage.requests)
        if requests:
            bill.lines.append(("requests", requests, requests * prices.per_request * SCALE))
    return _rounded(bill)


def _is_plain(usage: Usage) -> bool:
    """Tokens in, tokens out and nothing else, as most calls are."""
    return (
        0 <= usage.input <= MOST and 0 <= usage.output <= MOST
        and not (usage.cache_read or usage.cache_write or usage.cache_write_by_ttl or usage.thinking)
        and not (usage.audio_in or usage.image_in or usage.audio_out or usage.image_out)
        and not (usage.characters or usage.ms_in or usage.ms_out or usage.images or usage.searches or usage.tool_calls)
    )  # fmt: skip


def _plain(read: int, written: int, units: dict[str, int]) -> Cost:
    """The bill of ``_rounded`` for two lines at most."""
    first = read * units.get("input", 0) * 1000
    second = written * units.get("output", 0) * 1000
    cost = (first + second + SCALE // 2) // SCALE
    if not written:
        return Cost(cost, (CostPart("input", read, cost),) if read else ())
    if not read:
        return Cost(cost, (CostPart("output", written, cost),))
    if first >= second:
        part = second // SCALE
        return Cost(cost, (CostPart("input", read, cost - part), CostPart("output", written, part)))
    part = first // SCALE
    return Cost(cost, (CostPart("input", read, part), CostPart("output", written, cost - part)))


def _written(bill: _Bill, usage: Usage) -> int:
    """Bill what was written to the provider's cache, by how long it stays; how much of the input that is."""
    written = bill.count(usage.cache_write)
    lasting = 0
    if "cache_write_1h" in bill.units:
        for seconds, tokens in usage.cache_write_by_ttl:
            if seconds > LONG_LIVED:
                lasting += bill.count(tokens)
    return bill.apart("cache_write_1h", lasting) + bill.apart("cache_write", max(0, written - lasting))


def _fees(bill: _Bill, usage: Usage) -> None:
    """Bill what is not counted in tokens, as far as it has a price."""
    units = bill.units
    if "characters" in units:
        bill.add("characters", bill.count(usage.characters))
    if "seconds_in" in units:
        bill.add("seconds_in", bill.count(usage.ms_in), 1)
    if "seconds_out" in units:
        bill.add("seconds_out", bill.count(usage.ms_out), 1)
    if "images" in units:
        bill.add("images", bill.count(usage.images))
    searches = bill.count(usage.searches)
    called = 0
    for name, calls in usage.tool_calls:
        unit = f"tool:{name}"
        if unit in units:
            bill.add(unit, bill.count(calls))
        elif "search" in name:
            called += bill.count(calls)
    if "searches" in units:
        bill.add("searches", searches or called)


def _rounded(bill: _Bill) -> Cost:
    """Round the sum once, half up; the largest part takes what rounding leaves."""
    lines = bill.lines
    total = 0
    largest = -1
    most = -1
    for number, (_, _, amount) in enumerate(lines):
        total += amount
        if amount > most:
            most = amount
            largest = number
    cost = (total + SCALE // 2) // SCALE
    left = cost
    for _, _, amount in lines:
        left -= amount // SCALE
    parts = tuple([
        CostPart(name, quantity, amount // SCALE + (left if number == largest else 0))
        for number, (name, quantity, amount) in enumerate(lines)
    ])  # fmt: skip
    return Cost(cost, parts, tuple(bill.flags))


_READ_UNITS: Final = ("input", "cache_read")
_WRITTEN_UNITS: Final = ("cache_write", "cache_write_1h")
_MEDIA_IN: Final = ("audio_in", "image_in")
_OUT_UNITS: Final = ("output", "thinking")
_MEDIA_OUT: Final = ("audio_out", "image_out")
_NOTHING: Final = Usage(requests=1)


def reserve_of(
    prices: Prices,
    read: int,
    written: int,
    n: int = 1,
    *,
    cache_writes: bool = True,
    media: bool = True,
    other: Usage = _NOTHING,
    tier: str = "",
) -> int:
    """The most n$ that a call may cost: *read* tokens at the dearest input price within reach, *written* times *n* at
    the dearest output price, and fees.

    cache_writes  may it write to the provider's cache, which costs more than reading?
    media         may it read or make audio or images?
    other         bounds of what is not counted in tokens (characters, milliseconds, images, searches, tool calls)
    tier          the service tier that is asked for; with "auto" any of them may be given
    """
    if prices.free:
        return 0
    if tier and prices.services:
        rows = [prices, *prices.services.values()] if tier == "auto" else [prices.services.get(tier, prices)]
        if rows != [prices]:
            return max(
                [reserve_of(row, read, written, n, cache_writes=cache_writes, media=media, other=other) for row in rows]
            )
    inward = _READ_UNITS + (_WRITTEN_UNITS if cache_writes else ()) + (_MEDIA_IN if media else ())
    outward = _OUT_UNITS + (_MEDIA_OUT if media else ())
    total = (read * _dearest(prices, inward, read) + written * n * _dearest(prices, outward, read)) * 1000
    if other is not _NOTHING:
        fees = _Bill(prices, read)
        _fees(fees, other)
        for _, _, amount in fees.lines:
            total += amount
    return min(-(-total // SCALE) + prices.per_request * max(1, other.requests), DEAREST)


def _dearest(prices: Prices, units: Sequence[str], read: int) -> int:
    """The highest price of *units* in any call that reads at most *read* tokens."""
    dearest = 0
    for unit in units:
        price = prices.units.get(unit)
        if price is None:
            continue
        dearest = max(dearest, price)
        if prices.tiers:
            for tier in prices.tiers.get(unit, ()):
                if tier.above < read:
                    dearest = max(dearest, tier.price)
    return dearest


def dollars(nusd: int) -> str:
    """n$ as decimal text in USD, exact: ``0.0125``."""
    whole, part = divmod(abs(nusd), DOLLAR)
    sign = "-" if nusd < 0 else ""
    if not part:
        return f"{sign}{whole}"
    digits = f"{part:09d}".rstrip("0")
    return f"{sign}{whole}.{digits}"
