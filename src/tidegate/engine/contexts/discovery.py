"""What the gateway can do with contexts, told to anybody: only what works, with the limits in force (CRP 2.5)."""

from __future__ import annotations

from typing import Any, Final

from tidegate.engine.contexts.repository import Repository
from tidegate.exchange.context import ITEM_TYPES
from tidegate.exchange.context_log import BRANCHES, MISSING, MISSING_BYTES
from tidegate.exchange.context_policy import ContextLimits
from tidegate.ports.contexts import LEVELS
from tidegate.ports.plan import Plan
from tidegate.wire.context_body import CODINGS, ENCODINGS
from tidegate.wire.context_json import OPS

SPOKEN: Final = ("1",)
"""Major versions of the protocol."""


def discovery(plan: Plan, repository: Repository) -> dict[str, Any]:
    """The document."""
    served = {level for route in plan.routes if route.contexts is not None for level in route.contexts.levels}
    coded = [coding for coding in CODINGS if coding != "dcz" or repository.offered]
    return {
        "crp": SPOKEN,
        "levels": [level for level in LEVELS if level in served],
        "compress": True,
        "ops": OPS,
        "item_types": list(ITEM_TYPES),
        "encodings": ENCODINGS,
        "content_encodings": coded,
        "dictionaries": repository.offered,
        "policies": list(repository.plan.policies),
        "durable": repository.store.durable,
        "limits": limits_object(repository.limits),
    }


def limits_object(limits: ContextLimits) -> dict[str, Any]:
    return {
        "body_bytes": limits.body, "ratio": limits.ratio, "depth": limits.depth, "members": limits.members,
        "ops": limits.ops, "patch_operations": limits.patch_ops, "items_per_request": limits.items_per_request,
        "items": limits.items, "content_bytes": limits.content, "state_bytes": limits.state,
        "keyed_items": limits.keyed, "log_bytes": limits.log, "branches": BRANCHES, "missing_versions": MISSING,
        "missing_bytes": MISSING_BYTES, "queue_seconds": limits.queue, "template_bytes": limits.template,
        "slots": limits.slots, "slot_bytes": limits.slot, "ttl_seconds": int(limits.ttl), "tails": limits.tails,
        "tails_per_subject": limits.tails_each,
    }  # fmt: skip
