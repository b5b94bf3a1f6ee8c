"""Problems of the admin API (S6.2, S6.6)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tidegate.control.admin.problem import LONGEST_DETAIL, problem, shorten
from tidegate.exchange.fault import CODES


@pytest.mark.parametrize("code", CODES)
def test_every_code_makes_a_problem_of_at_most_a_kibibyte(code: str) -> None:
    answer = problem(code, "é" * 5000)
    body: dict[str, Any] = msgspec.json.decode(answer.body)
    assert answer.status_code == body["status"] == CODES[code].status
    assert body["type"] == f"urn:tidegate:problem:{code}"
    assert len(answer.body) <= 1024
    assert ("retry-after" in answer.headers) is CODES[code].wait


def test_two_problems_have_two_request_ids() -> None:
    first, second = (msgspec.json.decode(problem("not_found").body)["request_id"] for _ in range(2))
    assert first != second


def test_a_long_detail_is_cut_at_a_line_or_at_a_character() -> None:
    assert shorten("short") == "short"
    assert shorten("a" * 500 + "\n" + "b" * 500) == "a" * 500 + " …"
    cut = shorten("é" * 500)
    assert cut == "é" * 298 + " …"
    assert len(cut.encode()) <= LONGEST_DETAIL
