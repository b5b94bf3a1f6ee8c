"""The filters of a route become its hooks: the tuples of bound methods that the engine calls, picked once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from tidegate.ports.filter import HOOKS
from tidegate.ports.plan import Hook, HookPlan

BODY_LIMIT: Final = 10 << 20
"""Bytes of a request body on a route without a ``body_limit`` filter (S3.3)."""


class Made:
    """A part that stands in a Plan, with the bytes that made it."""

    __slots__ = ("key", "part", "use")

    def __init__(self, use: str, key: bytes, part: Any) -> None:
        self.use = use
        self.key = key
        self.part = part


def body_limit_of(made: Iterable[Made]) -> int | None:
    """What the last filter that bounds bodies allows."""
    limits = [limit for m in made if isinstance(limit := getattr(m.part, "body_limit", None), int)]
    return limits[-1] if limits else None


class Chains:
    """Makes the fields of ``RoutePlan`` that follow from its filters.

    standing  parts that stand before the filters of every route
    keep      remember every chain: in a proof most routes share theirs
    """

    def __init__(self, standing: Iterable[Made], keep: bool) -> None:
        self._standing = list(standing)
        self._shapes: dict[type, tuple[bool, tuple[str, ...]]] = {}
        self._chains: dict[tuple[Made, ...], dict[str, Any]] | None = {} if keep else None

    def of(self, made: tuple[Made, ...]) -> dict[str, Any]:
        """The fields for the filters *made*."""
        chain = self._chains.get(made) if self._chains is not None else None
        if chain is None:
            limit = body_limit_of(made)
            chain = {
                "filters": tuple([m.use for m in made]),
                "open": not any(getattr(m.part, "stage", "other") == "auth" for m in made),
                "body_limit": BODY_LIMIT if limit is None else limit,
                **self._hooks_of([*self._standing, *made]),
            }
            if self._chains is not None:
                self._chains[made] = chain
        return chain

    def _hooks_of(self, made: list[Made]) -> dict[str, Any]:
        """The hook tuples of ``RoutePlan``: requests in the order written, answers in reverse."""
        if not made:
            return {}
        request_head: list[HookPlan] = []
        request_body: list[HookPlan] = []
        wants_request_body: list[Hook | None] = []
        attempt: list[Hook] = []
        response_head: list[Hook] = []
        response_chunk: list[tuple[Hook, Hook | None]] = []
        response_body: list[tuple[HookPlan, Hook | None]] = []
        done: list[Hook] = []
        for m in made:
            part = m.part
            task, names = self._shape(type(part))
            for name in names:
                call = getattr(part, name)
                hook = HookPlan(call, m.use, task)
                if name == "on_request_head":
                    request_head.append(hook)
                elif name == "on_request_body":
                    request_body.append(hook)
                    wants_request_body.append(getattr(part, "wants_request_body", None))
                elif name == "on_attempt":
                    attempt.append(call)
                elif name == "on_response_head":
                    response_head.append(call)
                elif name == "on_response_chunk":
                    response_chunk.append((call, getattr(part, "wants_chunks", None)))
                elif name == "on_response_body":
                    response_body.append((hook, getattr(part, "wants_body", None)))
                else:
                    done.append(call)
        return {
            "on_request_head": tuple(request_head),
            "on_request_body": tuple(request_body),
            "wants_request_body": tuple(wants_request_body),
            "on_attempt": tuple(attempt),
            "on_response_head": tuple(reversed(response_head)),
            "on_response_chunk": tuple(reversed(response_chunk)),
            "on_response_body": tuple(reversed(response_body)),
            "on_done": tuple(done),
        }

    def _shape(self, part: type) -> tuple[bool, tuple[str, ...]]:
        """Whether what the hooks of the class *part* wait for runs in a Task of its own, and which hooks it defines."""
        shape = self._shapes.get(part)
        if shape is None:
            names = tuple(name for name in HOOKS if hasattr(part, name))
            shape = self._shapes[part] = (not getattr(part, "stepped", False), names)
        return shape
