import asyncio
from pathlib import Path

import pytest

from tidegate.assembly.inert import InertTools
from tidegate.ports.authority import LimitSpec


def test_inert_tools_allow_everything_and_know_nobody() -> None:
    tools = InertTools("r/0", Path("/data"))
    policy = tools.limits.policy(LimitSpec("p", "rate", 5))
    verdict = policy.take("x", 100)
    assert verdict.allowed and verdict.remaining == 5  # type: ignore[union-attr]
    policy.give_back("x")
    assert tools.consumers.by_key("k") is None and tools.consumers.by_name("n") is None
    assert tools.consumers.secret_of("n", "basic") is None and tools.consumers.epoch() == 0
    assert tools.key_sets.get("https://x") is None and tools.key_sets.version("https://x") == 0
    tools.key_sets.want("https://x", "kid")
    assert (tools.scope, tools.data_folder, tools.now(), tools.random()) == ("r/0", Path("/data"), 0.0, 0.5)
    assert tools.token(4) == bytes(4) and len(tools.secret("cookies")) >= 16
    assert not tools.send_copy("u", "GET", "/", [], b"", 1.0) and not tools.faults_allowed()
    tools.counter("x")(1)
    tools.log("info", "event")


def test_nothing_waits_or_goes_out_while_a_config_is_checked() -> None:
    tools = InertTools("r/0", Path("/data"))
    for call in (tools.sleep(1.0), tools.offload(print)):
        with pytest.raises(RuntimeError):
            asyncio.run(call)  # type: ignore[arg-type]
    work = tools.sleep(1.0)
    tools.spawn(work)
    with pytest.raises(RuntimeError, match="already awaited"):
        work.send(None)  # type: ignore[attr-defined]
