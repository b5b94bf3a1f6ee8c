"""Load on model surfaces: one chat call of about 2 KB, sent by wrk over kept connections; every answer checked."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from gateway import PORT, Build, Gateway
from load import Failed, Load
from measure import LOAD_CORE, counted, instructions, pinned, usage
from model_upstream import PORT as MODEL

KEYS = 1000
SCRIPT = """
local requests = {}
local at = 0
function init(args)
  for n = 0, %(keys)d - 1 do
    local fields = {%(fields)s}
    if %(vary)s then fields["authorization"] = string.format("Bearer bench-key-%%07d", n) end
    requests[n + 1] = wrk.format("POST", "%(path)s", fields, %(body)s)
  end
end
function request()
  at = at %% %(keys)d + 1
  return requests[at]
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("FIGURES %%d %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration, summary.bytes,
    e.connect + e.read + e.write, e.timeout, e.status))
end
"""


def chat_body(stream: bool, model: str = "fast") -> bytes:
    """A call as applications send it: a system turn, a few turns of talk, a question."""
    talk = [{"role": "system", "content": "You are a careful assistant. " * 12}]
    for turn in range(3):
        talk.append({"role": "user", "content": f"Question {turn}: " + "what does this mean for us? " * 8})
        talk.append({"role": "assistant", "content": f"Answer {turn}: " + "it depends on the case at hand. " * 6})
    talk.append({"role": "user", "content": "And now, in one sentence?"})
    call: dict[str, Any] = {"model": model, "messages": talk, "temperature": 0.2, "max_tokens": 256}
    if stream:
        call["stream"] = True
    return json.dumps(call, separators=(",", ":")).encode()


def config() -> dict[str, Any]:
    """tidegate with everything P2 names: 1,000 virtual keys, budgets reserved and settled, prices, the ledger."""
    return {
        "listeners": [{"address": f"127.0.0.1:{PORT}"}],
        "limits": {"keep_alive_requests": 1_000_000_000, "per_address": 100},
        "providers": [
            {"name": "plain", "use": "openai_compatible", "base_url": f"http://127.0.0.1:{MODEL}/v1",
             "api_key": "sk-up", "limits": {"in_flight": 10_000}},
            {"name": "other", "use": "anthropic", "base_url": f"http://127.0.0.1:{MODEL}", "api_key": "sk-up",
             "limits": {"in_flight": 10_000}},
        ],
        "models": [
            {"name": "fast", "price": {"input": 0.15, "output": 0.6},
             "targets": [{"provider": "plain", "model": "gpt-4o-mini"}]},
            {"name": "translated", "price": {"input": 1, "output": 5},
             "targets": [{"provider": "other", "model": "claude-haiku-4-5"}]},
        ],
        "consumers": [
            {"name": f"caller-{n}", "keys": [f"bench-key-{n:07d}"], "budget": {"usd": 1_000_000, "per": "month"}}
            for n in range(KEYS)
        ],
        "routes": [
            {"name": "health", "match": {"path": "/ready", "exact": True}, "respond": {"text": "yes"}},
            {"name": "llm", "match": {"path": "/v1"}, "filters": [{"use": "api_key"}], "llm": {}},
        ],
    }  # fmt: skip


def gateway(build: Build) -> Gateway:
    """tidegate on that config."""
    return Gateway(config(), build, probe=("/ready", "none-is-asked"))


def run(port: int, pids: list[int], seconds: float, body: bytes, fields: dict[str, str] | None = None,
        connections: int = 64) -> Load:  # fmt: skip
    """Load 127.0.0.1:*port* with *body* and watch *pids*. Without *fields* the calls take 1,000 keys in turn."""
    wrk = shutil.which("wrk")
    if not wrk:
        raise SystemExit("wrk is not installed (Debian: apt-get install wrk)")
    sent = {"content-type": "application/json", **(fields or {})}
    lua = ", ".join(f'["{name}"] = "{value}"' for name, value in sent.items())
    with tempfile.TemporaryDirectory(prefix="tidegate-wrk-") as folder:
        script = Path(folder) / "calls.lua"
        script.write_text(SCRIPT % {
            "keys": 1 if fields else KEYS, "fields": lua, "vary": "false" if fields else "true",
            "path": "/v1/chat/completions", "body": f"[==[{body.decode()}]==]",
        })  # fmt: skip
        command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "20s"]
        command, counting = counted(pids, [*command, "-s", str(script), f"http://127.0.0.1:{port}"])
        before = usage(pids)
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + 60, preexec_fn=pinned(LOAD_CORE), check=False
        )
        cpu = usage(pids) - before
    found = re.search(r"FIGURES (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    if found is None:
        raise Failed(f"wrk said: {done.stdout}{done.stderr}")
    requests, duration, size, sockets, late, wrong = map(int, found.groups())
    if not requests or sockets or late or wrong:
        raise Failed(f"{requests} calls: {sockets} socket errors, {late} timeouts, {wrong} not 2xx or 3xx")
    told = instructions(done.stderr) if counting else (0.0, 0.0)
    return Load(requests, duration / 1e6, size, cpu, (told[0] / requests, told[1] / requests))
