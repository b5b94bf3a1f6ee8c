"""Which policy a turn runs under: built-in or configured, patched by the context, then by the request (CRP 8.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

import msgspec

from tidegate.exchange.chat import Raw
from tidegate.exchange.context_policy import ContextPolicy
from tidegate.exchange.fault import CLIENT, Fault

FIXED: Final = frozenset({"name", "caps"})
"""What no patch may change."""
SILENT: Final[dict[str, dict[str, object]]] = {"keep": {"tool_pairs": "atomic"}, "recall": {"place": "tail"}}
"""Words with one value only: they may be said."""
TOKENS: Final = 1 << 31
TURNS: Final = 10_000
SECONDS: Final = 600.0


def choose(policies: Mapping[str, ContextPolicy], base: str, *wishes: Raw) -> ContextPolicy:
    """The policy *base*, then each of *wishes* upon it: b"" for none, a JSON string names another, an object patches.
    Raises 422 ``policy_forbidden`` for unknown names and words, for values out of range and for what ``caps`` leave
    out."""
    policy = _named(policies, base)
    for raw in wishes:
        if not raw:
            continue
        try:
            wish = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            raise _forbidden("A policy is a name or an object.") from None
        if isinstance(wish, str):
            policy = _named(policies, wish)
        elif isinstance(wish, dict):
            policy = patched(policy, wish)
        else:
            raise _forbidden("A policy is a name or an object.")
    return policy


def patched(policy: ContextPolicy, wish: dict[str, Any]) -> ContextPolicy:
    """*policy* with what *wish* changes, deeply."""
    if policy.caps is not None and not policy.caps.issuperset(wish):
        raise _forbidden("The policy does not let a client change " + ", ".join(sorted(set(wish) - policy.caps))[:200])
    told = asdict(policy)
    for name, value in wish.items():
        if name in FIXED or name not in told:
            raise _forbidden(f"A policy has no {name[:64]!r} to change.")
        inner = told[name]
        if not isinstance(inner, dict):
            told[name] = value
            continue
        if not isinstance(value, dict):
            raise _forbidden(f"{name} is an object.")
        for word, one in value.items():
            if SILENT.get(name, {}).get(word) == one and word not in inner:
                continue
            if word not in inner:
                raise _forbidden(f"{name} has no {word[:64]!r}.")
            inner[word] = _plain(word, one)
    del told["caps"]
    try:
        made = msgspec.convert(told, ContextPolicy)
    except msgspec.ValidationError as wrong:
        raise _forbidden(str(wrong)[:200]) from None
    _check(made)
    return replace(made, caps=policy.caps)


def _plain(word: str, value: Any) -> Any:
    if word == "max_input" and value == "auto":
        return 0
    if word == "deadline" and isinstance(value, str) and value.endswith("s"):
        try:
            return float(value[:-1])
        except ValueError:
            return value
    return value


def _check(policy: ContextPolicy) -> None:
    budget, keep, recall, compact = policy.budget, policy.keep, policy.recall, policy.compact
    right = (
        0 <= budget.max_input <= TOKENS and 0 <= budget.reserve_output <= TOKENS
        and 0.0 < budget.target < budget.trigger <= 1.0
        and 0 <= keep.first_turns <= TURNS and 0 <= keep.last_turns <= TURNS
        and 0.0 <= policy.min_reclaim <= 1.0 and 0.0 <= recall.share <= 0.5 and 0 <= recall.k_max <= 64
        and 0 < compact.max_tokens <= TOKENS and 0.0 < compact.deadline <= SECONDS
    )  # fmt: skip
    if not right:
        raise _forbidden("A value of the policy is out of range; target lies below trigger.")


def _named(policies: Mapping[str, ContextPolicy], name: str) -> ContextPolicy:
    policy = policies.get(name)
    if policy is None:
        raise _forbidden("No policy has this name.")
    return policy


def _forbidden(detail: str) -> Fault:
    return Fault("policy_forbidden", detail, side=CLIENT)
