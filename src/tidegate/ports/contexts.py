"""The part of the Plan that conversations run on: the repository, and what a route does with it (CRP 2.2, 11).

Names mirror ``assembly/config_contexts``. Times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from tidegate.exchange.context import Level
from tidegate.exchange.context_policy import ContextLimits, ContextPolicy
from tidegate.ports.context_store import ContextStore

LEVELS: Final[tuple[Level, ...]] = ("implicit", "id", "delta", "merge")


@dataclass(frozen=True, slots=True)
class RouteContexts:
    """``llm: {contexts: ...}`` and ``contexts:`` of a route: its own policy, the levels it serves, and what becomes of
    a conversation that names no context (``hints``: hashes only; ``store``: kept like any other)."""

    policy: str = "chat-default"
    implicit: Literal["hints", "store"] = "hints"
    levels: tuple[Level, ...] = LEVELS
    plane: bool = False
    """The route has ``contexts:`` and serves the context plane."""
    sensitive: bool = False
    """It is tagged for contents of class ``sensitive``."""
    upstream_store: bool = False


@dataclass(frozen=True, slots=True)
class ContextsPlan:
    """The repository of one generation. *store* lives as long as its settings stay the same: assembly hands the old
    object to the new Plan, the worker opens it after the fork and closes it when no Plan names it any more."""

    store: ContextStore
    policies: dict[str, ContextPolicy]
    outage: Literal["fail_closed", "degrade"] = "fail_closed"
    ttl: float = 30 * 86_400.0
    durability: Literal["process", "full"] = "process"
    limits: ContextLimits = field(default_factory=ContextLimits)
    hot: int = 256 * 1024 * 1024
    """Bytes of materialised contexts a worker keeps."""
    session: ContextStore | None = None
    """Where contexts with ``store: session`` live: memory. None with several workers, which would not see each other's:
    then the wish is 422 ``policy_forbidden``."""
    root: bytes = field(default=b"", repr=False)
    """The key that tenant keys are sealed under; b"" where no class above ``internal`` can be kept."""
