from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.assembly.check import Checked, check
from tidegate.assembly.explain import journey, summary
from tidegate.assembly.model_journey import catalogue, price_text
from tidegate.ports.models import PriceRow

CONFIG = """\
listeners: [{address: 127.0.0.1:8080}]
providers:
  - {name: o, use: openai, api_key: sk-secret, price: {input: 0.15, output: 0.6}}
  - {name: an, use: anthropic, price: {input: 1, output: 5, request: 0.01}}
  - {name: local, use: openai_compatible, base_url: "http://127.0.0.1:9301/v1", price: free}
models:
  - name: fast
    targets: [{provider: o, model: gpt-4o-mini}, {provider: an, model: claude-haiku-4-5}, {provider: local, model: s}]
    strategy: {use: fallback, retry: 2, cooldown: 9s}
  - {name: "claude-*", targets: [{provider: an}]}
  - name: panel
    pipeline: {parallel: [fast, claude-haiku-4-5]}
  - name: careful
    pipeline: [{step: draft, model: fast}]
  - name: smart
    pipeline: {route: {by: classifier, model: fast, labels: {code: panel}, default: fast}}
  - {name: coder, tasks: [code, review], targets: [{provider: local, model: s}]}
  - name: by_rules
    pipeline: {route: {by: rules, rules: [{task: code, longer: 9, model: coder}], default: fast}}
routes:
  - {name: llm, match: {path: /v1}, llm: {}}
  - {name: direct, match: {path: /v1beta}, llm: {direct: true}}
  - {name: raw, match: {path: /raw}, llm: {raw: o}}
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    file = tmp_path_factory.mktemp("explain") / "gw.yaml"
    file.write_text(CONFIG)
    return check(file, {})


def shown(checked: Checked, url: str, model: str = "", method: str = "POST") -> list[str]:
    """The lines about the model, without what every route says."""
    lines = journey(checked, method, url, (), model).splitlines()
    first = next(i for i, line in enumerate(lines) if line.split()[0] in ("surface", "raw", "no"))
    return lines[first:-1]


def test_every_target_is_told_in_its_order(checked: Checked) -> None:
    (credential,) = checked.built.plan.models.providers["o"].credentials  # type: ignore[union-attr]
    assert shown(checked, "/v1/chat/completions", "fast") == [
        "  surface     chat, as openai_chat says it",
        "  body        JSON up to 32MiB, multipart up to 512MiB",
        "  model       fast: fallback, retry 2, cooldown 9s",
        "  target 1    o: gpt-4o-mini",
        "              bytes pass, https://api.openai.com/v1/chat/completions",
        "              price input 0.15, output 0.6 USD per million (config), window 128000",
        f"              credential {credential.id}",
        "  target 2    an: claude-haiku-4-5",
        "              translated to anthropic_messages, https://api.anthropic.com/v1/messages",
        "              price input 1, output 5, request 0.01 each USD per million (config), window 200000",
        "              credential none: set ANTHROPIC_API_KEY",
        "  target 3    local: s",
        "              bytes pass, http://127.0.0.1:9301/v1/chat/completions",
        "              price free",
        "              made for code review",
        "              credential none wanted",
        "  timeouts    connect 1s, first content 2m, request 10m",
    ]


def test_who_is_made_for_a_task_is_told_and_comes_first(checked: Checked) -> None:
    def told(task: str) -> list[str]:
        fields = (("tidegate-task", task),) if task else ()
        lines = journey(checked, "POST", "/v1/chat/completions", fields, "fast").splitlines()
        return [line.strip() for line in lines if line.strip().startswith(("task", "target", "made for"))]

    targets = ["o: gpt-4o-mini", "an: claude-haiku-4-5", "local: s"]
    made = "made for code review"
    assert told("") == [f"target {at}    {name}" for at, name in enumerate(targets, 1)] + [made]
    assert told("code") == [
        "task        code: first local", "target 1    local: s", made, "target 2    o: gpt-4o-mini",
        "target 3    an: claude-haiku-4-5",
    ]  # fmt: skip
    assert told("song")[0] == "task        song: no target is made for it"


def test_no_letter_of_a_key_is_told(checked: Checked) -> None:
    assert "sk-secret" not in journey(checked, "POST", "/v1/chat/completions", (), "fast") + summary(checked)


def test_a_client_of_another_dialect_meets_other_doors(checked: Checked) -> None:
    lines = shown(checked, "/v1/messages", "fast")
    assert "translated to openai_chat, https://api.openai.com" in lines[4]
    assert "bytes pass, https://api.anthropic.com/v1/messages" in lines[8]


def test_a_pattern_says_that_it_serves_the_name(checked: Checked) -> None:
    lines = shown(checked, "/v1/messages", "claude-opus-4-1")
    assert lines[2:4] == ["  model       claude-opus-4-1 by claude-*: fallback, retry 1, cooldown 30s",
                          "  target 1    an: claude-opus-4-1"]  # fmt: skip
    assert lines[5].endswith("window 200000")


def test_a_model_in_the_path_needs_no_naming(checked: Checked) -> None:
    lines = shown(checked, "/v1beta/models/o%2Fgpt-4o:generateContent")
    assert lines[2] == "  model       o/gpt-4o: fallback, retry 1, cooldown 30s"
    assert lines[4].endswith("translated to openai_chat, https://api.openai.com/v1/chat/completions")


@pytest.mark.parametrize(
    ("url", "model", "line"),
    [
        ("/v1/chat/completions", "nope", "  no model    404 model_not_found: nope"),
        ("/v1/chat/completions", "o/gpt-4o", "  no model    404 model_not_found: o/gpt-4o"),
        (
            "/v1/chat/completions",
            "",
            "  model       the body names it: --model fast panel careful smart coder by_rules claude-*",
        ),
        ("/raw/anything", "", "  raw         everything under /raw to the provider o, untouched"),
        ("/v1/chat/completions", "panel", "              claude-haiku-4-5"),
        ("/v1/chat/completions", "careful", "              draft: fast"),
        ("/v1/chat/completions", "smart", "              default: fast"),
        ("/v1/chat/completions", "by_rules", "              task code, longer 9: coder"),
        ("/v1/embeddings", "claude-x", "              left out: an has no door for embeddings"),
        ("/v1/images/generations", "claude-x", "              left out: an has no door for images"),
    ],
)
def test_what_else_may_come_of_it(checked: Checked, url: str, model: str, line: str) -> None:
    assert line in shown(checked, url, model)


def test_what_is_no_surface_says_so(checked: Checked) -> None:
    (line,) = shown(checked, "/v1/nothing")
    assert line.startswith("  no surface  404 not_found: ")


def test_the_list_of_models_tells_which_retires_and_when(tmp_path: Path) -> None:
    file = tmp_path / "gw.yaml"
    file.write_text(CONFIG.replace("name: coder,", "name: coder, retires: 2027-01-31,"))
    lines = catalogue(check(file, {})).splitlines()
    assert "coder   retires 2027-01-31" in lines and "fast" in lines


def test_the_catalogue_is_counted(checked: Checked) -> None:
    assert shown(checked, "/v1/models", method="GET")[-1].startswith("  catalogue   6 names and 1 patterns")


def test_the_overview_tells_providers_and_models(checked: Checked) -> None:
    lines = summary(checked).splitlines()
    assert "  provider    o: openai, 1 credential" in lines
    assert "  provider    an: anthropic, no credential" in lines
    assert "  provider    local: openai_compatible, wants no credential" in lines
    assert "  model       fast: fallback over o an local" in lines
    assert "  model       panel: a pipeline" in lines
    assert not [line for line in lines if "provider:" in line]


def test_a_price_that_nobody_knows_says_what_to_do() -> None:
    assert price_text(None) == "unknown, so it is left out: add price: to the target, the model or the provider"
    assert price_text(PriceRow("x", {}, free=True)) == "free"
