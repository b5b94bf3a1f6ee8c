"""Who may do what with models: a consumer's rights, budgets and limits, joined with those of its team and tenant.

They are read out of the generation when somebody first calls, so that a config with 100,000 consumers is built as
quickly as one with none (ARCHITECTURE 11).
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from tidegate.assembly.config_models import Budget, Team, Tenant
from tidegate.assembly.generation import StoredConsumer, StoredKey, find
from tidegate.ports.authority import Limits, LimitSpec, Policy
from tidegate.ports.books import BudgetLevel
from tidegate.ports.models import CallerPlan

REMEMBERED: Final = 65_536
"""Callers whose rights are held ready; all are forgotten when there are more."""


class Quotas(Protocol):
    """What both ways of writing limits have: as in the config, and as in a generation."""

    @property
    def requests(self) -> tuple[int, float] | None: ...
    @property
    def tokens(self) -> tuple[int, float] | None: ...
    @property
    def in_flight(self) -> int | None: ...


class Policies:
    """The limits of one owner: in any period of that length for requests and tokens, at once for slots (LLM 10)."""

    __slots__ = ("requests", "slots", "tokens")

    def __init__(self, limits: Limits, owner: str, quotas: Quotas, slots: bool = True) -> None:
        requests, tokens = quotas.requests, quotas.tokens
        self.requests = None if requests is None else _window(limits, f"llm/{owner}/requests", requests)
        self.tokens = None if tokens is None else _window(limits, f"llm/{owner}/tokens", tokens)
        self.slots: Policy | None = None
        if slots and quotas.in_flight:
            self.slots = limits.policy(LimitSpec(f"llm/{owner}/in_flight", "concurrent", quotas.in_flight))


def _window(limits: Limits, name: str, rate: tuple[int, float]) -> Policy:
    return limits.policy(LimitSpec(name, "window", rate[0], rate[1]))


class Shared:
    """A limit that all tenants share: whoever asks, the count is one."""

    def __init__(self, policy: Policy) -> None:
        self.spec = policy.spec
        self._policy = policy

    def take(self, partition: str, cost: int = 1) -> Any:
        return self._policy.take("", cost)

    def give_back(self, partition: str, cost: int = 1, taken: float = 0.0) -> None:
        self._policy.give_back("", cost, taken)


def shared(policies: Policies) -> Policies:
    """*policies* counted over all tenants."""
    for name in Policies.__slots__:
        policy = getattr(policies, name)
        if policy is not None:
            setattr(policies, name, Shared(policy))
    return policies


def levels(tenant: str, kind: str, name: str, budgets: tuple[Budget, ...]) -> tuple[BudgetLevel, ...]:
    """The budgets of one owner as levels of the ledger."""
    return tuple(BudgetLevel(f"{tenant}/{kind}/{name}/{budget.per}", budget.usd, budget.per) for budget in budgets)


class _Owner:
    """What one owner adds to those under it."""

    __slots__ = ("budgets", "policies")

    def __init__(self, budgets: tuple[BudgetLevel, ...], policies: Policies) -> None:
        self.budgets = budgets
        self.policies = policies


class ModelCallers:
    """``ports/models.Callers``. Mutable state: ``_found``, whose rights were asked for lately; bounded."""

    def __init__(self, lines: bytes, tenants: tuple[Tenant, ...], limits: Limits) -> None:
        self._lines = lines
        self._limits = limits
        self._tenants = {tenant.name: tenant for tenant in tenants}
        self._shared: dict[tuple[str, str], _Owner] = {}
        self._found: dict[object, CallerPlan] = {}

    def of(self, consumer: str, key_id: str, tenant: str) -> CallerPlan:
        """What a verified caller may do."""
        key = (consumer, key_id, tenant)
        found = self._found.get(key)
        if found is None:
            stored = find(self._lines, consumer)
            if stored is None or stored.tenant != tenant:
                stored = StoredConsumer(consumer, tenant)
            found = self._plan(stored, next((each for each in stored.keys if each.id == key_id), None))
            self._remember(key, found)
        return found

    def get(self, key: str) -> CallerPlan | None:
        """A consumer of the config by name, or one of its keys with words of its own as ``<consumer>/<key id>``."""
        found = self._found.get(key)
        if found is None:
            name, slash, key_id = key.partition("/")
            stored = find(self._lines, name)
            own = None if stored is None else next((each for each in stored.keys if each.id == key_id), None)
            if stored is None or (slash and own is None):
                return None
            found = self._plan(stored, own)
            self._remember(key, found)
        return found

    def _remember(self, key: object, found: CallerPlan) -> None:
        if len(self._found) >= REMEMBERED:
            self._found.clear()
        self._found[key] = found

    def _plan(self, stored: StoredConsumer, key: StoredKey | None) -> CallerPlan:
        tenant = self._tenants.get(stored.tenant)
        limits, name = self._limits, stored.name
        owners = []
        if key is not None:
            owners.append(_Owner(
                _stored_levels(stored.tenant, "key", f"{name}/{key.id}", key.budget),
                Policies(limits, f"key/{name}/{key.id}", key.limits),
            ))  # fmt: skip
        owners.append(_Owner(
            _stored_levels(stored.tenant, "consumer", name, stored.budget),
            Policies(limits, f"consumer/{name}", stored.limits),
        ))  # fmt: skip
        owners += self._above(tenant, stored.team)
        lists = [models for models in (stored.models, key.models if key is not None else None) if models is not None]
        bound = tenant.regions if tenant is not None else ()
        return CallerPlan(
            name,
            stored.tenant,
            stored.team,
            tuple(lists),
            stored.aliases,
            tuple(level for owner in owners for level in owner.budgets),
            tuple(o.policies.requests for o in owners if o.policies.requests is not None),
            tuple(o.policies.tokens for o in owners if o.policies.tokens is not None),
            tuple(o.policies.slots for o in owners if o.policies.slots is not None),
            narrowed(bound, stored.regions),
            key.surfaces if key is not None else None,
            stored.tags,
            tenant.models if tenant is not None else None,
        )

    def _above(self, tenant: Tenant | None, team: str) -> list[_Owner]:
        """The team and the tenant that a consumer belongs to."""
        if tenant is None:
            return []
        found = next((each for each in tenant.teams if each.name == team), None)
        return [*([self._owner(tenant.name, "team", found)] if found is not None else []),
                self._owner(tenant.name, "tenant", tenant)]  # fmt: skip

    def _owner(self, tenant: str, kind: str, item: Team | Tenant) -> _Owner:
        key = (kind, f"{tenant}/{item.name}")
        owner = self._shared.get(key)
        if owner is None:
            owner = self._shared[key] = _Owner(
                levels(tenant, kind, item.name, item.budget), Policies(self._limits, f"{kind}/{item.name}", item.limits)
            )
        return owner


def narrowed(outer: tuple[str, ...], inner: tuple[str, ...]) -> tuple[str, ...]:
    """The regions within both; one that names none is bound by the other. Nothing in common: a region that is none, for
    an empty tuple would mean everywhere."""
    if not outer or not inner:
        return outer or inner
    return tuple(region for region in inner if region in outer) or ("nowhere",)


def _stored_levels(
    tenant: str, kind: str, name: str, budgets: tuple[tuple[int, str], ...]
) -> tuple[BudgetLevel, ...]:  # fmt: skip
    return tuple(BudgetLevel(f"{tenant}/{kind}/{name}/{per}", usd, per) for usd, per in budgets)  # type: ignore[arg-type]
