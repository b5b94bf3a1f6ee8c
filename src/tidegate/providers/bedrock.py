"""Amazon Bedrock, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import CONVERSE
from tidegate.ports.provider import Preset, SigV4


class Bedrock(Preset):
    title = "Amazon Bedrock"
    base_url = "https://bedrock-runtime.{region}.amazonaws.com"
    auth = SigV4(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        bearer_environment=("AWS_BEARER_TOKEN_BEDROCK",),
    )
    doors = CONVERSE
    prices = "aws"
    defaults = {"region": "us-east-1"}
    checked = ("2026-11", 2)
