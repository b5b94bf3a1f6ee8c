"""A gateway to models under test: its config, its books as an operator reads them, its ledger as it lies on disk.

The ledger's lines are read by code of this file: a second pair of eyes.
"""

from __future__ import annotations

import json
import time
import zlib
from pathlib import Path
from typing import Any, Final

import yaml

from real.llm.fake_provider import AWS_KEY_ID, FakeProvider
from real.processes import Gateway, free_port, until

KEY: Final = "tg-key-of-the-tests"
INPUT_PRICE: Final = 1_000
"""n$ a token in, at every provider here: 1 USD per million."""
OUTPUT_PRICE: Final = 2_000
PRICE: Final = {"input": 1, "output": 2}
NUSD: Final = 10**9

PRESETS: Final[dict[str, dict[str, Any]]] = {
    "openai": {"base": "/v1"},
    "anthropic": {},
    "gemini": {},
    "bedrock": {"key": AWS_KEY_ID + ":", "more": {"region": "us-east-1"}},
    "cohere": {},
    "ollama": {},
    "mistral": {"base": "/v1", "model": "mistral-up"},
    "openai_compatible": {"base": "/v1"},
}
"""Preset -> how a provider of it is pointed at a fake."""
ROUTES: Final = ("/v1", "/v1beta", "/v2", "/api", "/model")


def provider(preset: str, fake: FakeProvider, name: str = "", **more: Any) -> dict[str, Any]:
    """A provider of the config that is *fake*."""
    known = PRESETS[preset]
    return {
        "name": name or preset, "use": preset, "base_url": fake.url + known.get("base", ""),
        "api_key": known.get("key", "") + fake.key, "price": PRICE, **known.get("more", {}), **more,
    }  # fmt: skip


def model(name: str, *targets: str, **more: Any) -> dict[str, Any]:
    """A model of the config; a target is ``provider`` or ``provider/model``."""
    split = [target.partition("/") for target in targets]
    return {
        "name": name,
        "targets": [{"provider": provider, "model": known or "up-model"} for provider, _, known in split],
        **more,
    }


def routes(**llm: Any) -> list[dict[str, Any]]:
    """A route for every prefix that models are asked under."""
    return [{"name": path[1:], "match": {"path": path}, "filters": [{"use": "api_key"}], "llm": llm} for path in ROUTES]


class ModelHouse:
    """A running gateway. ``door`` is the port for clients, ``base`` its URL."""

    def __init__(self, folder: Path, config: dict[str, Any], workers: int = 2) -> None:
        self.door, admin = free_port(), free_port()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        document = {
            "listeners": [{"address": f"127.0.0.1:{self.door}"}, *config.pop("listeners", [])],
            "admin": {"address": f"127.0.0.1:{admin}"},
            "drain": {"accept": "0s", "finish": "2s"},
            "consumers": [{"name": "tester", "keys": [KEY]}],
            "routes": routes(),
            **config,
        }
        path = folder / "models.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        self.gateway = Gateway(path, folder, admin, workers)

    def ready(self) -> ModelHouse:
        self.gateway.ready()
        return self

    def leave(self) -> None:
        """Stop it in good order; it must have nothing to complain of."""
        code = self.gateway.stop()
        assert code == 0, (code, self.gateway.said)
        assert "Traceback" not in self.gateway.said, self.gateway.said

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.door}"

    # -- money -------------------------------------------------------------------------------------------------------

    def usage(self, by: str = "model") -> dict[str, Any]:
        """``GET /api/v1/usage``."""
        code, document = self.gateway.get(f"/api/v1/usage?by={by}&bucket=")
        assert code == 200, document
        return document

    def spent(self) -> int:
        """n$ of everything, as the operator is told."""
        return nusd(self.usage()["total"]["cost_usd"])

    def booked(self, calls: int, seconds: float = 6.0) -> dict[str, Any]:
        """The totals, once *calls* of them are there."""
        until(
            lambda: self.usage()["total"]["requests"] >= calls, seconds,
            lambda: f"{self.usage()['total']} of {calls}", each=0.1,
        )  # fmt: skip
        found: dict[str, Any] = self.usage()["total"]
        return found

    def lines(self) -> list[dict[str, Any]]:
        """Every whole line of every segment of the ledger."""
        found = []
        for segment in sorted((self.gateway.data / "ledger").glob("*.log")):
            for raw in segment.read_bytes().split(b"\n")[:-1]:
                assert int(raw[:8], 16) == zlib.crc32(raw[9:]), (segment, raw)
                found.append(json.loads(raw[9:]))
        return found

    def records(self) -> list[dict[str, Any]]:
        """The ledger record of each call, oldest first."""
        return [line["record"] for line in self.lines() if line["kind"] == "done"]

    def records_after(self, count: int, calls: int, seconds: float = 5.0) -> list[dict[str, Any]]:
        """The *calls* records that follow the first *count*, in no certain order: workers write by themselves."""
        until(lambda: len(self.records()) >= count + calls, seconds, lambda: str(self.records()), each=0.05)
        return sorted(self.records(), key=lambda record: record["ts"])[count:]


def nusd(text: str) -> int:
    """Dollars as the operator reads them, in n$."""
    whole, _, rest = text.partition(".")
    return int(whole) * NUSD + int(rest.ljust(9, "0"))


def worth(read: int, written: int) -> int:
    """n$ for tokens."""
    return read * INPUT_PRICE + written * OUTPUT_PRICE


def fresh(seconds: float = 0.0) -> float:
    """Now, by the clock that ledgers use."""
    return time.time() + seconds
