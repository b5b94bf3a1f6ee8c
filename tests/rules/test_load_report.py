import struct
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.load_report import LONGEST, LoadReport, parse, parse_binary, weight

FULL = LoadReport(rps_fractional=100.0, eps=2.0, cpu_utilization=0.5, application_utilization=0.25)


def double(number: int, value: float) -> bytes:
    return bytes([number << 3 | 1]) + struct.pack("<d", value)


MESSAGE = double(1, 0.5) + double(6, 100.0) + double(7, 2.0) + double(9, 0.25)
OTHERS = double(2, 0.1) + b"\x18\x96\x01" + b"\x22\x03\x0a\x01x" + b"\x7d\x00\x00\x00\x00"


@pytest.mark.parametrize(
    "value",
    [
        "TEXT rps_fractional=100,eps=2,cpu_utilization=0.5,application_utilization=0.25",
        "TEXT  cpu_utilization=0.5, rps_fractional=1e2 ,eps=2,application_utilization=.25,mem_utilization=1",
        'JSON {"rps_fractional":100,"eps":2.0,"cpu_utilization":0.5,"application_utilization":0.25,"other":{}}',
        "BIN " + b64encode(MESSAGE).decode(),
        "BIN " + b64encode(OTHERS + MESSAGE).decode().rstrip("="),
    ],
)
def test_the_three_forms_are_read_s11_7(value: str) -> None:
    assert parse(value) == FULL


def test_the_binary_field_is_the_bare_message() -> None:
    assert parse_binary(b64encode(MESSAGE).decode()) == FULL


@pytest.mark.parametrize(
    "value",
    [
        "", "TEXT cpu_utilization=x", "TEXT cpu_utilization=nan", "TEXT cpu_utilization=inf", "TEXT eps=-1", "JSON {",
        'JSON {"eps":"1"}', 'JSON {"eps":-1}', 'JSON {"eps":1e999}', "JSON " + "[" * 4000, "text eps=1", "BIN !!",
        "BIN " + b64encode(MESSAGE[:-1]).decode(), "BIN " + b64encode(b"\x0b").decode(),
        "BIN " + b64encode(b"\xff" * 11).decode(),
        "BIN " + b64encode(b"\x22\x7f").decode(), "BIN " + b64encode(double(1, float("nan"))).decode(),
        "TEXT " + "a=1," * LONGEST,
    ],
)  # fmt: skip
def test_junk_negative_and_nan_are_no_report_s11_7(value: str) -> None:
    assert parse(value) is None


@given(st.text(max_size=60), st.sampled_from(["", "TEXT ", "JSON ", "BIN "]))
def test_any_text_is_a_report_or_none(text: str, form: str) -> None:
    report = parse(form + text)
    assert report is None or report.eps >= 0.0


@given(st.binary(max_size=60))
def test_any_message_is_a_report_or_none(raw: bytes) -> None:
    report = parse_binary(b64encode(raw).decode())
    assert report is None or report.cpu_utilization >= 0.0


def test_the_weight_of_a_report_s11_7() -> None:
    assert weight(FULL) == pytest.approx(100 / (0.25 + 2 / 100))
    assert weight(LoadReport(rps_fractional=10.0, cpu_utilization=0.5)) == 20.0
    assert weight(LoadReport(rps_fractional=10.0)) == 0.0
    assert weight(LoadReport(cpu_utilization=0.5)) == 0.0
    assert weight(LoadReport(rps_fractional=1e-300, eps=1e300, cpu_utilization=0.5)) == 0.0
