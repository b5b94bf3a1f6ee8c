"""``tidegate usage``: ask the running gateway what model calls came to, and print it (C11.1)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from tidegate.control.reload import DONE, REFUSED, UNREACHABLE, Unreachable, ask

COLUMNS: Final = {
    "requests": "requests", "errors": "errors", "input_tokens": "input", "output_tokens": "output",
    "cost_usd": "cost USD",
}  # fmt: skip
"""Figure → what heads its column."""
REPRICED: Final = {"repriced_usd": "today USD"}


def request(config: Path | None, data: Path | None, begin: str, end: str, by: str, bucket: str, as_json: bool,
            reprice: bool = False) -> int:  # fmt: skip
    """Print the report; the exit code: 0 done, 1 refused, 3 not reachable."""
    query = urlencode({"from": begin, "to": end, "by": by, "bucket": bucket} | ({"reprice": "1"} if reprice else {}))
    try:
        status, answer = ask(config, data, os.environ, "GET", f"/api/v1/usage?{query}")
    except Unreachable as error:
        sys.stderr.write(f"tidegate: {error}\n")
        return UNREACHABLE
    if status != 200:
        detail = answer.get("detail") or answer.get("title") or f"the gateway answered {status}"
        sys.stderr.write(f"tidegate: {detail}\n")
        return REFUSED
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n")
    else:
        sys.stdout.write(table(answer, bool(bucket)))
    return DONE


def table(answer: dict[str, Any], bucketed: bool) -> str:
    """The report for a person."""
    keys = (["at"] if bucketed else []) + list(answer["by"])
    total = answer["total"]
    columns = COLUMNS | (REPRICED if "repriced_usd" in total else {})
    lines = [[*keys, *columns.values()]]
    lines += [[str(item[key]) or "-" for key in keys] + [str(item[name]) for name in columns]
              for item in answer["items"]]  # fmt: skip
    if keys:
        lines.append(["total"] + [""] * (len(keys) - 1) + [str(total[name]) for name in columns])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [f"{answer['from']} to {answer['to']}"]
    for line in lines:
        cells = [
            cell.ljust(width) if column < len(keys) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip())
    if total["estimated"]:
        text.append(f"{total['estimated']} calls are booked at the most they can have cost: their end was not heard.")
    if total.get("unpriced"):
        text.append(f"{total['unpriced']} calls have no price today: they stand at what was booked.")
    return "\n".join(text) + "\n"
