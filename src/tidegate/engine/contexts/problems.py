"""A Fault as the context plane tells it: a problem that may hold what a client lacks, and says whether to ask again."""

from __future__ import annotations

import math
from typing import Final

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import Answer
from tidegate.wire.problem import problem

LONGEST: Final = 512 * 1024
"""Bytes of a problem: the missing ops of a conflict fill half of it (CRP 14)."""


def context_problem(fault: Fault, x: Exchange, name: str) -> Answer:
    """SDKs repeat every 409 by themselves, so each says whether that helps (CRP 3.7)."""
    answer = problem(fault, x.request_id, x.trace_id, name, LONGEST)
    if answer.status == 409:
        running = fault.code == "turn_in_progress"
        answer.fields.append(("x-should-retry", "true" if running else "false"))
        if running:
            answer.fields.append(("retry-after", str(max(1, math.ceil(fault.retry_after)))))
    return answer
