"""GigaChat, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import ClientCredentials, Preset


class Gigachat(Preset):
    title = "GigaChat"
    base_url = "https://gigachat.devices.sberbank.ru/api/v1"
    auth = ClientCredentials(
        ("GIGACHAT_API_KEY",),
        token_url="https://ngw.devices.sberbank.ru:9443/api/v2/oauth",
        scope="GIGACHAT_API_PERS",
        basic=True,
        unique="RqUID",
    )
    doors = openai_doors("c e")
    checked = ("2026-11", 1)
