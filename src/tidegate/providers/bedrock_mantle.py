"""Amazon Bedrock (OpenAI- and Anthropic-shaped), as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import MESSAGES, openai_doors, under
from tidegate.ports.provider import Bearer, Preset


class BedrockMantle(Preset):
    title = "Amazon Bedrock (OpenAI- and Anthropic-shaped)"
    base_url = "https://bedrock-mantle.{region}.api.aws"
    auth = Bearer(("AWS_BEARER_TOKEN_BEDROCK",))
    doors = under("/v1", openai_doors("c r")) | under("/anthropic", MESSAGES)
    prices = "aws"
    defaults = {"region": "us-east-1"}
    checked = ("2026-11", 2)
