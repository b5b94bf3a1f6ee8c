"""What follows a fault of a model call: the same target again, the next one, or the end (LLM 5.11, 9)."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from tidegate.exchange.fault import NOT_PROCESSED, UPSTREAM, Fault

Scope = Literal["", "credential", "credential_model", "provider_model", "target"]
"""Whose fault it was: what cools down, "" for nobody's."""

ATTEMPTS: Final = 4
"""Of one call, all targets together."""

LONGEST_WAIT: Final = 60.0
CREDENTIAL_OUT: Final = 300.0
"""Seconds a credential that was refused is left alone."""


class Row(NamedTuple):
    """``again``: the same target may be tried again; ``next``: another one may."""

    again: bool
    next: bool
    counts: Scope


ROWS: Final[dict[str, Row]] = {
    "invalid_request": Row(False, False, ""),
    "context_length": Row(False, True, ""),
    "content_policy": Row(False, False, ""),
    "upstream_auth": Row(False, True, "credential"),
    "upstream_denied": Row(False, True, "credential_model"),
    "upstream_quota": Row(False, True, "credential"),
    "model_not_found": Row(False, True, "provider_model"),
    "rate_limited": Row(True, True, "credential_model"),
    "overloaded": Row(True, True, "target"),
    "bad_upstream": Row(True, True, "target"),
    "upstream_unavailable": Row(True, True, "target"),
    "tls_error": Row(False, True, "target"),
    "upstream_too_large": Row(False, False, ""),
    "upstream_timeout": Row(False, True, "target"),
    "translation_loss": Row(False, True, ""),
}
"""Reason or code of a fault -> what follows; what is not here (our own refusals) ends the call."""

END: Final = Row(False, False, "")


def row_of(fault: Fault, on: frozenset[str] = frozenset()) -> Row:
    """The row of *fault*. *on*: ``policy`` sends a refused content to the next target too. Our own refusals have none,
    but for a target of ours that has no room."""
    row = ROWS.get(fault.reason) or ROWS.get(fault.code) or END
    if fault.side != UPSTREAM:
        if fault.code == "overloaded":
            return Row(False, True, "")
        return row if fault.code == "translation_loss" else END
    if fault.code == "content_policy" and "policy" in on:
        return Row(False, True, "")
    return row


class Next(NamedTuple):
    """``move``: ``end``, ``again`` (after ``wait`` seconds) or ``next``."""

    move: Literal["end", "again", "next"]
    wait: float = 0.0


def after(
    fault: Fault,
    row: Row,
    *,
    tries: int,
    retry: int,
    attempts: int,
    others: bool,
    left: float,
    pause: float,
    once: bool = False,
) -> Next:
    """What to do after *fault*.

    tries, retry   calls of this target so far; how often it may be called again
    attempts       calls of all targets so far
    others         is there another target?
    left           seconds until the deadline
    pause          seconds to wait before the same target is called again, when the vendor names none
    once           the request changes state: it goes round again only when provably nothing was processed
    """
    if attempts >= ATTEMPTS or (once and fault.retry != NOT_PROCESSED):
        return Next("end")
    wait = min(fault.retry_after, LONGEST_WAIT) if fault.retry_after > 0.0 else pause
    fits = wait < left
    if row.again and tries <= retry and fits and (not others or wait <= pause):
        return Next("again", wait)
    if row.next and others and left > 0.0:
        return Next("next")
    return Next("end")
