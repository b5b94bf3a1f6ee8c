"""Snowflake Cortex, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Preset


class Snowflake(Preset):
    title = "Snowflake Cortex"
    base_url = "https://{account}.snowflakecomputing.com/api/v2/cortex/v1"
    auth = Bearer(("SNOWFLAKE_CORTEX_PAT",))
    doors = openai_doors("c")
    checked = ("2026-11", 2)
