from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tidegate import __version__, cli

EXAMPLE = str(Path(__file__).parents[1] / "examples" / "http.yaml")
VERBS = ("run", "check", "explain", "reload", "init", "demo", "schema", "usage", "version")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.run(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_good_config_is_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "check", "-c", EXAMPLE)
    assert (code, err) == (0, "") and out.startswith("http.yaml is good.\n")
    assert said(capsys, "check", "--quiet", "-c", EXAMPLE) == (0, "", "")


def test_a_bad_config_gives_78_and_every_problem(capsys: pytest.CaptureFixture[str]) -> None:
    Path("tidegate.yaml").write_text("listeners: []\nrouts: []\n")
    assert said(capsys, "check") == (
        78,
        "",
        "tidegate.yaml:1: listeners: needs at least 1, has 0\n"
        "tidegate.yaml:2: routs: is not known here  fix: did you mean routes?\n"
        "tidegate: tidegate.yaml cannot be used: 2 problems\n",
    )


def test_warnings_go_to_stderr_and_are_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    text = Path(EXAMPLE).read_text() + "\ntrusted_proxies: [0.0.0.0/0]\n"
    Path("gw.yaml").write_text(text)
    code, _, err = said(capsys, "check", "-c", "gw.yaml")
    assert code == 0 and err.startswith("warning: gw.yaml:") and "everybody is trusted" in err


@pytest.mark.parametrize("verb", [["run"], ["check"], ["reload"], ["explain", "GET", "/"]])
def test_without_a_config_the_way_to_one_is_told(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, *verb)
    assert code == 78 and "tidegate init" in err and "tidegate demo" in err


def test_a_journey_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "explain", "GET", "/catalog/x", "-H", "X-Version: 2", "-c", EXAMPLE)
    assert code == 0 and "  route       catalog   (http.yaml:41," in out


@pytest.mark.parametrize("words", [["GET", "nonsense"], ["GET", "/", "-H", "no colon"]])
def test_what_is_no_request_gives_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "explain", *words, "-c", EXAMPLE)
    assert (code, out) == (2, "") and err.startswith("tidegate: ")


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "schema")
    assert code == 0 and "listeners" in json.loads(out)["properties"]


def test_a_first_config_is_written_once_and_never_over_another(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "init")
    assert code == 0 and out.startswith("tidegate.yaml is written.")
    assert said(capsys, "check", "-q") == (0, "", "")
    Path("tidegate.yaml").write_text("mine")
    code, _, err = said(capsys, "init")
    assert code == 1 and err == "tidegate: tidegate.yaml is there already; it stays as it is\n"
    assert Path("tidegate.yaml").read_text() == "mine"
    code, _, err = said(capsys, "init", "nowhere/gw.yaml")
    assert code == 1 and "cannot be written" in err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "version") == (0, f"tidegate {__version__}\n", "")


def test_unknown_verbs_and_options_give_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "bogus")[0] == 2
    assert said(capsys, "check", "--bogus")[0] == 2
    assert said(capsys, "run", "--workers", "many")[0] == 2


def test_help_names_every_verb_in_the_order_one_needs_them(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "--help")
    places = [out.index(f"│ {verb} ") for verb in VERBS]
    assert code == 0 and places == sorted(places)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "version"])
def test_every_verb_has_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, verb, "--help")
    assert code == 0 and f"tidegate {verb}" in out and "For example:" in out


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, function: str, code: int) -> list[tuple[Any, ...]]:
    """A module of control that only remembers what it was asked."""
    import sys

    import tidegate.control

    calls: list[tuple[Any, ...]] = []

    def remember(*given: Any) -> int:
        calls.append(given)
        return code

    module = ModuleType(f"tidegate.control.{name}")
    setattr(module, function, remember)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(tidegate.control, name, module, raising=False)
    return calls


def test_run_hands_over_to_the_supervisor_and_returns_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch, "supervisor", "run", 7)
    assert cli.run(["run", "-c", "gw.yaml", "--workers", "3", "--data", "d", "--test-profile"]) == 7
    Path("tidegate.yaml").write_text("x")
    assert cli.run(["run"]) == 7
    assert calls == [(Path("gw.yaml"), 3, Path("d"), True), (Path("tidegate.yaml"), None, None, False)]


def test_reload_asks_the_running_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch, "reload", "request", 3)
    assert cli.run(["reload", "-c", "gw.yaml"]) == 3
    assert calls == [(Path("gw.yaml"), None)]


def test_usage_asks_the_running_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch, "usage", "request", 0)
    assert cli.run(["usage", "--from", "2026-11-01", "--by", "consumer,model", "--bucket", "day", "--json"]) == 0
    assert cli.run(["usage", "-c", "gw.yaml"]) == 0
    assert calls == [
        (None, None, "2026-11-01", "", "consumer,model", "day", True, False),
        (Path("gw.yaml"), None, "", "", "model", "", False, False),
    ]


def test_the_pairs_of_a_consumer_are_asked_of_the_running_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch, "keys", "show", 1)
    assert cli.run(["keys", "show", "team-a", "--json"]) == 1
    assert cli.run(["keys", "show", "b", "-c", "gw.yaml"]) == 1
    assert calls == [(None, None, "team-a", True), (Path("gw.yaml"), None, "b", False)]


LLM = str(Path(__file__).parents[1] / "examples" / "llm.yaml")


def test_the_way_to_a_model_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "explain", "POST", "/v1/chat/completions", "--model", "fast", "-c", LLM)
    assert code == 0 and "  model       fast: fallback, retry 1, cooldown 30s" in out


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "models", "ls", "-c", LLM)
    lines = out.splitlines()
    assert (code, lines[0], lines[3]) == (0, "fast", "  local: smollm2   free")
    assert lines[-1].startswith("  anthropic: the name that is asked for   by the name that is asked for")
    assert said(capsys, "models", "ls", "-c", EXAMPLE)[1] == "The config has no models.\n"


def test_a_provider_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch, "model_trial", "trial", 1)
    assert cli.run(["models", "test", "local", "--model", "tiny", "-c", LLM]) == 1
    assert calls[0][1:3] == ("local", "tiny")


def test_demo_is_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch, "demo", "main", 0)
    assert [cli.run(["demo"]), cli.run(["demo", "--install-model"])] == [0, 0]
    assert calls == [(False,), (True,)]


def test_an_interrupt_is_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*given: object, **named: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    assert cli.run(["run"]) == 130


def test_method_and_url_are_words_not_options(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said(capsys, "explain", "--help")
    assert "METHOD URL" in out and "--method" not in out and "--url" not in out
    assert said(capsys, "explain", "--method", "GET", "/", "-c", EXAMPLE)[0] == 2


def test_the_demo_names_every_port_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    from tidegate.control import demo, local_model

    _, out, _ = said(capsys, "demo", "--help")
    ports = [int(address.rpartition(":")[2]) for address in (demo.GATEWAY, demo.ADMIN)]
    ports += [*demo.PORTS, local_model.PORT]
    assert [port for port in ports if str(port) not in out] == []
