"""The prices of a config beside a second table (LLM 10)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tidegate import cli
from tidegate.assembly.check import check
from tidegate.assembly.price_diff import Compared, Difference, compare, read_table, report

CONFIG = """
listeners: [{address: "127.0.0.1:0"}]
providers:
  - {name: mine, use: openai, api_key: "a-key-of-nobody"}
  - {name: own, use: openai_compatible, base_url: "http://127.0.0.1:9/v1", price: {input: 1, output: 2}}
  - {name: gift, use: openai_compatible, base_url: "http://127.0.0.1:9/v1", price: free}
models:
  - {name: fast, targets: [{provider: mine, model: gpt-4o-mini}, {provider: own, model: house}]}
  - {name: again, targets: [{provider: mine, model: gpt-4o-mini}, {provider: gift, model: house}]}
routes: [{name: v1, match: {path: /v1}, llm: {}}]
"""
SAME = {"input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07, "cache_read_input_token_cost": 7.5e-08}


def write(path: Path, table: Any) -> Path:
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    return path


def compared(folder: Path, table: dict[str, Any]) -> Compared:
    return compare(check(write(folder / "c.yaml", CONFIG), {}), read_table(write(folder / "t.json", table)))


def test_prices_that_are_the_same_to_the_nanodollar_are_no_difference(tmp_path: Path) -> None:
    assert compared(tmp_path, {"gpt-4o-mini": SAME}) == Compared(2, 1, [])


def test_each_price_that_differs_is_named_with_both_figures(tmp_path: Path) -> None:
    table = {
        "openai/GPT-4o-mini": {**SAME, "output_cost_per_token": 0.0000007},
        "gpt-4o-mini": SAME,  # the name with its vendor goes before
        "own/house": {"input_cost_per_token": 0, "output_cost_per_token": 2e-06, "mode": "chat"},
    }
    found = compared(tmp_path, table)
    assert found == Compared(
        2, 0,
        [Difference("mine", "gpt-4o-mini", "output", 600_000_000, 700_000_000),
         Difference("own", "house", "input", 1_000_000_000, 0)],
    )  # fmt: skip
    assert report(found) == (
        "mine gpt-4o-mini  output: 0.6 here, 0.7 there\n"
        "own house  input: 1 here, 0 there\n"
        "2 models compared, 2 prices differ; 0 models are not in the second table."
    )


def test_a_pattern_is_compared_by_the_names_that_are_known(tmp_path: Path) -> None:
    config = CONFIG.replace(
        "name: fast, targets: [{provider: mine, model: gpt-4o-mini}, ", 'name: "gpt-*", targets: [{provider: mine}, '
    )
    checked = check(write(tmp_path / "c.yaml", config), {})
    found = compare(checked, {"gpt-4o": {"input": 1}})
    assert found.models > 20 and found.differences == [Difference("mine", "gpt-4o", "input", 2_500_000_000, 1)]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[", "not JSON"), ("[" * 100_000, "not JSON"), ("[]", "not an object"), ("{}", "no model"),
        ({"m": {"input_cost_per_token": "1"}}, "no model"), ({"m": {"input_cost_per_token": -1}}, "no model"),
        ('{"m": {"input_cost_per_token": NaN}}', "no model"), ('{"m": {"input_cost_per_token": 1e999}}', "no model"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused(tmp_path: Path, table: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_table(write(tmp_path / "t.json", table))


def test_the_verb_says_by_its_exit_code_whether_somebody_should_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(write(tmp_path / "c.yaml", CONFIG))
    table = write(tmp_path / "t.json", {"gpt-4o-mini": SAME})
    assert cli.run(["prices", "diff", str(table), "-c", config]) == 0
    assert capsys.readouterr().out.startswith("2 models compared, 0 prices differ")
    write(table, {"house": {"input_cost_per_token": 1}})
    assert cli.run(["prices", "diff", str(table), "-c", config]) == 1
    write(table, "{")
    assert cli.run(["prices", "diff", str(table), "-c", config]) == 2
    assert cli.run(["prices", "diff", str(tmp_path / "none.json"), "-c", config]) == 2
