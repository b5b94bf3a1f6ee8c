"""The journey: the life of one exchange, from the head that arrived to the record that stays."""

from __future__ import annotations

from typing import Any

from tidegate.engine.arrival import arrive, set_deadline
from tidegate.engine.contexts.problems import context_problem
from tidegate.engine.gathering import gather_request
from tidegate.engine.lanes import contexts as contexts_lane
from tidegate.engine.lanes import http as http_lane
from tidegate.engine.lanes import llm as llm_lane
from tidegate.engine.lanes import tunnel as tunnel_lane
from tidegate.engine.lanes.respond import redirect_answer, respond_head, send_answer
from tidegate.engine.models.answering import shaped_fault
from tidegate.engine.recording import record_of
from tidegate.engine.request_body import RequestBody, too_large
from tidegate.engine.runtime import Runtime, work_of
from tidegate.engine.sides import ClientSide
from tidegate.engine.steps import Cancelled, in_task
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Answer
from tidegate.ports.plan import HookPlan, Plan, RoutePlan
from tidegate.rules.canonical import ENCODED_SLASH, PATH_PARAMS, query_value
from tidegate.rules.sigv4 import ALGORITHM
from tidegate.wire.problem import problem

LOGGED_VALUE = 256
"""Characters of one logged query value."""

DEFAULT_REQUEST_TIMEOUT = 30.0


async def journey(
    runtime: Runtime, client: ClientSide, x: Exchange, body: RequestBody | None, merge_slashes: bool
) -> None:
    """Serve one exchange. Whatever happens, exactly one answer or one cut, and exactly one Record (S1 row 17)."""
    route: RoutePlan | None = None
    stats: Any = None
    plan = runtime.plan
    runtime.in_flight += 1
    try:
        try:
            flags, own = arrive(runtime, x, merge_slashes)
            if runtime.refused and work_of(x) in runtime.refused:
                raise Fault("quarantined", "This request has ended workers before.", retry_after=60.0)
            if own is not None:
                send_answer(client, x, None, own)
                return
            method = x.method
            index = x.head.index
            preflight = method == "OPTIONS" and "origin" in index and "access-control-request-method" in index
            if preflight:
                found = plan.router.find_preflight(
                    x.host, x.path, index["access-control-request-method"], index,
                    announced_names(index.get("access-control-request-headers", "")), x.query,
                )  # fmt: skip
                if not found or not isinstance(found[0], RoutePlan):
                    found = plan.router.find(x.host, x.path, method, index, x.query)
            else:
                found = plan.router.find(x.host, x.path, method, index, x.query)
            if not found:
                raise Fault("route_not_found", "No route matches this host and path.", side=CLIENT)
            hit = found[0]
            if not isinstance(hit, RoutePlan):
                allow = ", ".join(found)  # type: ignore[arg-type]
                raise Fault("method_not_allowed", "", side=CLIENT, fields=[("allow", allow)])
            route = hit
            x.route = route.name
            x.priority = route.priority
            captures = found[1]
            if captures:
                x.captures = captures  # type: ignore[assignment]
            client.finish_on_disconnect = route.finish_on_disconnect
            stats = runtime.metrics.route(route.name)
            stats.in_flight += 1
            if flags and ((flags & ENCODED_SLASH and not route.encoded_slash)
                          or (flags & PATH_PARAMS and not route.path_params)):  # fmt: skip
                raise Fault("ambiguous_path", "The path holds an encoded slash or path parameters.", side=CLIENT)
            if body is not None:
                body.forward_trailers = route.request_trailers
                body.limit = route.body_limit
                if body.length > route.body_limit or body.received > route.body_limit:
                    raise too_large()
            timeouts = route.timeouts
            if timeouts is None:
                upstream = runtime.upstreams.get(route.upstream)
                request_timeout = upstream.plan.timeouts.request if upstream is not None else DEFAULT_REQUEST_TIMEOUT
            else:
                request_timeout = timeouts.request
            client.set_deadline(x.started + request_timeout)
            if "x-request-timeout" in index and set_deadline(x, request_timeout):
                client.shortened = True
                client.set_deadline(x.deadline)
            else:
                x.deadline = x.started + request_timeout
            if route.llm is not None:
                llm_lane.present_key(x, route.llm)
                if "authorization" in index and index["authorization"].startswith(ALGORITHM):
                    await llm_lane.hash_signed(runtime, client, x, route.llm, body)
            for hook in route.on_request_head:
                verdict = hook.call(x)
                if verdict is None:
                    continue
                if not isinstance(verdict, Answer):
                    verdict = await settle(runtime, hook, verdict)
                    if verdict is None:
                        continue
                refund(x)
                send_answer(client, x, route, verdict)
                return
            if route.on_request_body:
                answer = await gather_request(runtime, client, route, x, body)
                if answer is not None:
                    refund(x)
                    send_answer(client, x, route, answer)
                    return
            if "x-tidegate-debug" in index:
                x.debug = x.identity is not None and plan.debug_scope in x.identity.scopes
            lane = route.lane
            if lane == "http":
                if x.head.upgrade:
                    await tunnel_lane.serve(runtime, client, route, x)
                else:
                    await http_lane.serve(runtime, client, route, x, body)
            elif lane == "llm":
                await llm_lane.serve(runtime, client, route, x, body)
            elif lane == "contexts":
                await contexts_lane.serve(runtime, client, route, x, body)
            elif lane == "respond":
                assert route.respond is not None
                client.send_whole(x, respond_head(route, x, route.respond), route.respond.body)
            else:
                send_answer(client, x, route, redirect_answer(route, x))
        except Fault as fault:
            refund(x)
            note_fault(runtime, x, fault)
            if client.head_sent:
                x.end = "cut"
                client.cut()
            else:
                client.close_after(fault.close)
                send_answer(client, x, route, told(plan, route, x, fault))
    except Cancelled:
        x.end = "cancelled"
        x.code, x.flag = "client_closed", "DC"
        if not client.head_sent:
            x.status = 499
    except Exception as error:
        refund(x)
        if isinstance(error, Fault):
            defect = error  # a hook on the answer's way out refused our own answer (S10.2)
        else:
            # A defect of ours or of a part: a typed answer for the client, the traceback for the log, on it goes.
            runtime.report(error)
            defect = Fault("upstream_unavailable", "The gateway could not serve this request.", reason="internal",
                          retry_after=1.0)  # fmt: skip
        note_fault(runtime, x, defect)
        if client.head_sent:
            x.end = "cut"
            client.cut()
        else:
            send_answer(client, x, None, told(plan, route, x, defect))
    finally:
        runtime.in_flight -= 1
        if x.releases is not None:
            for release in x.releases:
                release()
        seconds = runtime.clock() - x.started
        if stats is not None:
            stats.in_flight -= 1
            stats.count(x.method if x.method in plan.methods else "other", x.status, seconds)
        else:
            runtime.unrouted.count(x.method if x.method in plan.methods else "other", x.status, seconds)
        if plan.sinks or (route is not None and route.on_done):
            if body is not None:
                x.bytes_in = body.received
            record = record_of(x, plan.generation, seconds)
            if route is not None:
                if route.log_query and x.query:
                    record.query = named_query(x.query, route.log_query)
                for done in route.on_done:
                    done(x, record)
            for sink in plan.sinks:
                sink.write(record)
        client.ended(x)


def told(plan: Plan, route: RoutePlan | None, x: Exchange, fault: Fault) -> Answer:
    """*fault* as the client understands it: a problem, or the words of its own SDK on a route to models (LLM 5.11)."""
    if route is not None and route.llm is not None:
        return shaped_fault(plan.models, fault, x, plan.name)
    if route is not None and route.lane == "contexts":
        return context_problem(fault, x, plan.name)
    return problem(fault, x.request_id, x.trace_id, plan.name)


def announced_names(value: str) -> frozenset[str]:
    """The field names a preflight announces, lower case; a head is bounded, so this is."""
    return frozenset([name.strip().lower() for name in value.split(",")])


def named_query(query: str, names: tuple[str, ...]) -> dict[str, str]:
    """The values of *names* in *query*, for the record of a route that asks for them (S26.11)."""
    found: dict[str, str] = {}
    for name in names:
        value = query_value(query, name)
        if value is not None:
            found[name] = value[:LOGGED_VALUE]
    return found


async def settle(runtime: Runtime, hook: HookPlan, verdict: Any) -> Any:
    """Await what a hook returned: inline when its part is ``stepped``, in a Task otherwise (ARCHITECTURE 11)."""
    if hook.task:
        return await in_task(runtime.steps, verdict)
    return await verdict


def refund(x: Exchange) -> None:
    """Undo the charges of stages before the one that refused (S9.7). What an upstream was asked for is paid for, and so
    is what a client asked for and then left: else leaving early would be a way around every limit."""
    if x.refunds is not None:
        if x.attempts == 0:
            for undo in reversed(x.refunds):
                undo()
        x.refunds = None


def note_fault(runtime: Runtime, x: Exchange, fault: Fault) -> None:
    """What the record and the counters keep of a fault."""
    x.code = fault.code
    x.reason = fault.reason
    x.flag = fault.flag
    runtime.metrics.add("rejects_total", (fault.code,), ("code",))
