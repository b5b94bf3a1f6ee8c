"""The money of batches (LLM 7): a provider bills them when they are over, and tells what they used when it is asked.

The first poll that tells of it books it, under an id that is the batch's own: control counts that once, whoever polls.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.choosing import Candidate
from tidegate.exchange.ledger import LedgerRecord
from tidegate.ports.models import PriceRow
from tidegate.rules.batch_objects import MARK, EndedBatch, batch_id, batch_name, booked_at, ended_batches
from tidegate.rules.pricing import cost_of

TOLD: Final = 4096
"""Batches that a worker remembers as booked; a line more does no harm."""


async def heed_batches(call: ModelCall, candidate: Candidate, body: bytes) -> None:
    """*body* tells of batches: book those that are over. Raises ``ledger_unavailable``."""
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    provider = candidate.target.provider.name
    id = batch_id(answer)
    if id and call.account is not None:
        call.account.batch = batch_name(provider, id)
    told = call.runtime.models.batches
    for batch in ended_batches(answer):
        name = batch_name(provider, batch.id)
        if name in told:
            continue
        await _book(call, provider, name, batch)
        if len(told) >= TOLD:
            del told[next(iter(told))]
        told[name] = None


async def _book(call: ModelCall, provider: str, name: str, batch: EndedBatch) -> None:
    """The line of one batch. Whose it is, control knows from the call that made it, if that came by here: else it is
    the asker's."""
    runtime = call.runtime
    books = runtime.tools.books
    if books is None:
        return
    now = runtime.wall()
    caller = call.caller
    identity = call.x.identity
    record = LedgerRecord(
        id=MARK + name,
        ts=booked_at(batch.ended, now),
        tenant=caller.tenant,
        team=caller.team,
        consumer=caller.consumer,
        key_id=identity.key_id if identity is not None else "",
        route=call.route.name,
        surface="batches",
        dialect=call.surface.dialect,
        asked=batch.model,
        provider=provider,
        model=batch.model,
        tier="batch",
        usage=batch.usage,
        request_id=call.x.request_id,
        batch=name,
    )
    price = price_of(call, provider, batch.model)
    if price is None:
        record.flags = ("price_unknown",)
        runtime.log("error", "batch_unpriced", batch=name, model=batch.model,
                    fix="name the model's price at its target or provider")  # fmt: skip
    else:
        cost = cost_of(batch.usage, price)  # type: ignore[arg-type]
        record.cost, record.parts, record.flags, record.price_id = cost.nusd, cost.parts, cost.flags, price.id
    reserved: Any = books.reserve(record.id, (), 0, batch.model, now)
    if not hasattr(reserved, "settle"):  # compiled coroutines have no type
        reserved = await reserved
    work = reserved.settle(record)
    if work is not None:
        await work


def price_of(call: ModelCall, provider: str, model: str) -> PriceRow | None:
    """What *model* costs at *provider*: as a target of ours says, else as the table does."""
    if not model:
        return None
    for plan in call.models.models.values():
        for target in plan.targets:
            if target.provider.name == provider and target.model == model and target.price is not None:
                return target.price
    return call.models.facts.of(provider, model)[0]
