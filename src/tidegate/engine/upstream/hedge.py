"""Hedging: a second attempt at another endpoint when the first takes longer than usual (S14.7).

Both race; the first acceptable answer completes one Wait, the loser is cancelled and its connection closed.
"""

from __future__ import annotations

from tidegate.engine.clock import Timer
from tidegate.engine.request_body import RequestBody
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import ClientSide
from tidegate.engine.steps import Stepper, Wait
from tidegate.engine.upstream.attempts import Reached, reach
from tidegate.engine.upstream.upstream import Upstream
from tidegate.exchange.exchange import Exchange
from tidegate.ports.balancer import Endpoint
from tidegate.ports.plan import RoutePlan
from tidegate.rules.retrying import idempotent


class Race:
    """Mutable state: ``runners`` under way, ``wait`` until somebody has won or all have lost."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.wait = Wait(runtime.steps)
        self.wait.withdraw = self.stop
        self.runners: list[Stepper] = []
        self.tried: list[Endpoint] = []
        self.running = 0

    def enter(self, upstream: Upstream, route: RoutePlan, x: Exchange, lines: str, client: ClientSide | None,
              repeat: bool) -> None:  # fmt: skip
        """One more runner."""
        self.running += 1
        runner = Stepper(self.runtime.steps, self._run(upstream, route, x, lines, client, repeat))
        self.runners.append(runner)
        self.runtime.steps.go(runner)

    async def _run(self, upstream: Upstream, route: RoutePlan, x: Exchange, lines: str, client: ClientSide | None,
                   repeat: bool) -> None:  # fmt: skip
        try:
            reached = await reach(
                self.runtime, upstream, route, x, lines, None, client, avoid=self.tried, may_repeat=repeat
            )
        except Exception as error:
            self.running -= 1
            if self.running == 0:
                self.wait.fail(error)
            return
        self.running -= 1
        if self.wait.done:
            reached.connection.close()
            reached.done(self.runtime.clock(), "cancelled")
            return
        if reached.head.status >= 500 and self.running > 0:
            reached.connection.close()
            reached.done(self.runtime.clock(), "")
            return
        self.wait.complete(reached)

    def stop(self) -> None:
        """Cancel whoever still runs."""
        self.wait.done = True
        for runner in self.runners:
            runner.cancel()


async def reach_hedged(
    runtime: Runtime,
    upstream: Upstream,
    route: RoutePlan,
    x: Exchange,
    lines: str,
    body: RequestBody | None,
    client: ClientSide | None,
) -> Reached:
    """As ``reach``, with a hedge for idempotent requests without a body."""
    hedging = upstream.hedge
    assert hedging is not None
    delay = hedging.delay()
    if body is not None or delay < 0.0 or not idempotent(x.method, False) or len(upstream.endpoints) < 2:
        return await reach(runtime, upstream, route, x, lines, body, client)
    hedging.count()
    race = Race(runtime)

    def hedge() -> None:
        if race.wait.done or upstream.breaker.state(runtime.clock()) != "closed":
            return
        if hedging.take() and upstream.budget.take(runtime.clock()):
            x.hedged = True
            race.tried = [e for e in upstream.endpoints if e.key == x.endpoint]
            runtime.metrics.add("hedges_total", (upstream.plan.name, "sent"), ("upstream", "result"))
            race.enter(upstream, route, x, lines, client, False)

    timer = Timer(hedge)
    runtime.wheel.set(timer, runtime.clock() + delay)
    race.enter(upstream, route, x, lines, client, True)
    try:
        reached: Reached = await race.wait
    finally:
        runtime.wheel.clear(timer)
        race.stop()
    x.endpoint = reached.endpoint.key
    x.upstream_status = reached.head.status
    if x.hedged:
        won = "won" if reached.endpoint not in race.tried else "lost"
        runtime.metrics.add("hedges_total", (upstream.plan.name, won), ("upstream", "result"))
    return reached
