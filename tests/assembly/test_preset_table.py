from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.assembly import preset_table
from tidegate.assembly.providers import known_presets, load_preset

PAGE = Path(__file__).parents[2] / preset_table.PAGE


def test_the_page_in_the_repository_is_current() -> None:
    assert PAGE.read_text("utf-8") == preset_table.page()


def test_every_preset_has_a_row_and_what_was_never_checked_says_so() -> None:
    rows = [line for line in preset_table.page().splitlines() if line.startswith("| `") and "`use:`" not in line]
    assert [row.split("`")[1] for row in rows] == known_presets()
    assert len(rows) >= 150
    for row in rows:
        month, seen = load_preset(row.split("`")[1]).checked
        assert ("**unverified**" in row) == (seen == 0), row
        assert seen == 0 or month in row


@pytest.mark.parametrize(
    ("use", "speaks", "credential"),
    [
        ("anthropic", "`anthropic_messages`, count tokens, *files*, *batches*", "`x-api-key`"),
        ("bedrock", "`bedrock_converse`", "signature (SigV4) or bearer token"),
        ("vertex", "`gemini_generate`", "service account"),
        ("azure_foundry", "`openai_chat`, embeddings", "client credentials or `api-key`"),
        ("deepgram", "*transcriptions*, *speech*", "`authorization: Token KEY`"),
        ("vllm", "`openai_chat`, `openai_responses`, embeddings, *rerank*, completions", "bearer token"),
        ("llamafile", "`openai_chat`, embeddings", "none; a key goes as a bearer token"),
    ],
)
def test_a_row_tells_what_a_vendor_speaks_and_how_it_is_paid(use: str, speaks: str, credential: str) -> None:
    preset = load_preset(use)
    assert (preset_table.speaks(preset), preset_table.credential(preset.auth)) == (speaks, credential)


def test_the_page_is_written_and_known_to_be_stale_or_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "deep" / "providers.md"
    assert preset_table.main(["--check", str(target)]) == 1
    assert preset_table.main([str(target)]) == 0
    assert preset_table.main(["--check", str(target)]) == 0
    target.write_text(target.read_text() + "x")
    assert preset_table.main(["--check", str(target)]) == 1
    assert "is stale: run python -m tidegate.assembly.preset_table" in capsys.readouterr().out
