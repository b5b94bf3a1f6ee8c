"""What scripts with SDKs have in common: a job as JSON on the command line, one line of JSON for each thing done.

A job is ``{"base": URL, "key": KEY, "do": [{"do": NAME, "model": MODEL}, ...]}``. The answer of a thing is what the
SDK made of it: ``text thought calls stop usage``; or ``error`` (the SDK's class), ``status`` and ``says``.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

JOB: dict[str, Any] = json.loads(sys.argv[1])
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
DESCRIBED = "The weather in a city."
QUESTION = "What is the weather in Paris and Zürich? 🌦"
RESULT = "18 °C, sunny ☀"


def run(things: dict[str, Callable[[dict[str, Any]], Any]]) -> None:
    """Do the job."""
    for thing in JOB["do"]:
        try:
            found = things[thing["do"]](thing)
        except Exception as error:
            body = getattr(error, "body", None)
            found = {
                "error": type(error).__name__,
                "status": status_of(error),
                "says": str(error)[:500],
                "body": body if isinstance(body, (dict, str, type(None))) else str(body),
            }
            if thing.get("trace"):
                traceback.print_exc()
        print(json.dumps(found), flush=True)


def status_of(error: Any) -> int:
    """The HTTP status an SDK's exception carries, 0 for none."""
    for name in ("status_code", "code", "status"):
        if isinstance(value := getattr(error, name, None), int):
            return value
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return int(getattr(response, "status_code", 0) or 0)


def said(
    text: str, calls: list[tuple[str, str, Any]], stop: Any, usage: tuple[int, int] | None, thought: str = "",
    **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """What was understood; *calls* are (id, name, arguments)."""
    told = [(id, name, json.loads(given) if isinstance(given, str) else given) for id, name, given in calls]
    return {"text": text, "calls": told, "stop": stop, "usage": usage, "thought": thought, **more}
