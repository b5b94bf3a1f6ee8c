"""Redis after kill -9 of the gateway or of the server: nothing acknowledged is lost, doubled or torn
(57; K4 K6 K7 K8)."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeTools
from repositories.kill import TRIALS, Arm, after_a_moment, die, kill_and_retry
from servers.redis import LEFT_OUT, WHY, RedisServer
from tidegate.ports.context_store import ContextStore
from tidegate.repositories.valkey import Config, Valkey


def at_a_command(store: ContextStore, dice: random.Random) -> None:
    """Dies before or behind one of its next commands, whichever of a call's it is (K4)."""
    assert isinstance(store, Valkey)
    left = dice.randrange(1, 6)
    before = dice.random() < 0.5

    def dying(plain: Any) -> Any:
        async def execute(*command: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0 and before:
                die()
            answer = await plain(*command, **options)
            if left <= 0:
                die()
            return answer

        return execute

    for name in ("_execute", "_piped"):
        setattr(store, name, dying(getattr(store, name)))


@pytest.mark.skipif(LEFT_OUT, reason=WHY)
@pytest.mark.timeout(0 if TRIALS > 50 else 120)
def test_nothing_acknowledged_is_lost_nothing_doubled_nothing_torn(tmp_path: Path) -> None:  # 57
    parent = os.getpid()
    with RedisServer("--appendfsync", "always") as server:

        def with_the_server(store: ContextStore, dice: random.Random) -> None:
            """Both at once, in the middle of a call (K8)."""
            process = server.process
            assert process is not None

            def both(plain: Any) -> Any:
                async def execute(*command: Any, **options: Any) -> Any:
                    work = plain(*command, **options)
                    if dice.random() < 0.5:
                        await work
                    os.kill(process.pid, signal.SIGKILL)
                    die()

                return execute

            for name in ("_execute", "_piped"):
                setattr(store, name, both(getattr(store, name)))

        async def opened() -> ContextStore:
            if os.getpid() == parent and server.dying():
                server.kill()
                server.start()
            tools = FakeTools()
            tools.wall = time.time  # type: ignore[method-assign]
            tools.token = os.urandom  # type: ignore[method-assign]
            store = Valkey(Config(url=server.url, durability="full", timeout=20), tools)
            await store.open()
            return store

        arms: tuple[Arm, ...] = (at_a_command,) * 5 + (after_a_moment(0.006),) * 2 + (with_the_server,)
        tally = kill_and_retry(tmp_path, opened, arms)
    print(tally)
    assert tally.trials == TRIALS
    assert tally.killed > TRIALS // 4
    assert tally.acknowledged > TRIALS
