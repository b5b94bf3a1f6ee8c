"""Must show 1: every official SDK, unchanged, against the gateway, with every vendor's dialect behind it.

Text, parallel tools, a loop with their results, thoughts, counts, lists and faults; whole and streamed; strict response
validation where the SDK has it. The gateway is ``tidegate run`` with two workers, the vendors are one fake that
verifies keys and keeps books: at the end of each test those and the gateway's agree to the token.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from real.llm.fake_dialects import INPUT, PIECES, TEXT
from real.llm.fake_provider import FakeProvider, Trouble
from real.llm.house import INPUT_PRICE, KEY, OUTPUT_PRICE, PRESETS, ModelHouse, model, nusd, provider
from real.llm.sdks import OLDER, need_npm, need_older, need_python, run_node, run_python
from real.processes import free_port, until

pytestmark = pytest.mark.timeout(300)

VENDORS: Final = tuple(name for name in PRESETS if name != "openai_compatible")
CALLS: Final = [["get_weather", {"city": "Paris"}], ["get_weather", {"city": "Zürich 🏔"}]]

PYTHON_SDKS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "openai": {
        "text": (
            "chat", "chat_stream", "responses", "responses_stream", "completions", "completions_stream",
        ),
        "tools": (
            "tools", "tools_stream", "tools_helper", "responses_tools", "responses_tools_stream", "responses_helper",
        ),
        "loop": ("loop", "responses_loop"),
    },
    "anthropic": {
        "text": ("messages", "messages_stream", "messages_helper"),
        "tools": ("tools", "tools_stream"), "loop": ("loop",),
    },
    "genai": {
        "text": ("generate", "generate_stream", "generate_async"),
        "tools": ("tools", "tools_stream"), "loop": ("loop",),
    },
    "mistralai": {"text": ("chat", "chat_stream"), "tools": ("tools", "tools_stream"), "loop": ("loop",)},
    "cohere": {"text": ("chat", "chat_stream"), "tools": ("tools", "tools_stream"), "loop": ("loop",)},
    "boto3": {"text": ("converse", "converse_stream"), "tools": ("tools", "tools_stream"), "loop": ("loop",)},
    "ollama": {"text": ("chat", "chat_stream"), "tools": ("tools", "tools_stream"), "loop": ("loop",)},
}  # fmt: skip
"""SDK -> what its script does: ``text`` ends in the usual text, ``tools`` in two calls, ``loop`` sends results."""
NODE_SDKS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "openai": {
        "text": ("chat", "chat_stream", "responses"),
        "tools": ("tools", "tools_stream", "responses_tools_stream"), "loop": ("loop",),
    },
    "anthropic": {
        "text": ("messages", "messages_stream"), "tools": ("tools", "tools_stream"), "loop": ("loop",),
    },
    "ai": {
        "text": ("chat", "chat_stream", "responses", "responses_stream"),
        "tools": ("tools", "tools_stream", "responses_tools_stream"), "loop": ("loop",),
    },
}  # fmt: skip
UNASKED: Final = {("mistralai", "chat_stream")}
"""Streams that do not ask for usage: OpenAI's rule is that none is told then."""
FRAGMENTS: Final = {("mistralai", "tools_stream")}
"""The mistralai package refuses arguments in fragments, which is how every vendor but Mistral streams them."""


class Sdks:
    """The gateway that SDKs talk to, and the vendor behind it."""

    def __init__(self, house: ModelHouse, fake: FakeProvider, secure: str, ca: str) -> None:
        self.house = house
        self.fake = fake
        self.secure = secure
        self.ca = ca

    def job(self, things: list[tuple[str, str]], **more: Any) -> dict[str, Any]:
        """(thing, model) pairs as a job. boto3 sends no bearer token in clear, so it has the port with TLS."""
        return {
            "base": self.house.base, "key": KEY, "secure": self.secure, "ca": self.ca,
            "do": [{"do": thing, "model": model} for thing, model in things], **more,
        }  # fmt: skip


@pytest.fixture(scope="module")
def sdks(network: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdks]:
    need_python()
    folder: Path = tmp_path_factory.mktemp("sdks")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    port = free_port()
    secured = {"certificates": [{"cert": "server.pem", "key": "server.pem"}]}
    with FakeProvider() as fake:
        models = []
        for name in VENDORS:
            models.append(model(f"at-{name}", f"{name}/{PRESETS[name].get('model', 'up-model')}"))
            models.append(model(f"think-{name}", f"{name}/up-think"))
        models.append(model("vectors", "gemini"))  # a name with "gemini" in it makes the SDK join all inputs into one
        config = {
            "listeners": [{"address": f"127.0.0.1:{port}", "tls": secured}],
            "providers": [provider(name, fake) for name in VENDORS],
            "models": models,
        }
        house = ModelHouse(folder, config)
        try:
            yield Sdks(house.ready(), fake, f"https://localhost:{port}", str(folder / "ca.pem"))
            house.leave()
        finally:
            house.gateway.abandon()


@pytest.fixture(autouse=True)
def books_agree(sdks: Sdks) -> Iterator[None]:
    """Whatever a test does: what it cost at the vendor is what the gateway says that it cost."""
    sdks.fake.forget()
    before = sdks.house.usage()["total"]
    yield
    read, written = sdks.fake.billed()
    due = nusd(before["cost_usd"]) + read * INPUT_PRICE + written * OUTPUT_PRICE
    until(lambda: sdks.house.spent() == due, 8, lambda: f"{due} n$ due, told is {sdks.house.usage()['total']}", 0.1)
    assert sdks.house.usage()["total"]["output_tokens"] - before["output_tokens"] == written


def told_right(sdk: str, kinds: list[tuple[str, str, str]], told: list[dict[str, Any]]) -> None:
    """Every answer is as it must be; else what is not, a line each."""
    found = []
    for (kind, thing, asked), answer in zip(kinds, told, strict=True):
        where = f"{sdk} {thing} {asked}"
        if "error" in answer:
            found.append(f"{where}: {answer['error']} {answer['status']} {answer['says']}")
            continue
        if kind == "tools" and [call[1:] for call in answer["calls"]] != CALLS:
            found.append(f"{where}: calls {answer['calls']}")
        if kind != "tools" and answer["text"] != TEXT:
            found.append(f"{where}: text {answer['text']!r}")
        usage = None if (sdk, thing) in UNASKED and "mistral" not in asked else [INPUT, len(PIECES)]
        if kind == "text" and answer["usage"] != usage:
            found.append(f"{where}: usage {answer['usage']}")
    assert not found, "\n".join(found)


def all_of(sdk: str, table: dict[str, dict[str, tuple[str, ...]]]) -> list[tuple[str, str, str]]:
    """(kind, thing, model) of everything an SDK can do with every vendor."""
    return [
        (kind, thing, f"at-{vendor}")
        for vendor in VENDORS
        for kind, things in table[sdk].items()
        for thing in things
        if (sdk, thing) not in FRAGMENTS or vendor == "mistral"
    ]


@pytest.mark.parametrize("sdk", PYTHON_SDKS)
def test_every_python_sdk_reaches_every_vendor(sdks: Sdks, sdk: str) -> None:
    kinds = all_of(sdk, PYTHON_SDKS)
    told = run_python(sdk, sdks.job([(thing, asked) for _, thing, asked in kinds]))
    told_right(sdk, kinds, told)


@pytest.mark.parametrize("sdk", NODE_SDKS)
def test_every_npm_sdk_reaches_every_vendor(sdks: Sdks, sdk: str) -> None:
    need_npm()
    kinds = all_of(sdk, NODE_SDKS)
    told = run_node(sdk, sdks.job([(thing, asked) for _, thing, asked in kinds]))
    told_right(sdk, kinds, told)


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_the_generation_before_reaches_every_vendor(sdks: Sdks, sdk: str) -> None:
    need_older()
    kinds = all_of(sdk, PYTHON_SDKS)
    told = run_python(sdk, sdks.job([(thing, asked) for _, thing, asked in kinds]), OLDER)
    told_right(sdk, kinds, told)


def test_gemini_clients_may_say_v1(sdks: Sdks) -> None:
    todo = [
        {"do": thing, "model": asked, "version": "v1"}
        for asked in ("at-gemini", "at-openai")
        for thing in ("generate", "generate_stream", "tools_stream")
    ]
    kinds = [("tools" if "tools" in thing["do"] else "text", thing["do"], thing["model"]) for thing in todo]
    told_right("genai", kinds, run_python("genai", {**sdks.job([]), "do": todo}))


def test_boto3_signs_with_a_pair_of_ours(sdks: Sdks) -> None:
    pair = pair_of(sdks.house)
    kinds = all_of("boto3", PYTHON_SDKS)
    todo = [{"do": thing, "model": asked} for _, thing, asked in kinds]
    told_right("boto3", kinds, run_python("boto3", {"base": sdks.house.base, **pair, "do": todo}))
    wrong = {"base": sdks.house.base, "key_id": pair["key_id"], "key": "f" + pair["key"][1:-1] + "0", "do": todo[:1]}
    (refused,) = run_python("boto3", wrong)
    assert refused["status"] in (401, 403), refused


THINKERS: Final = ("anthropic", "gemini", "bedrock", "openai")


@pytest.mark.parametrize(
    ("sdk", "things"),
    [
        ("openai", ("chat", "chat_stream", "responses", "responses_stream")),
        ("anthropic", ("messages", "messages_helper")),
        ("genai", ("generate", "generate_stream")),
        ("boto3", ("converse", "converse_stream")),
        ("ollama", ("chat", "chat_stream")),
    ],
)
def test_thoughts_reach_the_client_as_thoughts(sdks: Sdks, sdk: str, things: tuple[str, ...]) -> None:
    asked = [(thing, f"think-{vendor}") for vendor in THINKERS for thing in things]
    told = run_python(sdk, sdks.job(asked))
    wrong = [
        f"{thing} {answer}" for thing, answer in zip(asked, told, strict=True)
        if (answer.get("thought"), answer.get("text")) != ("Let me see.", TEXT)
    ]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def test_lists_of_models_are_in_each_sdks_own_shape(sdks: Sdks) -> None:
    names = {f"{kind}-{vendor}" for vendor in VENDORS for kind in ("at", "think")} | {"vectors"}
    for sdk, prefix in {"openai": "", "anthropic": "", "genai": "models/"}.items():
        (told,) = run_python(sdk, sdks.job([("models", "")]))
        assert set(told["ids"]) == {prefix + name for name in names}, sdk


def test_tokens_are_counted_by_the_vendor_or_else_here(sdks: Sdks) -> None:
    for sdk, own in {"anthropic": "at-anthropic", "genai": "at-gemini"}.items():
        exact, counted = run_python(sdk, sdks.job([("count", own), ("count", "at-openai")]))
        assert exact == {"count": INPUT}
        assert 5 < counted["count"] < 50
    assert sdks.fake.bills == []


def test_embeddings_pass_and_are_billed(sdks: Sdks) -> None:
    (told,) = run_python("openai", sdks.job([("embeddings", "at-openai")]))
    assert told == {"vectors": [[0.0, 0.5, -0.25, 1.0], [1.0, 0.5, -0.25, 1.0]], "usage": INPUT}
    assert run_python("genai", sdks.job([("embeddings", "vectors")])) == [{"vectors": [[0.0, 0.5], [1.0, 0.5]]}]
    assert run_python("cohere", sdks.job([("embeddings", "at-cohere")])) == [{"vectors": [[0.0, 0.5], [1.0, 0.5]]}]


# -- faults ------------------------------------------------------------------------------------------------------------

ERRORS: Final[dict[str, tuple[tuple[str, str], dict[int, tuple[str, int]]]]] = {
    "openai": (("chat", "chat_stream"), {
        400: ("BadRequestError", 400), 401: ("InternalServerError", 502), 404: ("NotFoundError", 404),
        429: ("RateLimitError", 429), 500: ("InternalServerError", 502), 529: ("InternalServerError", 503),
    }),
    "anthropic": (("messages", "messages_helper"), {
        400: ("BadRequestError", 400), 401: ("InternalServerError", 502), 404: ("NotFoundError", 404),
        429: ("RateLimitError", 429), 500: ("InternalServerError", 502), 529: ("OverloadedError", 529),
    }),
    "genai": (("generate", "generate_stream"), {
        400: ("ClientError", 400), 404: ("ClientError", 404), 429: ("ClientError", 429), 500: ("ServerError", 502),
        529: ("ServerError", 503),
    }),
    "mistralai": (("chat", "chat_stream"), {400: ("SDKError", 400), 429: ("SDKError", 429), 500: ("SDKError", 502)}),
    "cohere": (("chat", "chat_stream"), {
        400: ("BadRequestError", 400), 429: ("TooManyRequestsError", 429), 500: ("ApiError", 502),
    }),
    "boto3": (("converse", "converse_stream"), {
        400: ("ValidationException", 400), 404: ("ResourceNotFoundException", 404), 429: ("ThrottlingException", 429),
        500: ("ModelErrorException", 424), 529: ("ServiceUnavailableException", 503),
    }),
    "ollama": (("chat", "chat_stream"), {
        400: ("ResponseError", 400), 429: ("ResponseError", 429), 500: ("ResponseError", 502),
    }),
}  # fmt: skip
"""SDK -> what it does, and the class and status it raises for what the vendor said (LLM 5.11)."""
BEHIND: Final = ("openai", "anthropic", "gemini")


@pytest.fixture(scope="module")
def failing(network: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ModelHouse, FakeProvider]]:
    """A gateway whose one target fails as told: each status has a model of its own, so that none rests for another."""
    with FakeProvider() as fake:
        strategy = {"use": "fallback", "retry": 0}
        config = {
            "providers": [provider(name, fake) for name in BEHIND],
            "models": [{"name": f"{name}-*", "targets": [{"provider": name}], "strategy": strategy} for name in BEHIND],
        }
        house = ModelHouse(tmp_path_factory.mktemp("failing"), config)
        try:
            yield house.ready(), fake
            house.leave()
        finally:
            house.gateway.abandon()


def pair_of(house: ModelHouse) -> dict[str, str]:
    """What an AWS client of the tests signs with, as ``tidegate keys show`` tells it."""
    status, told = house.gateway.get("/api/v1/keys?consumer=tester")
    assert status == 200, told
    (item,) = told["items"]
    return {"key_id": item["access_key_id"], "key": item["secret_access_key"]}


@pytest.mark.parametrize("sdk", list(ERRORS))
def test_each_sdk_raises_the_class_that_means_the_fault(failing: tuple[ModelHouse, FakeProvider], sdk: str) -> None:
    house, fake = failing
    fake.forget()
    things, expected = ERRORS[sdk]
    asked = [
        (thing, f"{vendor}-{sdk}-{status}-{thing}", status)
        for status in expected
        for vendor in BEHIND
        for thing in things
        if status != 401
    ]
    fake.troubles.extend(Trouble("status", status=status) for _, _, status in asked)
    key = pair_of(house) if sdk == "boto3" else {"key": KEY}
    job = {"base": house.base, **key, "do": [{"do": thing, "model": name} for thing, name, _ in asked]}
    told = run_python(sdk, job)
    wrong = [
        f"{thing} {name} {answer.get('error')} {answer.get('status')} {answer.get('says')}"
        for (thing, name, status), answer in zip(asked, told, strict=True)
        if (answer.get("error"), answer.get("status")) != expected[status]
    ]
    assert not wrong, "\n".join(wrong)
    assert len(fake.heard) == len(asked) and fake.bills == []
    # What the vendor says of its own insides stays here, what it says of the request reaches the client.
    for (_, _, status), answer in zip(asked, told, strict=True):
        assert ("something of the vendor" in str(answer)) == (status in (400, 404)) or status == 404


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_sdks_try_again_what_may_pass_and_only_that(failing: tuple[ModelHouse, FakeProvider], sdk: str) -> None:
    """``x-should-retry`` and ``retry-after`` steer the SDKs' own two retries (LLM 5.11)."""
    house, fake = failing
    fake.forget()
    thing = ERRORS[sdk][0][0]
    fake.troubles.extend([Trouble("status", status=500), Trouble("status", status=500)])
    job = {"base": house.base, "key": KEY, "retries": 2, "do": [{"do": thing, "model": f"openai-{sdk}-again"}]}
    (told,) = run_python(sdk, job)
    assert told["text"] == TEXT and len(fake.heard) == 3
    fake.forget()
    fake.always = Trouble("status", status=400)
    (told,) = run_python(sdk, {**job, "do": [{"do": thing, "model": f"openai-{sdk}-never"}]})
    assert told["status"] == 400 and len(fake.heard) == 1


def test_wrong_keys_unknown_models_and_paths_are_told_in_each_dialect(sdks: Sdks) -> None:
    expected = {
        "openai": ("AuthenticationError", "NotFoundError"), "anthropic": ("AuthenticationError", "NotFoundError"),
        "genai": ("ClientError", "ClientError"), "mistralai": ("SDKError", "SDKError"),
        "cohere": ("UnauthorizedError", "NotFoundError"), "ollama": ("ResponseError", "ResponseError"),
    }  # fmt: skip
    for sdk, (unknown_key, unknown_model) in expected.items():
        thing = PYTHON_SDKS[sdk]["text"][0]
        (refused,) = run_python(sdk, {**sdks.job([(thing, "at-openai")]), "key": "tg-nobody"})
        assert (refused["error"], refused["status"]) == (unknown_key, 401), sdk
        (missing,) = run_python(sdk, sdks.job([(thing, "nobody-knows")]))
        assert (missing["error"], missing["status"]) == (unknown_model, 404), sdk
    assert sdks.fake.heard == []
