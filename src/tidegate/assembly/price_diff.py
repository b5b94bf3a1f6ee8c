"""The prices of a config beside a second table (LLM 10): where they differ, somebody should look. Nothing is fetched.

The second table is one JSON object as LiteLLM publishes it: name of a model -> prices in US dollars a token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, NamedTuple

from tidegate.assembly.check import Checked
from tidegate.assembly.prices import NUSD, nusd
from tidegate.ports.models import PriceRow, ProviderPlan
from tidegate.rules.pricing import dollars

LARGEST: Final = 64 << 20
"""Bytes of a table."""
MILLION: Final = 1_000_000
UNITS: Final = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "output_cost_per_reasoning_token": "thinking",
    "input_cost_per_audio_token": "audio_in",
    "output_cost_per_audio_token": "audio_out",
}
"""Member of the table -> our unit."""

Table = dict[str, dict[str, int]]
"""Name in lower case -> unit -> n$ per million."""


class Difference(NamedTuple):
    """*ours* and *theirs* in n$ per million."""

    provider: str
    model: str
    unit: str
    ours: int
    theirs: int


class Compared(NamedTuple):
    """``missing``: models of the config that the second table does not price."""

    models: int
    missing: int
    differences: list[Difference]


def read_table(path: Path) -> Table:
    """The second table. Raises ``OSError``, and ``ValueError`` for what is no such table."""
    if path.stat().st_size > LARGEST:
        raise ValueError("the table is larger than 64 MiB")
    try:
        document = json.loads(path.read_bytes(), parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError, InvalidOperation):
        raise ValueError("the table is not JSON") from None
    if not isinstance(document, dict):
        raise ValueError("the table is not an object of models")
    found = {name.lower(): units for name, row in document.items() if (units := _units(row))}
    if not found:
        raise ValueError("the table has no model with input_cost_per_token")
    return found


def _units(row: Any) -> dict[str, int]:
    if not isinstance(row, dict):
        return {}
    prices = ((unit, row.get(member)) for member, unit in UNITS.items())
    return {
        unit: nusd(price * MILLION)
        for unit, price in prices
        if isinstance(price, Decimal) and price.is_finite() and 0 <= price < NUSD
    }


def compare(checked: Checked, table: Table) -> Compared:
    """Every model that the config can ask for at a price, beside *table*."""
    models = missing = 0
    differences: list[Difference] = []
    for provider, model, price in priced(checked):
        models += 1
        theirs = _row(provider, model, table)
        if theirs is None:
            missing += 1
            continue
        for unit in UNITS.values():
            if unit in price.units and unit in theirs and price.units[unit] != theirs[unit]:
                differences.append(Difference(provider.name, model, unit, price.units[unit], theirs[unit]))
    return Compared(models, missing, differences)


def priced(checked: Checked) -> Iterator[tuple[ProviderPlan, str, PriceRow]]:
    """(provider, its name for the model, price), each once; what a pattern stands for by the names that are known."""
    plan = checked.built.plan.models
    if plan is None:
        return
    seen: set[tuple[str, str]] = set()
    for model in [*plan.models.values(), *[found for _, found in plan.patterns]]:
        for target in model.targets:
            provider = target.provider
            for name in (target.model,) if target.model else plan.facts.names(provider.name):
                price = target.price if target.model else plan.facts.of(provider.name, name)[0]
                if price is not None and not price.free and (provider.name, name) not in seen:
                    seen.add((provider.name, name))
                    yield provider, name, price


def _row(provider: ProviderPlan, model: str, table: Table) -> dict[str, int] | None:
    """The table names some models alone and some with a vendor before."""
    for name in (f"{provider.vendor}/{model}", f"{provider.name}/{model}", model):
        found = table.get(name.lower())
        if found is not None:
            return found
    return None


def report(compared: Compared) -> str:
    """For a person; US dollars per million."""
    lines = [
        f"{each.provider} {each.model}  {each.unit}: {dollars(each.ours)} here, {dollars(each.theirs)} there"
        for each in compared.differences
    ]
    lines.append(
        f"{compared.models} models compared, {len(compared.differences)} prices differ;"
        f" {compared.missing} models are not in the second table."
    )
    return "\n".join(lines)
