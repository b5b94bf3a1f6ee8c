from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.rules.speaking_voice import with_voice

VOICES = {"alloy": "Kore", "echo": 'Pu"ck'}


@pytest.mark.parametrize(
    ("voice", "voices", "spoken", "losses"),
    [
        ("alloy", VOICES, "Kore", ()),
        ("echo", VOICES, 'Pu"ck', ()),
        ("Kore", VOICES, "Kore", ()),
        ("nova", VOICES, "nova", ("voice",)),
        ("nova", {**VOICES, "default": "Kore"}, "Kore", ("voice",)),
        ({"id": "voice_1"}, VOICES, {"id": "voice_1"}, ()),
        (7, VOICES, 7, ()),
    ],
)
def test_a_voice_is_spoken_as_the_map_says(
    voice: Any, voices: dict[str, str], spoken: Any, losses: tuple[str, ...]
) -> None:
    body = json.dumps({"input": '"voice": "alloy"', "voice": voice, "speed": 1}, indent=1).encode()
    got, lost = with_voice(body, voice, voices)
    assert json.loads(got) == {"input": '"voice": "alloy"', "voice": spoken, "speed": 1}
    assert lost == losses
    if spoken == voice:
        assert got is body


def test_a_body_without_a_voice_stays() -> None:
    assert with_voice(b'{"input":"x"}', None, VOICES) == (b'{"input":"x"}', ())
