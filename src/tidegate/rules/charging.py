"""One decision over all policies of a place: every one is asked, and either all are charged or none (S9.7).

Limits and quotas share it. It knows policies only by what they do (``Ask``, ``Undo``); asking may wait, deciding never
does. Nothing here keeps counts: that is the authority's.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Fields
from tidegate.rules.partition import Partition
from tidegate.rules.rate_headers import limit_member, limit_prefix

Count = Callable[[int], None]


class Verdict(Protocol):
    """What a policy says; ``ports/authority.Verdict`` has the meaning of each."""

    allowed: bool
    remaining: int
    reset: float
    retry_after: float


Ask = Callable[[str, int], Any]
"""``take(partition, cost)``: a verdict, or a coroutine that returns one."""


class Undo(Protocol):
    """``give_back(partition, cost, taken)``; ``ports/authority.Policy`` has the meaning of each."""

    def __call__(self, partition: str, cost: int = 1, taken: float = 0.0) -> None: ...


class Bucket:
    """One policy at one place.

    name       as clients see it
    take, give_back   the policy's own
    partition  names the bucket of a request; "" leaves the request alone
    cost       units a request
    quota      N, for ``X-RateLimit-Limit``
    policy     its member of ``RateLimit-Policy``
    concurrent a slot, held until the exchange ends; otherwise a charge, undone when a later stage refuses
    dry_run    counted, never told, never refusing (S9.11)
    """

    __slots__ = (
        "allowed", "concurrent", "cost", "denied", "dry_run", "give_back", "name", "partition", "policy", "prefix",
        "quota", "store_error", "take",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        take: Ask,
        give_back: Undo,
        partition: Partition,
        counter: Callable[[str], Count],
        *,
        quota: int,
        policy: str,
        cost: int = 1,
        concurrent: bool = False,
        dry_run: bool = False,
    ) -> None:
        self.name: str = name
        self.take: Ask = take
        self.give_back: Undo = give_back
        self.partition: Partition = partition
        self.quota: int = quota
        self.policy: str = policy
        self.prefix: str = limit_prefix(name)
        self.cost: int = cost
        self.concurrent: bool = concurrent
        self.dry_run: bool = dry_run
        self.allowed: Count = counter("allow")
        self.denied: Count = counter("would_deny" if dry_run else "deny")
        self.store_error: Count = counter("store_error")


class _Charge:
    """What one bucket said to one request."""

    __slots__ = ("bucket", "partition", "verdict")

    def __init__(self, bucket: Bucket, partition: str, verdict: Verdict) -> None:
        self.bucket: Bucket = bucket
        self.partition: str = partition
        self.verdict: Verdict = verdict


class Charging:
    """The buckets of one filter, asked together.

    code          the fault of a refusal: ``rate_limited`` or ``quota_exceeded``
    verdict_type  class of the verdicts; anything else that ``take`` gives is awaited
    compat        also send ``X-RateLimit-*`` (of the tightest policy)
    """

    __slots__ = ("_buckets", "_code", "_compat", "_only", "_verdict_type")

    def __init__(self, buckets: list[Bucket], code: str, verdict_type: type, compat: bool = False) -> None:
        self._buckets: list[Bucket] = buckets
        self._code: str = code
        self._verdict_type: type = verdict_type
        self._compat: bool = compat
        plain = len(buckets) == 1 and not (buckets[0].dry_run or compat)
        self._only: Bucket | None = buckets[0] if plain else None

    def charge(self, x: Exchange) -> Coroutine[Any, Any, None] | None:
        """Charge *x*, or raise the refusal. A coroutine is returned only when some policy has to ask elsewhere."""
        bucket = self._only
        if bucket is None:
            return self._charge_all(x)
        # One plain policy is the common case, and this is the hot path: nothing is built that is not needed.
        partition = bucket.partition(x)
        if not partition:
            return None
        try:
            verdict = bucket.take(partition, bucket.cost)
        except Fault:
            bucket.store_error(1)
            raise
        said: type = verdict.__class__
        if said is not self._verdict_type:
            return self._charge_later(x, [], 0, partition, verdict)
        if not verdict.allowed:
            self._refuse(x, [_Charge(bucket, partition, verdict)])
        bucket.allowed(1)
        undo = partial(bucket.give_back, partition, bucket.cost, x.started)
        if bucket.concurrent:
            x.on_end(undo)
        else:
            x.on_refusal(undo)
        told = limit_member(bucket.prefix, verdict.remaining, verdict.reset)
        fields = x.answer_fields
        if fields is None:
            x.answer_fields = [("ratelimit-policy", bucket.policy), ("ratelimit", told)]
        else:
            fields.append(("ratelimit-policy", bucket.policy))
            fields.append(("ratelimit", told))
        x.limits = told if not x.limits else f"{x.limits}, {told}"
        return None

    # -- asking -----------------------------------------------------------------------------------------------------

    def _charge_all(self, x: Exchange) -> Coroutine[Any, Any, None] | None:
        charges: list[_Charge] = []
        try:
            for number, bucket in enumerate(self._buckets):
                partition = bucket.partition(x)
                if not partition:
                    continue
                verdict = self._ask(bucket, partition)
                if verdict is None:
                    continue
                said: type = verdict.__class__
                if said is not self._verdict_type:
                    return self._charge_later(x, charges, number, partition, verdict)
                charges.append(_Charge(bucket, partition, verdict))
        except BaseException:
            _give_back(charges)
            raise
        self._decide(x, charges)
        return None

    async def _charge_later(
        self, x: Exchange, charges: list[_Charge], number: int, partition: str, waiting: Any
    ) -> None:
        """Go on from bucket *number*, whose answer is awaited. Whoever cuts the wait finds nothing half charged."""
        try:
            await self._collect(charges, self._buckets[number], partition, waiting)
            for bucket in self._buckets[number + 1 :]:
                partition = bucket.partition(x)
                if partition:
                    await self._collect(charges, bucket, partition, self._ask(bucket, partition))
        except BaseException:
            _give_back(charges)
            raise
        self._decide(x, charges)

    async def _collect(self, charges: list[_Charge], bucket: Bucket, partition: str, said: Any) -> None:
        if said is not None and said.__class__ is not self._verdict_type:
            try:
                said = await said
            except Fault:
                bucket.store_error(1)
                if not bucket.dry_run:
                    raise
                return
        if said is not None:
            charges.append(_Charge(bucket, partition, said))

    def _ask(self, bucket: Bucket, partition: str) -> Any:
        """What the policy says, or None when it is a dry run that cannot be asked: a rehearsal never refuses."""
        try:
            return bucket.take(partition, bucket.cost)
        except Fault:
            bucket.store_error(1)
            if not bucket.dry_run:
                raise
            return None

    # -- deciding ---------------------------------------------------------------------------------------------------

    def _decide(self, x: Exchange, charges: list[_Charge]) -> None:
        for charge in charges:
            if not charge.verdict.allowed and not charge.bucket.dry_run:
                _give_back(charges)
                self._refuse(x, charges)
        told: list[str] = []
        policies: list[str] = []
        for charge in charges:
            bucket, verdict = charge.bucket, charge.verdict
            if not verdict.allowed:
                bucket.denied(1)
                _note(x, f"{bucket.prefix}0;would_deny")
                continue
            bucket.allowed(1)
            undo = partial(bucket.give_back, charge.partition, bucket.cost, x.started)
            if bucket.concurrent:
                x.on_end(undo)
            else:
                x.on_refusal(undo)
            if bucket.dry_run:
                continue
            told.append(limit_member(bucket.prefix, verdict.remaining, verdict.reset))
            policies.append(bucket.policy)
        if told:
            limits = ", ".join(told)
            x.add_answer_field("ratelimit-policy", ", ".join(policies))
            x.add_answer_field("ratelimit", limits)
            _note(x, limits)
            if self._compat:
                for name, value in _compat_fields([c for c in charges if c.verdict.allowed and not c.bucket.dry_run]):
                    x.add_answer_field(name, value)

    def _refuse(self, x: Exchange, charges: list[_Charge]) -> None:
        """Raise the refusal that *charges* come to. The tightest policy says how long to wait; one that can never pass
        makes waiting pointless (S9.1)."""
        told: list[str] = []
        policies: list[str] = []
        violated: list[str] = []
        shown: list[_Charge] = []
        wait = 0.0
        hopeless = False
        for charge in charges:
            bucket, verdict = charge.bucket, charge.verdict
            reset = verdict.reset
            if not verdict.allowed:
                bucket.denied(1)
            if bucket.dry_run:
                continue
            if not verdict.allowed:
                violated.append(bucket.name)
                hopeless = hopeless or verdict.retry_after <= 0.0
                wait = max(wait, verdict.retry_after)
                reset = min(reset, verdict.retry_after) if verdict.retry_after > 0.0 else reset
                shown.append(charge)
            # What was given back is free again, and so it is told.
            remaining = verdict.remaining + bucket.cost if verdict.allowed else verdict.remaining
            told.append(limit_member(bucket.prefix, remaining, reset))
            policies.append(bucket.policy)
        limits = ", ".join(told)
        _note(x, limits)
        fields: Fields = [("ratelimit-policy", ", ".join(policies)), ("ratelimit", limits)]
        if self._compat:
            fields.extend(_compat_fields(shown))
        raise Fault(
            self._code,
            f"Used up for now: {', '.join(violated)}.",
            side=CLIENT,
            retry_after=0.0 if hopeless else float(_whole(wait)),
            fields=fields,
            extra={"violated-policies": violated},
        )


def _give_back(charges: list[_Charge]) -> None:
    for charge in reversed(charges):
        if charge.verdict.allowed:
            charge.bucket.give_back(charge.partition, charge.bucket.cost)


def _note(x: Exchange, limits: str) -> None:
    x.limits = f"{x.limits}, {limits}" if x.limits else limits


def _compat_fields(charges: list[_Charge]) -> Fields:
    """``X-RateLimit-*`` knows one policy only: the one with the least left."""
    if not charges:
        return []
    tightest = min(charges, key=_remaining)
    verdict = tightest.verdict
    return [
        ("x-ratelimit-limit", str(tightest.bucket.quota)),
        ("x-ratelimit-remaining", str(max(verdict.remaining, 0))),
        ("x-ratelimit-reset", str(_whole(verdict.reset))),
    ]


def _remaining(charge: _Charge) -> int:
    return charge.verdict.remaining


def _whole(seconds: float) -> int:
    whole = int(seconds)
    return whole + 1 if whole < seconds else whole
