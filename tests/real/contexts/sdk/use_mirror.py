"""The official SDK on stored responses and conversations, its answers checked strictly against its own types.

Prints one line of JSON: what was learnt at each step.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import openai

JOB: dict[str, Any] = json.loads(sys.argv[1])
CLIENT = openai.OpenAI(
    base_url=JOB["base"] + "/v1", api_key=JOB["key"], max_retries=0, timeout=20, _strict_response_validation=True
)


def code_of(call: Any, *args: Any, **named: Any) -> int:
    try:
        call(*args, **named)
    except openai.APIStatusError as error:
        return error.status_code
    return 200


told: dict[str, Any] = {}
made = CLIENT.conversations.create(
    metadata={"topic": "demo"}, items=[{"type": "message", "role": "user", "content": "hello"}]
)
told["created"] = [made.object, made.metadata, CLIENT.conversations.retrieve(made.id) == made]
told["updated"] = CLIENT.conversations.update(made.id, metadata={"topic": "other"}).metadata
first = CLIENT.responses.create(model="fast", input=JOB["say"][0], conversation=made.id)
told["first"] = [first.status, first.output_text, first.conversation.id == made.id if first.conversation else None]
again = CLIENT.responses.retrieve(first.id)
told["again"] = [again.id == first.id, again.output_text == first.output_text, again.status]
second = CLIENT.responses.create(model="fast", input=JOB["say"][1], previous_response_id=first.id)
inputs = CLIENT.responses.input_items.list(second.id, order="asc", limit=2)
told["inputs"] = [item.type for item in inputs]
items = CLIENT.conversations.items.list(made.id, order="asc")
told["items"] = [getattr(item, "role", item.type) for item in items]
brought = CLIENT.conversations.items.create(
    made.id,
    items=[
        {"type": "function_call", "call_id": "c1", "name": "book", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "done"},
    ],
)
told["brought"] = [item.type for item in brought.data]
one = CLIENT.conversations.items.retrieve(brought.data[0].id, conversation_id=made.id)
told["one"] = one == brought.data[0]
told["removed"] = CLIENT.conversations.items.delete(items.data[0].id, conversation_id=made.id).id == made.id
CLIENT.responses.delete(second.id)
told["deleted"] = code_of(CLIENT.responses.retrieve, second.id)
told["cancelled"] = code_of(CLIENT.responses.cancel, first.id)
told["gone"] = [CLIENT.conversations.delete(made.id).deleted, code_of(CLIENT.conversations.retrieve, made.id)]
print(json.dumps(told))
