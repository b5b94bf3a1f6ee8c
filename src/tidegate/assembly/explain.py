"""What a config comes to, in words: the way of one request through the real parts, and an overview of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from tidegate.assembly.check import Checked
from tidegate.assembly.config_models import Model
from tidegate.assembly.model_journey import trip
from tidegate.exchange.fault import Fault
from tidegate.ports.filter import HOOKS
from tidegate.ports.plan import Plan, RoutePlan, UpstreamPlan
from tidegate.ports.settings import format_duration, format_size
from tidegate.rules.canonical import ENCODED_SLASH, PATH_PARAMS, canonical_host, canonical_path

REQUEST_HOOKS = HOOKS[:3]
ANSWER_HOOKS = HOOKS[3:6]


def journey(
    checked: Checked, method: str, url: str, fields: Sequence[tuple[str, str]] = (), model: str = ""
) -> str:  # fmt: skip
    """The journey of ``method url`` with the request *fields* (lower-case names); *model*: what its body names.
    ``ValueError`` for what is no request."""
    plan = checked.built.plan
    lines = [f"{method} {url}"]
    try:
        host, path, query, flags = _canonical(plan, url, fields)
    except Fault as fault:
        return "\n".join([*lines, f"  refused     {fault.status} {fault.code}: {fault.detail}"])
    lines.append(f"  host        {host or '(any)'}")
    lines.append(f"  path        {path}" + (f"   query {query}" if query else ""))
    if method not in plan.methods:
        return "\n".join([*lines, f"  refused     501 not_implemented: no route lists the method {method} (S2.2)"])
    index: dict[str, str] = {}
    for name, value in fields:
        index[name] = f"{index[name]}, {value}" if name in index else value
    found = plan.router.find(host, path, method, index, query)
    if not found:
        return "\n".join([*lines, "  no route    404 route_not_found (S5.5)"])
    if isinstance(found[0], str):
        return "\n".join([*lines, f"  no route    405 method_not_allowed, Allow: {', '.join(map(str, found))} (S5.5)"])
    route, captures = found
    assert isinstance(route, RoutePlan)
    lines += _route(checked, route)
    if isinstance(captures, dict):
        lines.append("  captures    " + " ".join(f"{name}={value}" for name, value in captures.items()))
    if flags & ENCODED_SLASH and not route.encoded_slash:
        return "\n".join([*lines, "  refused     400 ambiguous_path: the path has %2F and the route no encoded_slash"])
    if flags & PATH_PARAMS and not route.path_params:
        return "\n".join([*lines, "  refused     400 ambiguous_path: the path has ; and the route no path_params"])
    lines += _filters(checked, route, REQUEST_HOOKS, "filters")
    lines += _lane(plan, route) if route.llm is None else trip(checked, route, method, path, index, model)
    lines += _filters(checked, route, ANSWER_HOOKS, "answer")
    lines.append("  record      " + (", ".join(made.use for made in checked.built.sinks.values()) or "none"))
    return "\n".join(lines)


def _canonical(plan: Plan, url: str, fields: Sequence[tuple[str, str]]) -> tuple[str, str, str, int]:
    """(host, path, query, flags of the path) as every stage sees them (S4.7, S4.9)."""
    target = url.partition("#")[0]
    authority = next((value for name, value in fields if name == "host"), "")
    if not target.startswith("/"):
        parts = urlsplit(target)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"a request is written like GET /path or GET https://host/path, not {url}")
        authority = parts.netloc
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    raw, _, query = target.partition("?")
    merge = all(listener.merge_slashes for listener in plan.listeners)
    path, flags = canonical_path(raw, merge)
    return canonical_host(authority)[0] if authority else "", path, query, flags


def _route(checked: Checked, route: RoutePlan) -> list[str]:
    index = next(i for i, item in enumerate(checked.config.routes) if item.name == route.name)
    at = checked.source.problem(("routes", index), "")
    match = checked.config.routes[index].match
    more = [f"host {' '.join(match.hosts)}"] if match.hosts else []
    more += [f"method {' '.join(match.methods)}"] if match.methods else []
    more += [f"field {name}: {value}" for name, value in match.headers.items()]
    more += [f"query {name}={value}" for name, value in match.query.items()]
    lines = [f"  route       {route.name}   ({at.file}:{at.line}, {match.kind} {match.path}"
             + "".join(f", {text}" for text in more) + ")"]  # fmt: skip
    if route.open:
        lines.append("  access      open to anyone: no authentication filter (S7.1)")
    return lines


def _filters(checked: Checked, route: RoutePlan, hooks: Sequence[str], title: str) -> list[str]:
    """Filters with one of *hooks*, in the order in which those run."""
    lines: list[str] = []
    numbers = range(len(route.filters))
    for number in numbers if title == "filters" else reversed(numbers):
        made = checked.built.filters[f"{route.name}/{number}"]
        defined = [hook for hook in hooks if hasattr(made.part, hook)]
        if defined:
            stage = getattr(made.part, "stage", "other")
            lines.append(f"  {title:<11} {made.use:<16} {stage:<10} {' '.join(defined)}")
            title = ""
    return lines


def _lane(plan: Plan, route: RoutePlan) -> list[str]:
    if route.respond is not None:
        return [f"  respond     {route.respond.status}, {len(route.respond.body)} bytes"]
    if route.redirect is not None:
        to = route.redirect
        changes = {"scheme": to.scheme, "host": to.host, "port": to.port, "path": to.path, "prefix": to.prefix}
        what = ", ".join(f"{name} {value}" for name, value in changes.items() if value is not None)
        return [f"  redirect    {to.status}, {what}"]
    lines = [f"  body        up to {format_size(route.body_limit)}"]
    if route.split is None:
        return lines + _upstream(plan.upstreams[route.upstream], route)
    total = sum(arm.weight for arm in route.split.arms)
    lines.append(f"  split       by {route.split.by}")
    for arm in route.split.arms:
        lines.append(f"              {arm.upstream} {100 * arm.weight / total:g} %")
    for arm in route.split.arms:
        lines += _upstream(plan.upstreams[arm.upstream], route)
    return lines


def _upstream(upstream: UpstreamPlan, route: RoutePlan) -> list[str]:
    times = route.timeouts or upstream.timeouts
    breaker, retry, bulkhead = upstream.breaker, upstream.retry, upstream.bulkhead
    lines = [f"  upstream    {upstream.name}, balancer {upstream.balancer_use}"]
    for target in upstream.targets:
        lines.append(f"              {target.scheme}://{target.host}:{target.port}{target.base_path}"
                     f" weight {target.weight:g}")  # fmt: skip
    health = upstream.health
    lines.append("  health      " + ("passive only" if health is None else
                 f"{health.kind} {health.path if health.kind == 'http' else ''}".rstrip()
                 + f" each {format_duration(health.interval)}"))  # fmt: skip
    lines.append(f"  queue       {bulkhead.max_in_flight} in flight, {bulkhead.max_waiting} waiting,"
                 f" priority {route.priority}")  # fmt: skip
    lines.append(f"  breaker     {breaker.mode}, {breaker.failure_rate:g} % failures or {breaker.slow_rate:g} % over"
                 f" {format_duration(breaker.slow_after)}, open {format_duration(breaker.open_for)}")  # fmt: skip
    lines.append(f"  retry       {retry.attempts}, budget {retry.budget:g} %")
    lines.append(f"  timeouts    connect {format_duration(times.connect)}, request {format_duration(times.request)},"
                 f" idle {format_duration(times.idle)}")  # fmt: skip
    for fallback in upstream.fallback:
        to = fallback.upstream or f"answer {fallback.answer.status if fallback.answer else ''}"
        lines.append(f"  fallback    {' '.join(sorted(fallback.on))}: {to}")
    return lines


def summary(checked: Checked) -> str:
    """An overview: listeners, every route with its filters and its end, every upstream."""
    plan = checked.built.plan
    lines = [f"{checked.source.main.name} is good."]
    for listener in plan.listeners:
        lines.append(f"  listen      {listener.name} {'https' if listener.tls else 'http'}")
    admin = checked.config.admin
    lines.append(f"  admin       {admin.address if admin else 'only the socket in the data folder'}")
    for route in plan.routes[:200]:
        chain = " > ".join([*route.filters, route.upstream or (route.lane if route.split is None else "split")])
        lines.append(f"  route       {route.name}: {chain}" + ("   open to anyone" if route.open else ""))
    if len(plan.routes) > 200:
        lines.append(f"              and {len(plan.routes) - 200} more")
    own = [upstream for upstream in plan.upstreams.values() if not upstream.name.startswith("provider:")]
    for upstream in own[:200]:
        lines.append(f"  upstream    {upstream.name}: {len(upstream.targets)} targets, {upstream.balancer_use}")
    if len(own) > 200:
        lines.append(f"              and {len(own) - 200} more")
    for name, found in list(plan.models.providers.items() if plan.models is not None else ())[:200]:
        count = len(found.credentials)
        state = f"{count} credential{'s' * (count > 1)}" if count else (
            "no credential" if found.needs_credential else "wants no credential")  # fmt: skip
        lines.append(f"  provider    {name}: {found.preset}, {state}")
    lines += [f"  model       {model.name}: {_answered(model)}" for model in checked.config.models[:200]]
    lines.append(f"  consumers   {len(checked.config.consumers)}")
    return "\n".join(lines)


def _answered(model: Model) -> str:
    """Who answers for *model*, in a few words."""
    if model.pipeline is not None:
        return "a pipeline"
    return f"{model.strategy.use} over {' '.join(dict.fromkeys(target.provider for target in model.targets))}"
