"""The table of prices of ``genai-prices``, read once into integers. Control only; nothing is ever fetched: the package
brings its data, and its updater is never started (DEPENDENCIES 5).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from importlib import metadata
from typing import Any, Final

from tidegate.assembly.facts import Clause, Fact, FactTable

PER_MILLION: Final = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "thinking",
    "input_audio_mtok": "audio_in",
    "output_audio_mtok": "audio_out",
    "input_image_mtok": "image_in",
    "output_image_mtok": "image_out",
    "input_mchars": "characters",
}
"""Member of the table, in dollars per million -> our unit."""
PER_THOUSAND: Final = {"web_searches_kcount": "searches", "input_document_kpages": "pages"}
PER_HOUR: Final = {"input_audio_hours": "seconds_in", "audio_hours": "seconds_in"}
NUSD: Final = 1_000_000_000

_OPS: Final = {
    "ClauseEquals": ("is", "equals"),
    "ClauseStartsWith": ("begins", "starts_with"),
    "ClauseEndsWith": ("ends", "ends_with"),
    "ClauseContains": ("contains", "contains"),
    "ClauseRegex": ("regex", "regex"),
}


def fact_table(providers: Iterable[tuple[str, str]], now: datetime) -> FactTable:
    """The facts of *providers*: (name in the config, name in the table). Prices are those that hold at *now*; a vendor
    the table does not know has none."""
    from genai_prices import data  # 130 ms: only where a config has providers

    known = {provider.id: provider for provider in data.providers}
    found: dict[str, tuple[Fact, ...]] = {}
    for name, vendor in providers:
        provider = known.get(vendor)
        if provider is not None:
            facts = [_fact(model, now) for model in provider.models]
            for other in provider.fallback_model_providers or ():
                facts += [_fact(model, now) for model in known[other].models]
            found[name] = tuple(facts)
    version = metadata.version("genai-prices")
    return FactTable(f"genai-prices {version}", now.date().isoformat(), found)


def _fact(model: Any, now: datetime) -> Fact:
    units, tiers, request = _priced(model.get_prices(now))
    services: dict[str, dict[str, int]] = {}
    for variant in model.price_variants or ():
        if variant.constraint is not None and not variant.constraint.active(now):
            continue
        service = variant.when.get("service_tier") or variant.when.get("processing") or variant.when.get("speed")
        if service and service != "default" and len(variant.when) == 1:
            services[service] = {**_priced(variant.prices)[0], **services.get(service, {})}
    return Fact(model.id, clause(model.match), units, tiers, services, request, model.context_window or 0)


def _priced(prices: Any) -> tuple[dict[str, int], dict[str, tuple[tuple[int, int], ...]], int]:
    """(units, tiers, n$ a request)."""
    units: dict[str, int] = {}
    tiers: dict[str, tuple[tuple[int, int], ...]] = {}
    request = 0
    for name, price in vars(prices).items():
        if price is None:
            continue
        base = getattr(price, "base", price)
        if name in PER_MILLION:
            unit = PER_MILLION[name]
            units[unit] = nusd(base)
            if base is not price:
                tiers[unit] = tuple((tier.start, nusd(tier.price)) for tier in price.tiers)
        elif name in PER_THOUSAND:
            units[PER_THOUSAND[name]] = nusd(base * 1000)
        elif name in PER_HOUR:
            units[PER_HOUR[name]] = nusd(base * 1_000_000 / 3600)
        elif name == "requests_kcount":
            request = nusd(base / 1000)
    return units, tiers, request


def nusd(dollars: Decimal) -> int:
    """Dollars as n$, rounded up where the table is finer than that: never below the price."""
    amount = dollars * NUSD
    whole = int(amount)
    return whole if whole == amount else whole + 1


def clause(match: Any) -> Clause:
    """A match clause of the package as ours."""
    kind = type(match).__name__
    if kind == "ClauseOr":
        return Clause("any", of=tuple(map(clause, match.or_)))
    if kind == "ClauseAnd":
        return Clause("all", of=tuple(map(clause, match.and_)))
    op, member = _OPS[kind]
    text = getattr(match, member)
    return Clause(op, text if op == "regex" else text.lower())  # type: ignore[arg-type]
