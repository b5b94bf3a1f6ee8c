"""Official SDKs on a lossy line: each says a few things on one conversation, retrying as it does by itself.

Prints one line of JSON for each thing said: its text, or the name of what was raised.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import anthropic
import openai

JOB: dict[str, Any] = json.loads(sys.argv[1])
FIELDS = {"session": JOB["session"]}


def key_of(number: int) -> dict[str, str]:
    return {"Idempotency-Key": f"{JOB['session']}-{number}"} if JOB["keys"] else {}


def chat(number: int, text: str) -> str:
    client = openai.OpenAI(base_url=JOB["base"] + "/v1", api_key=JOB["key"], max_retries=4, timeout=10)
    answer = client.chat.completions.create(
        model="fast", messages=[{"role": "user", "content": text}], extra_headers=key_of(number),
        extra_body={"session_id": JOB["session"]},
    )  # fmt: skip
    return answer.choices[0].message.content or ""


last: list[str] = []


def responses(number: int, text: str) -> str:
    client = openai.OpenAI(base_url=JOB["base"] + "/v1", api_key=JOB["key"], max_retries=4, timeout=10)
    more: dict[str, Any] = {"previous_response_id": last[-1]} if last else {}
    answer = client.responses.create(model="fast", input=text, extra_headers=key_of(number), **more)
    last.append(answer.id)
    return answer.output_text


def messages(number: int, text: str) -> str:
    client = anthropic.Anthropic(base_url=JOB["base"], api_key=JOB["key"], max_retries=4, timeout=10)
    answer = client.messages.create(
        model="fast", max_tokens=64, messages=[{"role": "user", "content": text}], extra_headers=key_of(number),
        extra_body={"session_id": JOB["session"]},
    )  # fmt: skip
    return "".join(block.text for block in answer.content if block.type == "text")


def messages_stream(number: int, text: str) -> str:
    client = anthropic.Anthropic(base_url=JOB["base"], api_key=JOB["key"], max_retries=4, timeout=10)
    with client.messages.stream(
        model="fast", max_tokens=64, messages=[{"role": "user", "content": text}], extra_headers=key_of(number),
        extra_body={"session_id": JOB["session"]},
    ) as stream:  # fmt: skip
        return stream.get_final_text()


for number, text in enumerate(JOB["say"]):
    print(json.dumps(globals()[JOB["how"]](number, text)), flush=True)
