"""JSON whose numbers stay the text they came as (S10.3): 1.10 is not 1.1, and 2^53 + 1 is not 2^53.

A number is a ``msgspec.Raw`` of its digits; everything else is the usual Python value.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from json import JSONDecoder
from typing import Any, Final

import msgspec

_DECODER: Final = JSONDecoder(parse_int=msgspec.Raw, parse_float=msgspec.Raw)
_ENCODER: Final = msgspec.json.Encoder()


def loads(body: bytes) -> Any:
    """The value in *body*, which ``wire/json_scan`` has passed: bounds and duplicate keys are its business."""
    return _DECODER.decode(body.decode("utf-8"))


def from_python(value: Any) -> Any:
    """*value*, made of plain Python values (a config), in the same form. ``ValueError`` for what is not JSON."""
    try:
        return loads(_ENCODER.encode(value))
    except (TypeError, msgspec.MsgspecError):
        raise ValueError("this is no JSON value") from None


def dumps(value: Any) -> bytes:
    """*value* as compact JSON, members in their order, numbers as they were."""
    return _ENCODER.encode(value)


def is_number(value: Any) -> bool:
    """True for the numbers of :func:`loads`."""
    return isinstance(value, msgspec.Raw)


def number_text(value: Any) -> str:
    """The digits of a number as they came."""
    return bytes(value).decode("ascii")


def same_number(one: Any, two: Any) -> bool:
    """Numeric equality of two numbers (RFC 6902 4.6), however they are written."""
    if one == two:
        return True
    try:
        return Decimal(number_text(one)) == Decimal(number_text(two))
    except InvalidOperation:
        return False
