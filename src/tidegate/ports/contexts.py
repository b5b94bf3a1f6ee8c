"""The part of the Plan that conversations run on: repository, policies, what a route does with them (CRP 8, 11).

Names mirror ``assembly/config_contexts``. Tokens are whole, shares are fractions from 0 to 1, times seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tidegate.exchange.context import Level
from tidegate.ports.context_store import ContextStore

Step = Literal["clear_tool_results", "drop_reasoning", "dedupe_documents", "summarize", "drop_oldest"]
LEVELS: tuple[Level, ...] = ("implicit", "id", "delta", "merge")


@dataclass(frozen=True, slots=True)
class TokenBudgetPlan:
    """Of one prompt. ``max_input`` 0: the window of the target at hand (``auto``)."""

    max_input: int = 0
    reserve_output: int = 4096
    trigger: float = 0.80
    target: float = 0.50


@dataclass(frozen=True, slots=True)
class KeepPlan:
    """What a reduction leaves alone. A turn begins with each message of role ``user``."""

    first_turns: int = 1
    last_turns: int = 6
    pinned: Literal["always", "never"] = "always"


@dataclass(frozen=True, slots=True)
class RecallPlan:
    """``share`` 0.0: none."""

    use: Literal["bm25"] = "bm25"
    share: float = 0.15
    k_max: int = 16


@dataclass(frozen=True, slots=True)
class CompactionPlan:
    """``model`` ``same``: the one the conversation runs on. ``mode`` ``off``, ``background`` or ``client``."""

    model: str = "same"
    mode: Literal["background", "client", "off"] = "background"
    idle: bool = True
    max_tokens: int = 800
    keep_user_verbatim: bool = True
    deadline: float = 20.0


@dataclass(frozen=True, slots=True)
class PolicyPlan:
    """One named policy, its ``extends`` merged. ``caps``: what a request or a context may patch, None for all of it."""

    name: str
    budget: TokenBudgetPlan = field(default_factory=TokenBudgetPlan)
    order: tuple[Step, ...] = ("clear_tool_results", "drop_reasoning", "dedupe_documents", "summarize", "drop_oldest")
    keep: KeepPlan = field(default_factory=KeepPlan)
    min_reclaim: float = 0.25
    recall: RecallPlan = field(default_factory=RecallPlan)
    compact: CompactionPlan = field(default_factory=CompactionPlan)
    on_overflow: Literal["truncate", "error"] = "truncate"
    parent_required: bool = False
    """A ref without ``parent`` is 428 ``parent_required``."""
    caps: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ContextLimits:
    """CRP 14. Discovery shows them, each is enforced at limit + 1."""

    body: int = 8 * 1024 * 1024
    frame: int = 8 * 1024 * 1024
    ratio: int = 100
    depth: int = 64
    members: int = 10_000
    ops: int = 256
    patch_ops: int = 1024
    items_per_request: int = 1024
    items: int = 10_000
    content: int = 1024 * 1024
    state: int = 256 * 1024
    keyed: int = 2000
    log: int = 64 * 1024 * 1024
    branches: int = 64
    queue: float = 2.0
    receipt_entries: int = 256
    template: int = 256 * 1024
    slots: int = 128
    slot: int = 64 * 1024
    ttl: float = 400 * 86_400.0
    tails: int = 16
    tails_each: int = 64


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
    policies: dict[str, PolicyPlan]
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
