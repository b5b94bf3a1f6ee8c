"""Must show 3: what a vendor does wrong, whole and streamed, before the first content and after it.

Before the first content the client never notices: the second target answers. After it one error event in the client's
dialect ends the stream. And whatever happens, what is booked is what the vendors' own books say.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from real.llm.fake_dialects import INPUT, PIECES, TEXT, Asked, Said, shape_of
from real.llm.fake_provider import FakeProvider, Trouble
from real.llm.house import INPUT_PRICE, KEY, OUTPUT_PRICE, ModelHouse, nusd, provider, worth
from real.processes import until
from real.traffic import Talk

pytestmark = pytest.mark.timeout(300)

VENDORS: Final = ("openai", "anthropic", "gemini", "cohere")
FIRST: Final = 0.5
"""Seconds that the first target has until its first content."""
QUESTION: Final = "What is the weather?"
COUNTED: Final = -(-len(QUESTION) // 4)
"""Tokens that we count where no vendor tells."""
AFTER: Final = 3
"""Tokens that come before a stream breaks."""


# -- clients ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Client:
    """How a client of one dialect asks, and reads a stream."""

    dialect: str

    def request(self, model: str, stream: bool) -> tuple[str, dict[str, str], bytes]:
        """Path, fields and body."""
        fields = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
        messages = [{"role": "user", "content": QUESTION}]
        if self.dialect == "openai_chat":
            more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
            return "/v1/chat/completions", fields, json.dumps({"model": model, "messages": messages, **more}).encode()
        if self.dialect == "anthropic_messages":
            fields["anthropic-version"] = "2023-06-01"
            body = {"model": model, "messages": messages, "max_tokens": 100, "stream": stream}
            return "/v1/messages", fields, json.dumps(body).encode()
        if self.dialect == "openai_responses":
            body = {"model": model, "input": QUESTION, "stream": stream}
            return "/v1/responses", fields, json.dumps(body).encode()
        action = "streamGenerateContent?alt=sse" if stream else "generateContent"
        body = {"contents": [{"role": "user", "parts": [{"text": QUESTION}]}]}
        return f"/v1beta/models/{model}:{action}", fields, json.dumps(body).encode()

    def text(self, body: bytes) -> str:
        """The text of a whole answer."""
        answer = json.loads(body)
        if self.dialect == "openai_chat":
            return str(answer["choices"][0]["message"]["content"])
        if self.dialect == "anthropic_messages":
            return "".join(block["text"] for block in answer["content"] if block["type"] == "text")
        if self.dialect == "openai_responses":
            parts = [part for item in answer["output"] if item["type"] == "message" for part in item["content"]]
            return "".join(part["text"] for part in parts)
        return "".join(part["text"] for part in answer["candidates"][0]["content"]["parts"])

    def heard(self, body: bytes) -> tuple[str, str, list[Any]]:
        """(text, how it ended: ``end``, ``error`` or ``cut``, the error) of a stream."""
        text, end, errors = "", "cut", []
        for event, data in events_of(body):
            if self.dialect == "openai_chat":
                if data == "[DONE]":
                    end = "end"
                    continue
                found = json.loads(data)
                if "error" in found:
                    assert event == "error", "openai's SDKs look at the event's name too"
                    errors.append(found["error"])
                else:
                    text += "".join(choice["delta"].get("content") or "" for choice in found["choices"])
                continue
            found = json.loads(data)
            if self.dialect == "anthropic_messages":
                assert event == found["type"]
                if event == "content_block_delta":
                    text += found["delta"].get("text", "")
                elif event == "message_stop":
                    end = "end"
                elif event == "error":
                    errors.append(found["error"])
            elif self.dialect == "openai_responses":
                assert event == found["type"]
                if event == "response.output_text.delta":
                    text += found["delta"]
                elif event == "response.completed":
                    end = "end"
                elif event in ("response.failed", "error"):
                    errors.append(found)
            elif "error" in found:
                errors.append(found["error"])
            else:
                candidate = found["candidates"][0]
                text += "".join(part.get("text", "") for part in candidate.get("content", {}).get("parts", []))
                if candidate.get("finishReason"):
                    end = "end"
        assert len(errors) <= 1, errors
        assert not (errors and end == "end"), "an error and an end"
        return text, "error" if errors else end, errors


CLIENTS: Final = tuple(
    Client(name) for name in ("openai_chat", "anthropic_messages", "openai_responses", "gemini_generate")
)


def events_of(body: bytes) -> list[tuple[str, str]]:
    """(event, data) of an SSE stream."""
    found = []
    for block in body.decode().split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        data = [line[5:].lstrip() for line in lines if line.startswith("data:")]
        named = [line[6:].strip() for line in lines if line.startswith("event:")]
        if data:
            found.append((named[0] if named else "", "\n".join(data)))
    return found


# -- the house --------------------------------------------------------------------------------------------------------


class Matrix:
    """A gateway with two targets for every model: ``first`` is what the test makes of it, ``second`` is well."""

    def __init__(self, house: ModelHouse, first: FakeProvider, second: FakeProvider) -> None:
        self.house = house
        self.first = first
        self.second = second

    def name(self, vendor: str, case: str) -> str:
        """A model nobody has asked for yet, so that no rest of an earlier test counts."""
        global _names
        _names += 1
        return f"{vendor}-{case}-{_names}"

    def ask(self, client: Client, model: str, stream: bool) -> tuple[int, dict[str, str], bytes]:
        """One call, to its end."""

        async def call() -> tuple[int, dict[str, str], bytes]:
            talk = await Talk.open(self.house.door)
            try:
                answer = await talk.call("POST", *client.request(model, stream))
                return answer.status, answer.fields, answer.body
            finally:
                talk.close()

        return asyncio.run(call())

    def record(self, model: str) -> dict[str, Any]:
        """The one ledger record of the call for *model*."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [record for record in self.house.records() if record["asked"] == model]
            return bool(found)

        until(there, 5, each=0.02)
        assert len(found) == 1, found
        return found[0]


_names = 0


@pytest.fixture(scope="module")
def running(network: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    with FakeProvider("first") as first, FakeProvider("second") as second:
        times = {"timeouts": {"first": f"{FIRST}s", "connect": "500ms"}}
        config = {
            "providers": [
                *(provider(vendor, first, f"first-{vendor}", **times) for vendor in VENDORS),
                provider("openai", second, "second"),
            ],
            "models": [
                {
                    "name": f"{vendor}-*",
                    "targets": [{"provider": f"first-{vendor}"}, {"provider": "second"}],
                    "strategy": {"use": "fallback", "retry": 0},
                }
                for vendor in VENDORS
            ]
            + [
                {"name": f"retried-{vendor}-*", "targets": [{"provider": f"first-{vendor}"}, {"provider": "second"}]}
                for vendor in VENDORS
            ]
            + [
                {
                    "name": f"hedged-{vendor}-*",
                    "targets": [{"provider": f"first-{vendor}"}, {"provider": "second"}],
                    "strategy": {"use": "fallback", "retry": 0, "hedge": {"after": "50ms", "share": 100}},
                }
                for vendor in VENDORS
            ]
            + [
                {
                    "name": "alone-*",
                    "targets": [{"provider": "first-openai"}],
                    "strategy": {"use": "fallback", "retry": 0},
                }
            ],
        }
        house = ModelHouse(tmp_path_factory.mktemp("matrix"), config)
        try:
            yield Matrix(house.ready(), first, second)
            house.leave()
        finally:
            house.gateway.abandon()


@pytest.fixture
def matrix(running: Matrix) -> Matrix:
    running.first.forget()
    running.second.forget()
    return running


# -- before the first content -----------------------------------------------------------------------------------------

BEFORE: Final[dict[str, tuple[Trouble | None, str]]] = {
    "refused": (None, "upstream_unavailable"),
    "reset": (Trouble("reset"), ""),
    "stall": (Trouble("stall"), "upstream_timeout"),
    "slow": (Trouble("slow", seconds=5.0), "upstream_timeout"),
    "429": (Trouble("status", status=429, fields=(("retry-after", "20"),)), "rate_limited"),
    "529": (Trouble("status", status=529), "overloaded"),
    "503": (Trouble("status", status=503), "overloaded"),
    "500": (Trouble("status", status=500), "bad_upstream"),
    "html": (Trouble("html"), "bad_upstream"),
    "empty": (Trouble("empty"), "bad_upstream"),
    "cut": (Trouble("cut"), "bad_upstream"),
    "late": (Trouble("late"), "bad_upstream"),
    "malformed": (Trouble("malformed"), "bad_upstream"),
    "error": (Trouble("error"), ""),
    "401": (Trouble("status", status=401), "bad_upstream"),
    "404": (Trouble("status", status=404), "model_not_found"),
}
"""What goes wrong -> the code under which the attempt is recorded, "" where several are right."""
TOLD: Final = ("cut", "late", "malformed", "error")
"""Streams that begin before they break: Anthropic's first event tells what was read."""
LOST: Final = ("cut", "late")
"""Whole answers that are lost on their way: the vendor has made them, and bills them."""
LAST: Final = ("401",)
"""Faults after which a key rests for minutes: they come last."""


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("case", [name for name in BEFORE if name not in LAST])
def test_before_the_first_content_the_client_never_notices(matrix: Matrix, vendor: str, case: str) -> None:
    trouble, code = BEFORE[case]
    if trouble is None:
        matrix.first.refuse()
    matrix.first.always = trouble
    try:
        for stream in (False, True):
            if not stream and case == "slow":
                matrix.first.always = Trouble("stall")
            for client in CLIENTS:
                unnoticed(matrix, client, vendor, case, stream, code)
    finally:
        if trouble is None:
            matrix.first.listen()


def unnoticed(matrix: Matrix, client: Client, vendor: str, case: str, stream: bool, code: str) -> None:
    model = matrix.name(vendor, case)
    where = f"{client.dialect} {vendor} {case} stream={stream}"
    second = len(matrix.second.bills)
    paid = len(matrix.first.bills)
    begun = time.monotonic()
    status, fields, body = matrix.ask(client, model, stream)
    took = time.monotonic() - begun
    assert status == 200, (where, status, body[:500])
    if stream:
        assert client.heard(body) == (TEXT, "end", []), (where, body[-600:])
    else:
        assert client.text(body) == TEXT, (where, body[:600])
    assert fields["x-tidegate-provider"] == "second", where
    assert took < FIRST + 1.5, (where, took)
    until(lambda: len(matrix.second.bills) > second, 5)
    assert len(matrix.second.bills) == second + 1, where
    record = matrix.record(model)
    assert record["cost"] == worth(INPUT, len(PIECES)), (where, record)
    assert record["provider"] == "second" and record.get("end", "complete") == "complete", (where, record)
    tried = record["attempts"]
    assert [attempt["provider"] for attempt in tried] == [f"first-{vendor}", "second"], (where, record)
    if code:
        assert f"{tried[0]['code']} {tried[0].get('reason', '')}".startswith(code), (where, tried)
    # What the first target told of its bill before it broke off is waste, to the token.
    bills = matrix.first.bills[paid:]
    waste = sum(worth(bill.input, bill.output) for bill in bills)
    assert bool(waste) == (vendor == "anthropic" and case in TOLD if stream else case in LOST), where
    assert record.get("waste", 0) == tried[0].get("waste", 0), (where, record)
    if case == "cut" and not stream:  # half of it came, and no bill: input and what came of the text are our count
        assert record["waste"] == worth(COUNTED, -(-len(TEXT) // 4)), (where, record, waste)
    else:
        assert record.get("waste", 0) == waste, (where, record, bills)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("vendor", VENDORS)
def test_what_a_hedge_loses_is_waste_and_never_more_than_its_vendor_bills(
    matrix: Matrix, vendor: str, stream: bool
) -> None:
    """The loser is let go before its first content: what it has told of its bill is waste, to the token; of the others
    the input is, by our count (LLM 10)."""
    if stream and vendor == "anthropic":
        matrix.first.pause = FIRST - 0.1  # its first event is at once
    else:
        matrix.first.always = Trouble("slow", seconds=FIRST - 0.1)
    model = matrix.name(f"hedged-{vendor}", "slow")
    status, fields, body = matrix.ask(CLIENTS[0], model, stream)
    assert (status, fields["x-tidegate-provider"]) == (200, "second"), body
    record = matrix.record(model)
    assert record["cost"] == worth(INPUT, len(PIECES)), record
    lost = record["attempts"][0]
    assert (lost["provider"], lost["reason"]) == (f"first-{vendor}", "hedge_lost"), record
    until(lambda: matrix.first.bills, 5)
    (bill,) = matrix.first.bills
    billed = worth(bill.input, bill.output)
    assert record["waste"] == lost["waste"] <= billed, (record, bill)
    assert lost["waste"] == (billed if stream and vendor == "anthropic" else worth(COUNTED, 0)), (record, bill)


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_may_pass_is_tried_again_at_the_same_target(matrix: Matrix, vendor: str) -> None:
    """``retry: 1`` is the default: one more try before the next target (LLM 9)."""
    matrix.first.troubles.append(Trouble("status", status=500))
    status, fields, _ = matrix.ask(CLIENTS[0], matrix.name(f"retried-{vendor}", "once"), False)
    assert (status, fields["x-tidegate-provider"]) == (200, f"first-{vendor}")
    assert (len(matrix.first.heard), len(matrix.second.heard)) == (2, 0)


def test_what_the_client_did_wrong_is_told_to_him_and_to_nobody_else(matrix: Matrix) -> None:
    for vendor in VENDORS:
        for client in CLIENTS:
            matrix.first.forget()
            matrix.first.always = Trouble("status", status=400, text="the vendor's own words")
            status, _, body = matrix.ask(client, matrix.name(vendor, "wrong"), False)
            assert status == 400 and b"the vendor's own words" in body, (vendor, client, body)
            assert (len(matrix.first.heard), matrix.second.heard) == (1, [])


def test_a_target_that_rests_is_not_asked_and_nobody_waits_for_it(matrix: Matrix) -> None:
    """A vendor's retry-after is obeyed: the second call goes straight to the next target."""
    matrix.first.always = Trouble("status", status=429, fields=(("retry-after", "20"),))
    model = matrix.name("openai", "resting")
    for _ in range(12):
        assert matrix.ask(CLIENTS[0], model, False)[0] == 200
    assert len(matrix.second.heard) == 12
    assert len(matrix.first.heard) <= 2, "each of two workers learns it once"


def test_when_nobody_is_left_the_client_is_told_how_long(matrix: Matrix) -> None:
    matrix.first.always = Trouble("status", status=429, fields=(("retry-after", "20"),))
    model = matrix.name("alone", "rate")
    for _ in range(4):
        status, fields, body = matrix.ask(CLIENTS[0], model, False)
        assert status == 429 and 15 <= int(fields["retry-after"]) <= 20, (fields, body)
        assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"


# -- after the first content ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("case", ["cut", "malformed", "error"])
def test_after_the_first_content_one_error_event_ends_the_stream(matrix: Matrix, vendor: str, case: str) -> None:
    for client in CLIENTS:
        where = f"{client.dialect} {vendor} {case}"
        matrix.first.forget()
        matrix.first.always = Trouble(case, tokens=AFTER)
        matrix.first.pause = 0.01
        model = matrix.name(vendor, case)
        status, _, body = matrix.ask(client, model, True)
        text, end, errors = client.heard(body)
        assert status == 200 and end == "error", (where, end, body[-700:])
        assert text == "".join(PIECES[:AFTER]), (where, text)
        assert "vendor's own" not in str(errors), (where, errors)
        assert matrix.second.heard == [], where
        until(lambda: matrix.first.bills, 5)
        (bill,) = matrix.first.bills
        record = matrix.record(model)
        assert (record["end"], record["stream"]) == ("cut", True), (where, record)
        assert record["usage"]["output"] == bill.output == AFTER, (where, record)
        assert record["cost"] == worth(record["usage"]["input"], AFTER), (where, record)
        if vendor == "anthropic":  # the one that tells its input before its output
            assert record["usage"]["input"] == bill.input, (where, record)
        else:
            assert "estimated" in record["flags"] and record["usage"]["input"] > 0, (where, record)


def test_a_stream_that_stands_still_is_ended_with_an_error(matrix: Matrix, tmp_path: Path) -> None:
    """``idle``: between two events of a stream."""
    times = {"timeouts": {"idle": "1s"}}
    config = {
        "providers": [provider("openai", matrix.first, **times)],
        "models": [{"name": "still", "targets": [{"provider": "openai", "model": "up-model"}]}],
    }
    matrix.first.pause = 2.0
    house = ModelHouse(tmp_path, config).ready()
    try:
        mine = Matrix(house, matrix.first, matrix.second)
        begun = time.monotonic()
        _, _, body = mine.ask(CLIENTS[0], "still", True)
        assert CLIENTS[0].heard(body)[:2] == (PIECES[0], "error")
        assert 2.9 < time.monotonic() - begun < 4.5, "two seconds to the first content, one of silence"
        house.leave()
    finally:
        house.gateway.abandon()


# -- clients that leave -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_client_that_leaves_ends_the_vendors_work_and_pays_for_what_was_made(matrix: Matrix, vendor: str) -> None:
    """F37: the upstream is closed within 250 ms; billed is what came."""
    matrix.first.script = lambda asked, id: Said(id, asked.model, pieces=tuple(f"w{n} " for n in range(400)))
    matrix.first.pause = 0.02

    async def leave(model: str) -> float:
        talk = await Talk.open(matrix.house.door)
        talk.send("POST", *CLIENTS[0].request(model, True))
        await talk.reader.readuntil(b"w5 ")
        talk.close()
        return time.monotonic()

    model = matrix.name(vendor, "left")
    left = asyncio.run(leave(model))
    until(lambda: matrix.first.heard[0].gone, 5)
    assert matrix.first.heard[0].gone - left < 0.25
    record = matrix.record(model)
    until(lambda: matrix.first.bills, 5)
    (bill,) = matrix.first.bills
    assert record["end"] == "cancelled"
    assert 6 <= record["usage"]["output"] <= 20, (record, bill)
    assert abs(bill.output - record["usage"]["output"]) <= 15, "what was on its way when the client left"


# -- books that cannot be trusted -------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("lie", ["missing", "null", "negative", "huge"])
def test_usage_that_cannot_be_is_never_believed(matrix: Matrix, vendor: str, lie: str) -> None:
    def lying(asked: Asked, id: str) -> Said:
        return Said(id, asked.model, usage=lie)

    matrix.first.script = lying
    for stream in (False, True):
        model = matrix.name(vendor, lie)
        status, _, body = matrix.ask(CLIENTS[0], model, stream)
        assert status == 200, (vendor, lie, stream, body)
        if stream:
            assert CLIENTS[0].heard(body)[:2] == (TEXT, "end"), (vendor, lie, body[-500:])
        record = matrix.record(model)
        where = (vendor, lie, stream, record)
        read, written = record["usage"].get("input", 0), record["usage"].get("output", 0)
        assert record["cost"] == worth(read, written), where
        assert 1 <= read < 100 and 0 <= written < 100, where
        if (vendor, lie, stream) != ("anthropic", "negative", True):  # its honest beginning is what is left to believe
            assert record.get("flags"), where
        if lie in ("missing", "null"):
            assert "estimated" in record["flags"] and written > 0, where


# -- the sum ----------------------------------------------------------------------------------------------------------


def test_all_that_was_told_is_the_sum_of_all_that_was_written(matrix: Matrix) -> None:
    """What an operator reads is the ledger's own lines, and no call is without its line."""
    records = matrix.house.records()
    total = matrix.house.booked(len(records))
    assert total["requests"] == len(records)
    assert nusd(total["cost_usd"]) == sum(record.get("cost", 0) for record in records)
    assert total["input_tokens"] == sum((record.get("usage") or {}).get("input", 0) for record in records)
    assert len({record["id"] for record in records}) == len(records)
    opened = {line["id"] for line in matrix.house.lines() if line["kind"] == "open"}
    assert opened <= {record["id"] for record in records}, "a call was set aside for and never settled"
    assert (INPUT_PRICE, OUTPUT_PRICE) == (1_000, 2_000)
    assert shape_of("/v1/messages") is not None


def test_a_key_that_is_refused_rests_and_the_client_never_notices(matrix: Matrix) -> None:
    trouble, code = BEFORE["401"]
    matrix.first.always = trouble
    unnoticed(matrix, CLIENTS[0], "openai", "401", False, code)
    for stream in (False, True):
        status, fields, _ = matrix.ask(CLIENTS[0], matrix.name("openai", "after"), stream)
        assert (status, fields["x-tidegate-provider"]) == (200, "second")
    assert len(matrix.first.heard) <= 2, "each worker asks once more at most, then the key rests for five minutes"
