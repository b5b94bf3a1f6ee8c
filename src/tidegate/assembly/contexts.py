"""The context part of a config becomes a plan: policies with what they extend, the store, routes nobody wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tidegate.assembly import config as c
from tidegate.assembly import config_contexts as cc
from tidegate.assembly.chains import Made
from tidegate.assembly.parts import PartError, Shelf
from tidegate.assembly.problems import FieldPath, did_you_mean
from tidegate.exchange.context_policy import Compaction, ContextPolicy, Keep, Recall, TokenBudget
from tidegate.ports.contexts import ContextsPlan, RouteContexts
from tidegate.ports.plan import RoutePlan
from tidegate.rules.context_paths import DICTIONARIES, DISCOVERY, TEMPLATES
from tidegate.rules.match_route import Builder as RouterBuilder
from tidegate.rules.match_route import RouteConflict, RouteEntry

DEFAULT: Final = "chat-default"
BUILT_IN: Final[dict[str, dict[str, Any]]] = {
    DEFAULT: {},
    "agent-default": {"extends": DEFAULT, "keep": {"last_turns": 12}, "recall": {"share": 0.10}},
    "verbatim": {"extends": DEFAULT, "order": (), "recall": {"share": 0.0}, "on_overflow": "error"},
}
"""CRP 8.1. What ``chat-default`` says is in ``exchange/context_policy``."""
BODY: Final = 8 << 20
"""Bytes of a body on the context plane (CRP 14)."""
KEYS: Final = "contexts"
"""What the tools are asked for: the key that tenant keys are sealed under (CRP 10)."""


# -- policies ----------------------------------------------------------------------------------------------------------


def policies(items: Sequence[cc.ContextPolicy]) -> dict[str, ContextPolicy]:
    """The built-in policies and those of the config, each merged with what it extends. ``PartError`` for one that
    extends nothing there is, or itself; ``path`` begins with its index."""
    trees = dict(BUILT_IN)
    places: dict[str, int] = {}
    for index, item in enumerate(items):
        if item.name in places:
            raise PartError(f"the name {item.name} is taken already", "give it another name", (index, "name"))
        places[item.name] = index
        trees[item.name] = _merged(BUILT_IN.get(item.name, {}), _given(item))

    def place(*names: str) -> int:
        return next(places[name] for name in names if name in places)

    def whole(name: str, way: tuple[str, ...]) -> dict[str, Any]:
        tree = trees[name]
        base = tree.get("extends", "" if name == DEFAULT else DEFAULT)
        if not base:
            return tree
        if base not in trees:
            raise PartError(f"there is no context policy {base}", did_you_mean(base, trees),
                            (place(name), "extends"))  # fmt: skip
        if base in (*way, name):
            circle = " > ".join((*way, name, base))
            raise PartError(f"the policies extend one another in a circle: {circle}", "",
                            (place(name, *way), "extends"))  # fmt: skip
        return _merged(whole(base, (*way, name)), tree)

    known: dict[str, ContextPolicy] = {}
    for name in trees:
        policy = known[name] = _policy(name, whole(name, ()))
        if policy.budget.target > policy.budget.trigger:
            raise PartError(f"the policy {name} reduces to more than what it reduces at", "lower its target",
                            (place(name, *places), "budget"))  # fmt: skip
    return known


def _given(item: cc.ContextPolicy) -> dict[str, Any]:
    """What *item* sets. A generation writes unset words as null, so null is unset."""
    return item.model_dump(exclude_none=True, exclude={"name"})


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in own.items():
        inherited = merged.get(name)
        both = isinstance(value, dict) and isinstance(inherited, dict)
        merged[name] = _merged(inherited, value) if both else value  # type: ignore[arg-type]
    return merged


def _policy(name: str, tree: dict[str, Any]) -> ContextPolicy:
    budget = {word: value for word, value in tree.get("budget", {}).items() if value != "auto"}
    keep = {word: value for word, value in tree.get("keep", {}).items() if word != "tool_pairs"}
    recall = {word: value for word, value in tree.get("recall", {}).items() if word != "place"}
    found = ContextPolicy(name, TokenBudget(**budget), keep=Keep(**keep), recall=Recall(**recall),
                          compact=Compaction(**tree.get("compact", {})))  # fmt: skip
    words: dict[str, Any] = {word: tree[word] for word in ("min_reclaim", "on_overflow", "parent_required")
                             if word in tree}  # fmt: skip
    if "order" in tree:
        words["order"] = tuple(tree["order"])
    if "caps" in tree:
        words["caps"] = frozenset(tree["caps"])
    return replace(found, **words)


# -- the repository ----------------------------------------------------------------------------------------------------


class Stores:
    """Makes the stores of one build. *before*: those of the build before, by what they were made for."""

    def __init__(self, shelf: Shelf, tools_for: Callable[[str], Any], before: Mapping[str, Made]) -> None:
        self.made: dict[str, Made] = {}
        self._shelf = shelf
        self._tools_for = tools_for
        self._before = before

    def get(self, scope: str, use: str, settings: dict[str, Any]) -> Any:
        """The store for *scope*; the one of the build before while its settings are the same."""
        key = self._shelf.key(use, settings)
        made = self._before.get(scope)
        if made is None or made.key != key:
            tools = self._tools_for(f"repository/{scope}")
            made = Made(use, key, self._shelf.make("repositories", use, settings, tools, key))
        self.made[scope] = made
        return made.part

    def plan(self, gateway: c.Gateway, workers: int) -> ContextsPlan:
        """The plan of *gateway*'s repository. *workers*: how many will run it, 0 where that is unknown. ``PartError``,
        ``PartErrors``."""
        item = gateway.repository or cc.Repository()
        settings = dict(item.settings)
        if "durability" in self._shelf.load("repositories", item.use).config.model_fields:
            settings["durability"] = item.durability
        elif item.durability == "full":
            raise PartError(f"the repository {item.use} knows one durability only", "leave it out", ("durability",))
        return ContextsPlan(
            store=self.get("store", item.use, settings),
            policies=policies(gateway.context_policies),
            outage=item.on_outage,
            ttl=item.ttl,
            durability=item.durability,
            hot=item.hot,
            session=self.get("session", "memory", {}) if workers == 1 else None,
            root=bytes.fromhex(self._tools_for("repository").secret(KEYS)),
        )


# -- routes ------------------------------------------------------------------------------------------------------------


def route_contexts(item: c.Route) -> RouteContexts | None:
    """What the route *item* does with conversations; None for nothing."""
    plane = item.contexts
    if plane is not None:
        return RouteContexts(policy=plane.policy, plane=True, sensitive=plane.sensitive)
    calls = item.llm.contexts if item.llm is not None else None
    if calls is None:
        return None
    return RouteContexts(
        policy=calls.policy,
        implicit=calls.implicit,
        levels=calls.levels,
        sensitive=calls.sensitive,
        upstream_store=calls.upstream_store,
    )


def add_implicit(table: RouterBuilder, entries: Sequence[RouteEntry], chain: Mapping[str, Any]) -> RoutePlan | None:
    """Add to *table* what routes with contexts open besides their own path (CRP 2.2): the siblings for templates and
    dictionaries, and discovery, which has the fields *chain* of a route without filters. A route of the config on such
    a path stays what it is. Returns the route of discovery, if there is one."""
    found = [entry for entry in entries if entry.route.contexts is not None]
    if not found:
        return None
    order = len(entries)
    for entry in found:
        if entry.route.lane != "contexts":
            continue
        beside = entry.path.rstrip("/").rpartition("/")[0]
        for name in (TEMPLATES, DICTIONARIES):
            _add(table, replace(entry, path=f"{beside}/{name}", order=order))
            order += 1
    route = RoutePlan(
        name="crp-discovery", lane="contexts", methods=frozenset({"GET"}), contexts=RouteContexts(plane=True), **chain
    )  # fmt: skip
    for hosts in _hosts(found):
        _add(table, RouteEntry(route, route.name, DISCOVERY, "exact", hosts, route.methods, order=order))
        order += 1
    return route


def _hosts(entries: Iterable[RouteEntry]) -> list[tuple[str, ...]]:
    """The hosts that discovery answers on, none twice; one entry with no host for all of them."""
    hosts: dict[str, None] = {}
    for entry in entries:
        if not entry.hosts:
            return [()]
        hosts.update(dict.fromkeys(entry.hosts))
    return [tuple(hosts)]


def _add(table: RouterBuilder, entry: RouteEntry) -> None:
    try:
        table.add(entry)
    except RouteConflict:
        return


# -- checks ------------------------------------------------------------------------------------------------------------


def check_contexts(bad: Callable[[FieldPath, str, str], None], config: c.Gateway, workers: int) -> None:
    """Tell *bad* (path, message, fix) whatever is wrong with the context part of *config*, which *workers* will run."""
    try:
        known = policies(config.context_policies)
    except PartError as error:
        bad(("context_policies", *error.path), str(error), error.fix)
        return
    keeps = False
    for index, route in enumerate(config.routes):
        for path, own in (
            ((), route.contexts),
            (("llm",), route.llm.contexts if route.llm is not None else None),
        ):
            if own is None:
                continue
            keeps = True
            if own.policy not in known:
                bad(("routes", index, *path, "contexts", "policy"), f"there is no context policy {own.policy}",
                    did_you_mean(own.policy, known) or "add it under context_policies:")  # fmt: skip
    models = {model.name for model in config.models}
    for index, item in enumerate(config.context_policies):
        model = item.compact.model if item.compact is not None else None
        if model is not None and model != "same" and model not in models:
            bad(("context_policies", index, "compact", "model"), f"there is no model {model}",
                did_you_mean(model, models) or "add it under models:")  # fmt: skip
    if keeps and workers > 1 and config.repository is not None and config.repository.use == "memory":
        bad(("repository", "use"), f"{workers} workers would not see each other's conversations in memory",
            "use: sqlite, which several workers share; or workers: 1")  # fmt: skip
