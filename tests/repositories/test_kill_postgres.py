"""PostgreSQL after kill -9 of the gateway or of the server: nothing acknowledged is lost, doubled or torn
(57; K4 K6 K7 K8)."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeTools
from repositories.kill import TRIALS, Arm, after_a_moment, die, kill_and_retry
from servers.postgres import LEFT_OUT, WHY, PostgresServer
from tidegate.ports.context_store import ContextStore
from tidegate.repositories import _postgres_tables
from tidegate.repositories.postgres import Config, Postgres


def at_a_statement(store: ContextStore, dice: random.Random) -> None:
    """Dies before or behind one of its next statements, most of them inside a transaction (K4)."""
    left = dice.randrange(1, 30)
    before = dice.random() < 0.5

    def dying(plain: Any) -> Any:
        async def run(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0 and before:
                die()
            answer = await plain(*arguments)
            if left <= 0:
                die()
            return answer

        return run

    for name in ("rows", "sql"):  # of this process, which dies of it
        setattr(_postgres_tables.Tables, name, dying(getattr(_postgres_tables.Tables, name)))


@pytest.mark.skipif(LEFT_OUT, reason=WHY)
@pytest.mark.timeout(0 if TRIALS > 50 else 120)
def test_nothing_acknowledged_is_lost_nothing_doubled_nothing_torn(tmp_path: Path) -> None:  # 57
    parent = os.getpid()
    with PostgresServer() as server:

        def with_the_server(store: ContextStore, dice: random.Random) -> None:
            """Both at once, in the middle of a call (K8)."""
            process = server.process
            assert process is not None
            left = dice.randrange(1, 12)

            def both(plain: Any) -> Any:
                async def run(*arguments: Any) -> Any:
                    nonlocal left
                    left -= 1
                    answer = await plain(*arguments)
                    if left <= 0:
                        os.kill(process.pid, signal.SIGQUIT)
                        die()
                    return answer

                return run

            for name in ("rows", "sql"):
                setattr(_postgres_tables.Tables, name, both(getattr(_postgres_tables.Tables, name)))

        async def opened() -> ContextStore:
            if os.getpid() == parent and server.dying():
                server.kill()
                server.start()
            tools = FakeTools()
            tools.token = os.urandom  # type: ignore[method-assign]
            store = Postgres(Config(url=server.url, durability="full", timeout=20, connections=2), tools)
            await store.open()
            return store

        arms: tuple[Arm, ...] = (at_a_statement,) * 10 + (after_a_moment(0.03),) * 3 + (with_the_server,)
        tally = kill_and_retry(tmp_path, opened, arms)
    print(tally)
    assert tally.trials == TRIALS
    assert tally.killed > TRIALS // 4
    assert tally.acknowledged > TRIALS
