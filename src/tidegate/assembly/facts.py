"""What is known of models by name, as data that travels in a generation: prices, windows, and how names are matched.

Control reads the table of prices (``assembly/prices``); a worker gets the rows of its providers with their match
clauses and never imports that package (DEPENDENCIES 2, rule 6). Operator overrides win before anybody asks here.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from tidegate.ports.models import CatalogueRow, PriceRow, PriceTier
from tidegate.rules.tokenizers import tokenizer_of

REMEMBERED: Final = 4096
"""Names remembered; more than any config and its clients ask for."""
LONGEST_NAME: Final = 200
"""Characters of a name that is matched at all."""


class Clause(msgspec.Struct, frozen=True, array_like=True):
    """``op`` ``is begins ends contains regex`` with ``text``; ``any`` and ``all`` with ``of``."""

    op: Literal["is", "begins", "ends", "contains", "regex", "any", "all"]
    text: str = ""
    of: tuple[Clause, ...] = ()


class Fact(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model of one provider. ``units``: n$ per million; ``tiers``: unit -> (above, price) pairs; ``services``:
    service tier -> units that differ there."""

    id: str
    match: Clause
    units: dict[str, int] = {}
    tiers: dict[str, tuple[tuple[int, int], ...]] = {}
    services: dict[str, dict[str, int]] = {}
    request: int = 0
    window: int = 0


class FactTable(msgspec.Struct, frozen=True):
    """The facts of every provider of a config. ``as_of``: the day of the table."""

    source: str = ""
    as_of: str = ""
    providers: dict[str, tuple[Fact, ...]] = {}


def matches(clause: Clause, name: str) -> bool:
    """Whether *name*, in lower case, is one the clause means."""
    op, text = clause.op, clause.text
    if op == "is":
        return name == text
    if op == "begins":
        return name.startswith(text)
    if op == "any":
        return any(matches(inner, name) for inner in clause.of)
    if op == "contains":
        return text in name
    if op == "ends":
        return name.endswith(text)
    if op == "all":
        return all(matches(inner, name) for inner in clause.of)
    return re.search(text, name) is not None


class Facts:
    """``ports/models.FactsOf``. ``own``: the price that the config gives a whole provider, which goes before the table.
    Mutable state: ``_found``, what has been asked already; all of it is forgotten when it is full."""

    def __init__(self, table: FactTable) -> None:
        self.own: dict[str, PriceRow] = {}
        self._table = table
        self._found: dict[tuple[str, str], tuple[PriceRow | None, CatalogueRow]] = {}

    def of(self, provider: str, model: str) -> tuple[PriceRow | None, CatalogueRow]:
        """Price and catalogue row of *model* of the provider named *provider* in the config; (None, unknown) for a
        model the table does not know."""
        key = (provider, model)
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= REMEMBERED:
                self._found.clear()
            price, row = self._look(provider, model)
            found = self._found[key] = (self.own.get(provider, price), row)
        return found

    def names(self, provider: str) -> tuple[str, ...]:
        """The models of *provider* that the table knows."""
        return tuple(fact.id for fact in self._table.providers.get(provider, ()))

    def _look(self, provider: str, model: str) -> tuple[PriceRow | None, CatalogueRow]:
        name = model.lower()
        if len(name) > LONGEST_NAME:
            return None, CatalogueRow()
        for fact in self._table.providers.get(provider, ()):
            if matches(fact.match, name):
                return self._row(provider, fact), CatalogueRow(window=fact.window, tokenizer=tokenizer_of(name))
        return None, CatalogueRow(tokenizer=tokenizer_of(name))

    def _row(self, provider: str, fact: Fact) -> PriceRow:
        id = f"{provider}/{fact.id}"
        tiers = {unit: tuple(PriceTier(*step) for step in steps) for unit, steps in fact.tiers.items()}
        source, as_of = self._table.source, self._table.as_of
        services = {
            service: PriceRow(
                f"{id}@{service}",
                {**fact.units, **units},
                {unit: steps for unit, steps in tiers.items() if unit not in units},
                per_request=fact.request,
                source=source,
                as_of=as_of,
            )
            for service, units in fact.services.items()
        }
        return PriceRow(id, fact.units, tiers, services, fact.request, source=source, as_of=as_of)
