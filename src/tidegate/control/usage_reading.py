"""Usage as only the ledgers themselves can tell it (C11.1): by user, prompt or tag, and at the prices of today.

The roll-ups of ``books_store`` answer everything else, at once. Reading takes some seconds a gigabyte, on a thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tidegate.control.books_store import DIMENSIONS, FIGURES, REMEMBERED, SPAN, hour_of
from tidegate.control.ledger_shipping import CHUNK, NAME, dimensions_of, figures_of
from tidegate.exchange.ledger import DoneLine, LedgerRecord
from tidegate.ports.models import ModelPlan, ModelsPlan, PriceRow
from tidegate.rules.pricing import cost_of
from tidegate.wire.ledger_line import LONGEST, decode_line, whole_lines

FINER: Final = ("user", "prompt", "tag")
"""What the roll-ups do not know; ``tag``: all tags of the caller, with commas."""
REPRICED: Final = ("repriced", "unpriced")
"""Figures of a report at other prices: n$, and calls for which there is no price today."""
LONGEST_CALL: Final = 86_400.0
"""Seconds: no segment holds a call that began earlier than so long before the segment."""
MOST: Final = 100_000
"""Rows told apart; what comes after them is added up in rows whose user, prompt and tag are ``_other``."""
OTHER: Final = "_other"

PriceOf = Callable[[LedgerRecord], PriceRow | None]


def read_usage(
    folder: Path, begin: str, end: str, by: Sequence[str], bucket: str, price_of: PriceOf | None = None
) -> list[dict[str, Any]]:
    """As ``books_store.BookStore.usage``, of calls whose end is in the ledgers that are kept. *by* may name
    :data:`FINER`, too; with *price_of* every row has the figures :data:`REPRICED`."""
    sums: dict[tuple[str, ...], list[int]] = {}
    span = SPAN[bucket]
    names = (*FIGURES, *(REPRICED if price_of is not None else ()))
    for record in records(folder, begin, end):
        known = dict(zip(DIMENSIONS, dimensions_of(record), strict=True))
        known.update(user=record.user, prompt=record.prompt, tag=",".join(record.tags))
        key = (hour_of(record.ts)[:span], *(known[name] for name in by))
        if key not in sums and len(sums) >= MOST:
            key = (key[0], *(OTHER if name in FINER else known[name] for name in by))
        figures = figures_of(record)
        if price_of is not None:
            figures += repriced(record, price_of)
        row = sums.setdefault(key, [0] * len(names))
        for number, figure in enumerate(figures):
            row[number] += figure
    cost = names.index("cost")
    ordered = sorted(sums.items(), key=lambda item: (item[0][0], -item[1][cost], item[0]))
    heads = ("at", *by)
    found = [{**dict(zip(heads, key, strict=True)), **dict(zip(names, row, strict=True))} for key, row in ordered]
    if not span:
        for each in found:
            del each["at"]
    return found


def repriced(record: LedgerRecord, price_of: PriceOf) -> list[int]:
    """n$ at the price of today, and 1 where there is none: then it is what was booked. What a pipeline's steps came to
    stands in their own records, and lost tries cost what they did."""
    if record.usage is None or not record.provider:
        return [max(0, record.cost), 0]
    price = price_of(record)
    if price is None:
        return [max(0, record.cost), 1]
    waste = sum(part.nusd for part in record.parts if part.name == "waste")
    return [cost_of(record.usage, price).nusd + waste, 0]  # type: ignore[arg-type]


def records(folder: Path, begin: str, end: str) -> Iterator[LedgerRecord]:
    """The records of all calls from hour *begin* to before hour *end*, each once. Raises ``OSError``."""
    first, last = moment(begin), moment(end)
    seen: dict[str, None] = {}
    for path in sorted(folder.glob("*.log")):
        if NAME(path.name) is None or started(path.name) > last + LONGEST_CALL:
            continue
        for raw in lines(path, first):
            if b'"done"' not in raw[:40]:
                continue
            line = decode_line(raw)
            if not isinstance(line, DoneLine) or not begin <= hour_of(line.record.ts) < end or line.record.id in seen:
                continue
            seen[line.record.id] = None
            if len(seen) > REMEMBERED:
                del seen[next(iter(seen))]
            yield line.record


def lines(path: Path, since: float) -> Iterator[bytes]:
    """The whole lines of a segment, none when nobody has written to it *since*, or it was kept long enough just now."""
    try:
        opened = path.open("rb", buffering=0)
    except FileNotFoundError:
        return
    with opened as file:
        if os.fstat(file.fileno()).st_mtime < since:
            return
        rest = b""
        while data := file.read(CHUNK):
            data = rest + data
            yield from whole_lines(data)
            rest = data[data.rfind(b"\n") + 1 :]
            if len(rest) > LONGEST:
                rest = b""


def moment(hour: str) -> float:
    """Seconds since the epoch of ``2026-11-21T22``."""
    return datetime.strptime(hour, "%Y-%m-%dT%H").replace(tzinfo=UTC).timestamp()


def started(name: str) -> float:
    """When the segment *name* was begun."""
    return datetime.strptime(name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def prices_of(models: ModelsPlan) -> PriceOf:
    """What a call would be booked at today, by the config that is served: the price of the target of its model, else of
    its provider's model; None where neither is known."""

    def price(record: LedgerRecord) -> PriceRow | None:
        plan = models.models.get(record.asked) or by_pattern(models, record.asked)
        for target in plan.targets if plan is not None else ():
            if target.provider.name == record.provider and target.model == record.model and target.price is not None:
                return target.price
        return models.facts.of(record.provider, record.model)[0]

    return price


def by_pattern(models: ModelsPlan, asked: str) -> ModelPlan | None:
    """The model whose pattern *asked* fits."""
    return next((plan for prefix, plan in models.patterns if asked.startswith(prefix)), None)
