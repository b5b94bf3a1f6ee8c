"""Load reports of endpoints (ORCA, S11.7): read from an answer field, and turned into weights.

Three forms: ``TEXT cpu_utilization=0.3,rps_fractional=10``, ``JSON {...}``, and ``BIN`` with base64 of the protobuf
message ``xds.data.orca.v3.OrcaLoadReport``. A report is untrusted: junk is no report, never an error.
"""

from __future__ import annotations

import struct
from base64 import b64decode
from math import isfinite
from typing import Final

import msgspec

FIELD: Final = "endpoint-load-metrics"
FIELD_BINARY: Final = "endpoint-load-metrics-bin"
LONGEST: Final = 4096
"""Characters of a field that are read at all."""

BLACKOUT: Final = 10.0
"""Seconds from an endpoint's first report in which it is not believed: a warm-up looks like great capacity."""
EXPIRY: Final = 180.0
"""Seconds after which a report no longer counts."""

_NAMES: Final = {6: "rps_fractional", 1: "cpu_utilization", 7: "eps", 9: "application_utilization"}
"""Field numbers of the protobuf message that are used here, all doubles."""


class LoadReport(msgspec.Struct, frozen=True, gc=False):
    """Requests and errors a second, and shares of capacity in use (1.0 is all; more is allowed)."""

    rps_fractional: float = 0.0
    eps: float = 0.0
    cpu_utilization: float = 0.0
    application_utilization: float = 0.0


def parse(value: str) -> LoadReport | None:
    """The report in a ``FIELD`` *value*, or None for junk, negative numbers, NaN and infinities."""
    if len(value) > LONGEST:
        return None
    form, _, rest = value.strip(" \t").partition(" ")
    report: LoadReport | None
    try:
        if form == "TEXT":
            report = _from_text(rest)
        elif form == "JSON":
            report = msgspec.json.decode(rest.encode("latin-1"), type=LoadReport)
        elif form == "BIN":
            return parse_binary(rest)
        else:
            return None
    except (ValueError, RecursionError):
        return None
    return _sound(report)


def parse_binary(value: str) -> LoadReport | None:
    """The report in a ``FIELD_BINARY`` *value*: base64, padded or not."""
    if len(value) > LONGEST:
        return None
    value = value.strip(" \t").rstrip("=")
    try:
        raw = b64decode(value + "=" * (-len(value) % 4), validate=True)
        return _sound(_from_message(raw))
    except (ValueError, IndexError, struct.error):
        return None


def weight(report: LoadReport) -> float:
    """``qps / (u + eps / qps)``, u the application's utilisation, else the processor's; 0.0 when the report does not
    tell enough."""
    used = report.application_utilization or report.cpu_utilization
    served = report.rps_fractional
    if served <= 0.0 or used <= 0.0:
        return 0.0
    value = served / (used + report.eps / served)
    return value if isfinite(value) else 0.0


def _sound(report: LoadReport) -> LoadReport | None:
    numbers = (report.rps_fractional, report.eps, report.cpu_utilization, report.application_utilization)
    return report if all(isfinite(number) and number >= 0.0 for number in numbers) else None


def _from_text(text: str) -> LoadReport:
    values: dict[str, float] = {}
    for pair in text.split(","):
        name, _, number = pair.partition("=")
        name = name.strip(" \t")
        if name in _NAMES.values():
            values[name] = float(number)
    return msgspec.convert(values, LoadReport)


def _from_message(raw: bytes) -> LoadReport:
    values: dict[str, float] = {}
    position = 0
    while position < len(raw):
        tag, position = _varint(raw, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 1:
            if number in _NAMES:
                values[_NAMES[number]] = struct.unpack_from("<d", raw, position)[0]
            position += 8
        elif wire_type == 0:
            _, position = _varint(raw, position)
        elif wire_type == 2:
            length, position = _varint(raw, position)
            position += length
        elif wire_type == 5:
            position += 4
        else:
            raise ValueError("not a protobuf message")
    if position != len(raw):
        raise ValueError("the message is cut off")
    return msgspec.convert(values, LoadReport)


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = raw[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number is too long")
