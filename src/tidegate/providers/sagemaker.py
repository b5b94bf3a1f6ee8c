"""Amazon SageMaker, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.provider import Door, Preset, SigV4


class Sagemaker(Preset):
    title = "Amazon SageMaker"
    base_url = "https://runtime.sagemaker.{region}.amazonaws.com/endpoints/{endpoint}/invocations"
    auth = SigV4(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), service="sagemaker")
    doors = {"chat": Door("openai_chat", "")}
    prices = "aws"
    defaults = {"region": "us-east-1"}
    checked = ("2026-11", 2)
