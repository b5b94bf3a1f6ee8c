"""``tidegate usage``: what is asked, and how the answer looks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tidegate.control import usage
from tidegate.control.reload import Unreachable

FIGURES = {"requests": 3, "errors": 0, "input_tokens": 1000, "output_tokens": 40, "cached_tokens": 0, "estimated": 0,
           "cost_usd": "0.0125", "saved_usd": "0", "waste_usd": "0"}  # fmt: skip
ANSWER = {
    "from": "2026-11-21T00:00:00Z", "to": "2026-11-22T00:00:00Z", "by": ["model"], "total": FIGURES,
    "items": [{"at": "2026-11-21", "model": "fast", **FIGURES}], "as_of": 5.0,
}  # fmt: skip


class Gateway:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: tuple[int, dict[str, Any]] = (200, ANSWER)
        self.asked: list[tuple[str, str]] = []
        monkeypatch.setattr(usage, "ask", self.ask)

    def ask(
        self, config: Path | None, data: Path | None, environment: Mapping[str, str], method: str, path: str
    ) -> tuple[int, dict[str, Any]]:
        self.asked.append((method, path))
        if self.answer[0] == 0:
            raise Unreachable("no gateway answers")
        return self.answer


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    return Gateway(monkeypatch)


def test_the_report_is_a_table(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert usage.request(None, None, "2026-11-21", "", "model", "", False) == 0
    assert gateway.asked == [("GET", "/api/v1/usage?from=2026-11-21&to=&by=model&bucket=")]
    assert capsys.readouterr().out == (
        "2026-11-21T00:00:00Z to 2026-11-22T00:00:00Z\n"
        "model  requests  errors  input  output  cost USD\n"
        "fast          3       0   1000      40    0.0125\n"
        "total         3       0   1000      40    0.0125\n"
    )


def test_buckets_come_first_and_estimates_are_said(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answer = (200, {**ANSWER, "total": {**FIGURES, "estimated": 2}})
    assert usage.request(None, None, "", "", "model", "day", False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["2026-11-21", "fast", "3", "0", "1000", "40", "0.0125"]
    assert lines[-1].startswith("2 calls are booked at the most")


def test_json_is_the_answer_itself(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert usage.request(None, None, "", "", "", "", True) == 0
    assert '"cost_usd": "0.0125"' in capsys.readouterr().out


def test_a_refusal_and_a_silence_have_their_codes(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answer = (422, {"detail": "by: names out of"})
    assert usage.request(None, None, "", "", "x", "", False) == 1
    gateway.answer = (0, {})
    assert usage.request(None, None, "", "", "x", "", False) == 3
    assert capsys.readouterr().err == "tidegate: by: names out of\ntidegate: no gateway answers\n"


def test_prices_of_today_stand_beside_what_was_booked(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"repriced_usd": "0.025", "unpriced": 1}
    gateway.answer = (
        200,
        {**ANSWER, "total": FIGURES | more, "items": [{"model": "fast", **FIGURES, **more}]},
    )
    assert usage.request(None, None, "", "", "model", "", False, True) == 0
    assert gateway.asked == [("GET", "/api/v1/usage?from=&to=&by=model&bucket=&reprice=1")]
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("cost USD  today USD")
    assert lines[2].split()[-2:] == lines[3].split()[-2:] == ["0.0125", "0.025"]
    assert lines[4] == "1 calls have no price today: they stand at what was booked."
