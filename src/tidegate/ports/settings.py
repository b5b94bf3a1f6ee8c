"""Types of settings: how durations, sizes, rates and shares are written in a config, and what parts read.

``Duration`` is seconds as float, ``Size`` bytes as int, ``Rate`` an amount per seconds, ``Share`` percent. Each is
written as text a person would write (``500ms``, ``64KiB``, ``200k/m``), and ``model_dump(mode="json")`` writes it back
as such text, so that a generation file reads like a config and validates to the same values. ``Verifying`` and
``Counting`` are the settings that all filters of one purpose have, in the same words. Nothing else lives here.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import CoreSchema, core_schema

from tidegate.rules.failed_logins import ALLOWED
from tidegate.rules.partition import check_by

_SECONDS: Final[dict[str, tuple[int, int]]] = {
    "ms": (1, 1000),
    "s": (1, 1),
    "m": (60, 1),
    "h": (3600, 1),
    "d": (86_400, 1),
}
"""Unit → (factor, divisor) into seconds: 25ms must be the float 0.025, which a product with 0.001 is not."""
_BYTES: Final[dict[str, int]] = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_AMOUNTS: Final[dict[str, int]] = {"": 1, "k": 1000, "M": 1_000_000}

LONGEST: Final = 10 * 366 * 86_400.0
"""Ten years: longer durations are typing errors."""

_DURATION_PATTERN: Final = r"^[0-9]{1,12}(\.[0-9]{1,9})?(ms|s|m|h|d)$"
_SIZE_PATTERN: Final = r"^[0-9]{1,16}(B|KiB|MiB|GiB|TiB)?$"
_RATE_PATTERN: Final = r"^[0-9]{1,12}(k|M)?/([0-9]{1,6})?(ms|s|m|h|d)$"
_DURATION: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)\Z")
_SIZE: Final = re.compile(r"([0-9]{1,16})(B|KiB|MiB|GiB|TiB)?\Z")
_RATE: Final = re.compile(r"([0-9]{1,12})(k|M)?/([0-9]{1,6})?(ms|s|m|h|d)\Z")


def parse_duration(value: object) -> float:
    """Seconds of ``500ms``, ``1.5s``, ``5m``, ``1h``, ``2d``; a bare number is seconds. ``ValueError`` otherwise."""
    if isinstance(value, str):
        match = _DURATION.match(value)
        if match is None:
            raise ValueError("a duration is written like 500ms, 1s, 5m, 1h or 2d")
        factor, divisor = _SECONDS[match.group(2)]
        seconds = float(match.group(1)) * factor / divisor
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    else:
        raise ValueError("a duration is written like 500ms, 1s, 5m, 1h or 2d")
    if not 0.0 <= seconds <= LONGEST:
        raise ValueError("a duration lies between 0 and ten years")
    return seconds


def format_duration(seconds: float) -> str:
    """Text that :func:`parse_duration` reads back as exactly *seconds*."""
    for unit in ("h", "m", "s", "ms"):
        factor, divisor = _SECONDS[unit]
        count = round(seconds * divisor / factor)
        if count and count * factor / divisor == seconds:
            return f"{count}{unit}"
    return f"{Decimal(repr(seconds)):f}s" if seconds else "0s"


def parse_size(value: object) -> int:
    """Bytes of ``512B``, ``64KiB``, ``10MiB``, ``1GiB``; a bare whole number is bytes. ``ValueError`` otherwise."""
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.match(value)) is not None:
        size = int(match.group(1)) * _BYTES[match.group(2) or ""]
    else:
        raise ValueError("a size is written like 512B, 64KiB, 10MiB or 1GiB")
    if not 0 <= size <= 1 << 50:
        raise ValueError("a size lies between 0 and 1024TiB")
    return size


def format_size(size: int) -> str:
    """Text that :func:`parse_size` reads back as *size*, in the largest unit that divides it."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


class Rate(NamedTuple):
    """*amount* units each *per* seconds, written ``100/s``, ``600/m``, ``200k/m``, ``5/10s``. Amount is at least 1."""

    amount: int
    per: float

    @classmethod
    def parse(cls, value: object) -> Rate:
        """The rate that *value* (text, or a Rate) says; ``ValueError`` otherwise."""
        if isinstance(value, Rate):
            return value
        match = _RATE.match(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError("a rate is written like 100/s, 600/m or 200k/m")
        factor, divisor = _SECONDS[match.group(4)]
        rate = cls(int(match.group(1)) * _AMOUNTS[match.group(2) or ""], int(match.group(3) or "1") * factor / divisor)
        if rate.amount < 1 or rate.per <= 0.0:
            raise ValueError("a rate allows at least one unit in a time above zero")
        return rate

    def __str__(self) -> str:
        period = format_duration(self.per)
        return f"{self.amount}/{period[1:] if period in ('1s', '1m', '1h', '1ms') else period}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema(when_used="json")
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": _RATE_PATTERN, "examples": ["100/s", "600/m", "200k/m"]}


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({
        "anyOf": [{"type": "string", "pattern": _DURATION_PATTERN}, {"type": "number", "minimum": 0}],
        "examples": ["500ms", "1s", "5m", "1h"],
    }),
]  # fmt: skip
"""Seconds. Written ``500ms``, ``1s``, ``5m``, ``1h``, ``2d``; a bare number is seconds."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str, when_used="json"),
    WithJsonSchema({
        "anyOf": [{"type": "string", "pattern": _SIZE_PATTERN}, {"type": "integer", "minimum": 0}],
        "examples": ["512B", "64KiB", "10MiB"],
    }),
]  # fmt: skip
"""Bytes. Written ``512B``, ``64KiB``, ``10MiB``, ``1GiB``; a bare number is bytes."""

Share = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
"""Percent without a sign: 0 to 100."""


def _shared_last(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """A part's own settings come first where people read them."""
    properties = schema.get("properties", {})
    for base in (Verifying, Counting):
        for name in base.model_fields if issubclass(model, base) else ():
            properties[name] = properties.pop(name)


class Verifying(BaseModel):
    """What every filter has that verifies credentials which a request carries."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_shared_last)

    optional: bool = Field(
        default=False,
        description="Let a request without such credentials pass as anonymous, or with the identity an earlier filter "
        "found. Bad ones are refused all the same. Put `{use: authorize}` behind several optional filters to accept "
        "any of them.",
    )
    forward_credentials: bool = Field(default=False, description="Send the credentials on to the upstream.")
    failed_tries: int = Field(
        default=ALLOWED,
        ge=1,
        description="Bad credentials a minute, client address and worker before further bad ones get 429.",
    )


class Counting(BaseModel):
    """What every filter has that counts requests against a limit, and each of several limits in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_shared_last)

    by: str = Field(
        "consumer", description="What is counted: consumer, tenant, key, ip (IPv6 by /64), header:NAME or claim:NAME."
    )
    missing: Literal["ip", "deny", "skip"] = Field(
        "ip", description="Without that value: count by address, refuse with 403, or leave the request alone (S9.8)."
    )
    cost: int = Field(1, ge=1, le=10**9, description="Units one request takes.")
    name: str = Field(
        "",
        max_length=128,
        description="Policies of one name share their counts, wherever they stand. Empty: the place in the config.",
    )
    dry_run: bool = Field(False, description="Count what would be refused, refuse nothing, tell nothing (S9.11).")
    on_store_error: Literal["local_share", "allow", "deny"] = Field(
        "local_share", description="When the authority cannot be asked: spend a local share, allow, or deny (S9.6)."
    )

    _by = field_validator("by")(check_by)
