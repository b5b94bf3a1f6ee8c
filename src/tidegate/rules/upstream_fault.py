"""What a model provider's refusal means for us: one table for every vendor (LLM 5.11).

Vendors agree on little: the status, a few words in ``type``, ``code`` or ``status``, and a sentence. The words are
matched, never the sentence alone, save where a vendor tells a full purse from an empty one in prose only.
"""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from tidegate.exchange.fault import IF_IDEMPOTENT, NEVER, UPSTREAM, Fault

LONGEST_QUOTA_DELAY: Final = 600.0
"""Seconds: a longer wait than this is an empty purse, not a rate."""

_QUOTA: Final = re.compile(
    r"insufficient_quota|credit_balance_exhausted|_spend_limit_|_usage_limit_|billing_hard_limit|insufficient_balance"
    r"|payment_required"
).search
_POOR: Final = re.compile(r"credit balance is too low|insufficient balance|exceeded your current quota").search
_POOR_ALONE: Final = re.compile(r"(?:your )?credit balance is too low").match
"""Said with a 400 it has to stand first: a sentence that quotes a client's own words must not put a credential out."""
_TOO_LONG: Final = re.compile(
    r"context_length_exceeded|context_window_exceeded|string_above_max_length|request_too_large|exceed_context_size"
).search
_TOO_LONG_SAID: Final = re.compile(
    r"prompt is too long|maximum context length|context window|input is too long|too many (?:input )?tokens"
    r"|exceeds the maximum number of tokens|input token count.{0,40}exceeds"
).search
_POLICY: Final = re.compile(
    r"content_policy_violation|content_filter|responsibleaipolicyviolation|prohibited_content|safety_violation|policy"
).search
_OVERLOADED: Final = re.compile(r"overloaded|slow_down|modelnotready|serviceunavailable").search
_THROTTLED: Final = re.compile(r"throttling|rate_limit|too_many_requests|resource_exhausted").search
_KEY: Final = re.compile(
    r"invalid_api_key|incorrect_api_key|api_key_invalid|authentication_error|unauthenticated|unrecognizedclient"
    r"|invalidsignature|incompletesignature|expiredtoken|token_expired|service_disabled|account_deactivated"
).search
"""Said of a key: nothing it asks for will be served."""
_ONE_THING: Final = re.compile(
    r"model_not_found|model_permission|model_not_|missing_scope|iam_permission_denied"
).search
_ONE_THING_SAID: Final = re.compile(
    r"\bmodels?\b|\bdeployments?\b|\b(?:specified|this|on) resource\b|missing scopes?|insufficient permissions?"
    r"|not authorized to perform|required data action"
).search
"""Said of what was asked for: the same key may be good for everything else."""
_OBJECT_SAID: Final = re.compile(
    r"\b(?:permission|access)\b.{0,40}\b(?:file|cached ?content|batch|response|url)\b"
).search
"""Said of an object that the client named."""
_SECRETS: Final = re.compile(
    r"\b(?:sk|pk|rk|org|proj|acct|key|gsk|xai|AIza|AKIA|ASIA)[-_A-Za-z0-9]{8,}+\*{0,64}[-_A-Za-z0-9]{0,16}"
    r"|\b(?:eyJ|ya29)[-_.A-Za-z0-9]{8,}+|\bbearer\s++[^\s,\"']++"
    r"|\b[0-9]{12}\b|arn:[^\s,\"']++|https?://[^\s\"']++|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b",
    re.IGNORECASE,
).sub
_DOTTED: Final = re.compile(r"(?<![a-z0-9.-])[a-z0-9-]++(?:\.[a-z0-9-]++)++", re.IGNORECASE).sub
"""Every name with dots, met once: what cannot be a host stays."""
_ENDS: Final = frozenset({"com", "net", "io", "ai", "org", "dev", "internal", "local"})

DETAIL_SIZE: Final = 1000
"""Characters of a vendor's sentence that reach a client."""
READ_SIZE: Final = 4 * DETAIL_SIZE
"""Characters of words and sentence that are looked at: both are an upstream's own, of any length."""


def upstream_fault(
    status: int, words: str, message: str, fields: dict[str, str], now: float, delay: float = 0.0
) -> Fault:
    """The fault of an upstream's answer.

    words    its type, code and status tokens, lower case, blank-separated
    message  its sentence; passed on, with secrets struck out, only where the client can act on it
    fields   its response fields, lower-case names: the delay stands there
    now      seconds since the epoch
    delay    a delay in seconds that stood in the body (Gemini's RetryInfo), 0.0 for none

    ``retry`` is ``IF_IDEMPOTENT`` where another target may be tried, ``NEVER`` where it cannot help anybody.
    """
    words = words[:READ_SIZE]
    lower = message[:READ_SIZE].lower()
    wait = delay or told_delay(fields, now)
    if (
        status == 402
        or _QUOTA(words)
        or (status in (403, 429) and _POOR(lower))
        or (status == 400 and _POOR_ALONE(lower))
        or (status == 429 and wait > LONGEST_QUOTA_DELAY)
    ):
        return _fault("bad_upstream", "The provider's account cannot pay.", "upstream_quota")
    if status in (401, 403) and not _POLICY(words):
        return _denied(status, words, message, lower)
    if status == 529 or _OVERLOADED(words):
        return _fault("overloaded", "The provider is overloaded.", "upstream_overloaded", wait)
    if status == 429 or (status == 400 and _THROTTLED(words)):
        return _fault("rate_limited", "The provider limits the rate.", "upstream_rate", wait)
    if status == 503:
        return _fault("overloaded", "The provider is not available.", "upstream_overloaded", wait)
    if status in (400, 413, 422) and (_TOO_LONG(words) or _TOO_LONG_SAID(lower) or status == 413):
        return _fault("context_length", public(message), "", retry=NEVER)
    if _POLICY(words) and 400 <= status < 500:
        return _fault("content_policy", public(message), "", retry=NEVER)
    if status in (408, 504):
        return _fault("upstream_timeout", "The provider took too long.", "upstream_timeout")
    if status == 404:
        return _fault("model_not_found", public(message), "upstream_unknown_model")
    if 400 <= status < 500 and status not in (409, 424, 425):
        return _fault("invalid_request", public(message), "", retry=NEVER)
    return _fault("bad_upstream", "The provider failed.", "upstream_error", wait)


def _denied(status: int, words: str, message: str, lower: str) -> Fault:
    """401 or 403: whether the key is refused, or only what it asked for. A caller that may name what the operator's key
    has no right to must not put that key out for everybody."""
    if not _KEY(words):
        if status == 403 and _OBJECT_SAID(lower):
            return _fault("invalid_request", public(message), "", retry=NEVER)
        if _ONE_THING(words) or _ONE_THING_SAID(lower):
            return _fault("bad_upstream", "The provider refuses this model to our credential.", "upstream_denied")
    return _fault("bad_upstream", "The provider refused our credential.", "upstream_auth")


def _fault(code: str, detail: str, reason: str, wait: float = 0.0, retry: int = IF_IDEMPOTENT) -> Fault:
    rest = min(wait, LONGEST_QUOTA_DELAY)  # a target must not rest for years because a proxy says nonsense
    return Fault(code, detail, reason=reason, side=UPSTREAM, retry=retry, retry_after=rest)


def public(message: str) -> str:
    """*message* without keys, account numbers, addresses and hosts, bounded."""
    return _SECRETS("***", _DOTTED(_without_hosts, message[:READ_SIZE]))[:DETAIL_SIZE]


def _without_hosts(found: re.Match[str]) -> str:
    labels = found[0].lower().split(".")
    return found[0] if _ENDS.isdisjoint(labels[1:]) else "***"


def told_delay(fields: dict[str, str], now: float) -> float:
    """Seconds the upstream asks to wait: ``retry-after-ms``, ``Retry-After`` (seconds or a date), then the soonest of
    the ``*-ratelimit-reset*`` fields; the first that can be read, 0.0 when none can."""
    value = _seconds(fields.get("retry-after-ms", ""))
    if value >= 0:
        return value / 1000
    text = fields.get("retry-after", "")
    value = _seconds(text)
    if value >= 0:
        return value
    value = _date(text, now)
    if value >= 0:
        return value
    resets = [
        seconds
        for name, text in fields.items()
        if "ratelimit-reset" in name or (name.startswith("anthropic-ratelimit-") and name.endswith("-reset"))
        if (seconds := _reset(text, now)) > 0
    ]
    return min(resets, default=0.0)


def _seconds(text: str) -> float:
    text = text.strip().removesuffix("s")
    if len(text) > 16 or not re.fullmatch(r"\d+(?:\.\d*)?", text):
        return -1.0
    return float(text)


def _date(text: str, now: float) -> float:
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return -1.0


_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])").findall
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _reset(text: str, now: float) -> float:
    """``1m30s``, ``120``, a moment in seconds since the epoch, or an RFC 3339 time."""
    text = text.strip()[:64]
    value = _seconds(text)
    if value >= 0:
        return value - now if value > 1e9 else value
    spans = _SPAN(text)
    if spans and "".join(number + unit for number, unit in spans) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in spans)
    return _moment(text, now)


def _moment(text: str, now: float) -> float:
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp() - now)
    except ValueError:
        return -1.0
