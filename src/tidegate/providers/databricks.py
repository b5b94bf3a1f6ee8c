"""Databricks, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import MESSAGES, openai_doors, under
from tidegate.ports.provider import Bearer, Preset


class Databricks(Preset):
    title = "Databricks"
    base_url = "https://{host}/serving-endpoints"
    auth = Bearer(("DATABRICKS_TOKEN",))
    doors = openai_doors("c e") | under("/anthropic", MESSAGES)
    checked = ("2026-11", 2)
