"""LiteLLM and Portkey as gateways to the same model: one worker each, pinned, no database, no logs.

    python benchmarks/model_rivals.py litellm|portkey     (runs it until Ctrl-C)

LiteLLM is looked for in the environment that ``TIDEGATE_LITELLM`` names (``pip install 'litellm[proxy]'``), Portkey in
the folder that ``TIDEGATE_PORTKEY`` names (``npm install @portkey-ai/gateway``). ``make bench-models`` makes both.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import PROXY_CORE, pinned, tree
from model_upstream import PORT as MODEL
from upstream import must_be_free, wait_until_answered

LISTEN = {"litellm": 28491, "portkey": 28492}
HERE = Path(__file__).resolve().parent.parent
KEY = "sk-bench-0123456789"


def program(name: str) -> list[str] | None:
    """The command that begins *name*, None where it is not installed."""
    if name == "litellm":
        found = Path(os.environ.get("TIDEGATE_LITELLM", HERE / ".make" / "litellm")) / "bin" / "litellm"
        return [str(found)] if found.exists() else None
    folder = Path(os.environ.get("TIDEGATE_PORTKEY", HERE / ".make" / "portkey"))
    script = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    node = shutil.which("node")
    return [node, str(script)] if node and script.exists() else None


def installed() -> list[str]:
    """The rivals that can be measured here."""
    return [name for name in LISTEN if program(name)]


class ModelRival:
    """One of them, running on the gateway's core, for a ``with`` block. ``fields`` are what a client sends it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = LISTEN[name]
        self.fields = {"authorization": f"Bearer {KEY}"}
        if name == "portkey":
            self.fields |= {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{MODEL}/v1"}

    def __enter__(self) -> ModelRival:
        must_be_free(self.port)
        self.folder = tempfile.TemporaryDirectory(prefix="tidegate-rival-")
        command = program(self.name) or []
        environment = {**os.environ, "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                       "DO_NOT_TRACK": "1", "NODE_ENV": "production"}  # fmt: skip
        if self.name == "litellm":
            file = Path(self.folder.name) / "litellm.yaml"
            target = {"model": "openai/gpt-4o-mini", "api_base": f"http://127.0.0.1:{MODEL}/v1", "api_key": "sk-up"}
            file.write_text(json.dumps({
                "model_list": [{"model_name": "fast", "litellm_params": target}],
                "general_settings": {"master_key": KEY},
                "litellm_settings": {"telemetry": False, "callbacks": [], "num_retries": 0},
            }))  # fmt: skip
            command += ["--config", str(file), "--host", "127.0.0.1", "--port", str(self.port), "--num_workers", "1"]
            ready = f"http://127.0.0.1:{self.port}/health/liveliness"
        else:
            command += [f"--port={self.port}", "--headless"]
            ready = f"http://127.0.0.1:{self.port}/"
        self.process = subprocess.Popen(
            command, env=environment, cwd=self.folder.name, preexec_fn=pinned(PROXY_CORE),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_until_answered(ready, {}, self.process, 120.0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def pids(self) -> list[int]:
        return tree(self.process.pid)


if __name__ == "__main__":
    with ModelRival(sys.argv[1]) as rival, contextlib.suppress(KeyboardInterrupt):
        print(f"{rival.name} listens on 127.0.0.1:{rival.port}; Ctrl-C ends it")
        while True:
            time.sleep(1)
