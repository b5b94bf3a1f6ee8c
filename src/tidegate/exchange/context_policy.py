"""What a conversation may grow to and what gives way when it does not fit: policies and limits (CRP 8, 14).

Values only. Tokens are whole, shares are fractions from 0 to 1, times seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Step = Literal["clear_tool_results", "drop_reasoning", "dedupe_documents", "summarize", "drop_oldest"]


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """Of one prompt. ``max_input`` 0: the window of the target at hand (``auto``)."""

    max_input: int = 0
    reserve_output: int = 4096
    trigger: float = 0.80
    target: float = 0.50


@dataclass(frozen=True, slots=True)
class Keep:
    """What a reduction leaves alone. A turn begins with each message of role ``user``."""

    first_turns: int = 1
    last_turns: int = 6
    pinned: Literal["always", "never"] = "always"


@dataclass(frozen=True, slots=True)
class Recall:
    """``share`` 0.0: none."""

    use: Literal["bm25"] = "bm25"
    share: float = 0.15
    k_max: int = 16


@dataclass(frozen=True, slots=True)
class Compaction:
    """``model`` ``same``: the one the conversation runs on. ``mode`` ``off``, ``background`` or ``client``."""

    model: str = "same"
    mode: Literal["background", "client", "off"] = "background"
    idle: bool = True
    max_tokens: int = 800
    keep_user_verbatim: bool = True
    deadline: float = 20.0


@dataclass(frozen=True, slots=True)
class ContextPolicy:
    """One named policy, its ``extends`` merged. ``caps``: what a request or a context may patch, None for all of it."""

    name: str
    budget: TokenBudget = field(default_factory=TokenBudget)
    order: tuple[Step, ...] = ("clear_tool_results", "drop_reasoning", "dedupe_documents", "summarize", "drop_oldest")
    keep: Keep = field(default_factory=Keep)
    min_reclaim: float = 0.25
    recall: Recall = field(default_factory=Recall)
    compact: Compaction = field(default_factory=Compaction)
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
