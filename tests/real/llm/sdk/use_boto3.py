"""The official boto3 package: bedrock-runtime, both verbs; signed with SigV4, or by bearer token where a job has a port
with TLS."""

from __future__ import annotations

import os
from typing import Any

import boto3
from botocore.config import Config
from job import DESCRIBED, JOB, QUESTION, RESULT, SCHEMA, run, said

config = Config(retries={"total_max_attempts": 1}, read_timeout=30)
if JOB.get("secure"):
    os.environ["AWS_BEARER_TOKEN_BEDROCK"] = JOB["key"]
    place: Any = {"endpoint_url": JOB["secure"], "verify": JOB["ca"]}
else:
    place = {
        "endpoint_url": JOB["base"], "aws_access_key_id": JOB["key_id"], "aws_secret_access_key": JOB["key"],
    }  # fmt: skip
client = boto3.client("bedrock-runtime", region_name="us-east-1", config=config, **place)
ASK: Any = [{"role": "user", "content": [{"text": QUESTION}]}]
COMMON: Any = {"system": [{"text": "Be brief."}], "inferenceConfig": {"maxTokens": 200}}
SPEC = {"name": "get_weather", "description": DESCRIBED, "inputSchema": {"json": SCHEMA}}
TOOLS: Any = {"toolConfig": {"tools": [{"toolSpec": SPEC}]}}


def understood(answer: Any) -> Any:
    blocks = answer["output"]["message"]["content"]
    text = "".join(block.get("text", "") for block in blocks)
    thought = "".join(
        block["reasoningContent"]["reasoningText"]["text"] for block in blocks if "reasoningContent" in block
    )
    uses = [block["toolUse"] for block in blocks if "toolUse" in block]
    calls = [(use["toolUseId"], use["name"], use["input"]) for use in uses]
    usage = (answer["usage"]["inputTokens"], answer["usage"]["outputTokens"])
    return said(text, calls, answer["stopReason"], usage, thought)


def converse(thing: dict[str, Any]) -> Any:
    return understood(client.converse(modelId=thing["model"], messages=ASK, **COMMON))


def gathered(stream: Any) -> Any:
    text, thought, stop, usage = "", "", None, None
    calls: dict[int, list[str]] = {}
    for event in stream:
        if "contentBlockStart" in event:
            use = event["contentBlockStart"]["start"]["toolUse"]
            calls[event["contentBlockStart"]["contentBlockIndex"]] = [use["toolUseId"], use["name"], ""]
        elif "contentBlockDelta" in event:
            delta = event["contentBlockDelta"]["delta"]
            text += delta.get("text", "")
            thought += delta.get("reasoningContent", {}).get("text", "")
            if "toolUse" in delta:
                calls[event["contentBlockDelta"]["contentBlockIndex"]][2] += delta["toolUse"]["input"]
        elif "messageStop" in event:
            stop = event["messageStop"]["stopReason"]
        elif "metadata" in event:
            usage = (event["metadata"]["usage"]["inputTokens"], event["metadata"]["usage"]["outputTokens"])
    if stop is None:
        raise RuntimeError("the stream has no end")
    return said(text, [(id, name, given) for id, name, given in calls.values()], stop, usage, thought)


def converse_stream(thing: dict[str, Any]) -> Any:
    return gathered(client.converse_stream(modelId=thing["model"], messages=ASK, **COMMON)["stream"])


def tools(thing: dict[str, Any]) -> Any:
    return understood(client.converse(modelId=thing["model"], messages=ASK, **COMMON, **TOOLS))


def tools_stream(thing: dict[str, Any]) -> Any:
    return gathered(client.converse_stream(modelId=thing["model"], messages=ASK, **COMMON, **TOOLS)["stream"])


def loop(thing: dict[str, Any]) -> Any:
    first = client.converse(modelId=thing["model"], messages=ASK, **COMMON, **TOOLS)["output"]["message"]
    results = [
        {"toolResult": {"toolUseId": block["toolUse"]["toolUseId"], "content": [{"text": RESULT}]}}
        for block in first["content"]
        if "toolUse" in block
    ]
    mine: Any = [*ASK, first, {"role": "user", "content": results}]
    return understood(client.converse(modelId=thing["model"], messages=mine, **COMMON, **TOOLS))


run({name: value for name, value in list(globals().items()) if callable(value)})
