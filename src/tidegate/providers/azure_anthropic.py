"""Anthropic on Azure, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import MESSAGES_CHAT
from tidegate.ports.provider import HeaderKey, Preset


class AzureAnthropic(Preset):
    title = "Anthropic on Azure"
    base_url = "https://{resource}.services.ai.azure.com/anthropic"
    auth = HeaderKey(("AZURE_ANTHROPIC_API_KEY",), header="x-api-key", also=("api-key",))
    doors = MESSAGES_CHAT
    vendor = "anthropic"
    version = "2023-06-01"
    prices = "azure"
    checked = ("2026-11", 2)
