"""A request in Gemini's words as a neutral one. Both ways and whole: tests/dialects/test_gemini_generate."""

from __future__ import annotations

import pytest

from tidegate.exchange.chat import Extra, Output, Sampling, Text, Thinking, Tool, ToolChoice, ToolResult
from tidegate.rules.generate_parts import NAME
from tidegate.rules.generate_request import read_request
from tidegate.wire.json_object import WrongShape


def test_the_path_tells_model_and_stream() -> None:
    request = read_request(b'{"contents":[]}', "m", True)
    assert (request.model, request.stream, request.extra, request.messages) == ("m", True, None, ())


def test_a_body_to_count_may_wrap_its_request() -> None:
    inner = b'{"contents":["a"],"systemInstruction":"S","model":"models/x"}'
    assert read_request(b'{"generateContentRequest":%b}' % inner, "m", False) == read_request(inner, "m", False)
    with pytest.raises(WrongShape, match="generateContentRequest must be an object"):
        read_request(b'{"generateContentRequest":7}', "m", False)


def test_contents_may_be_one_object_or_a_string() -> None:
    assert read_request(b'{"contents":{"parts":[{"text":"a"}]}}', "m", False).messages[0].role == "user"
    (message,) = read_request(b'{"contents":["a"]}', "m", False).messages
    assert message.parts == (Text(text="a"),)
    (system,) = read_request(b'{"system_instruction":"S"}', "m", False).messages
    assert (system.role, system.parts) == ("system", (Text(text="S"),))


def test_results_may_come_in_a_turn_of_their_own_role() -> None:
    body = (
        b'{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f"}}]},'
        b'{"role":"function","parts":[{"functionResponse":{"name":"f","response":{"a":1}}}]}]}'
    )
    call, result = read_request(body, "m", False).messages
    assert result.role == "tool"
    (part,) = result.parts
    assert isinstance(part, ToolResult)
    assert part.call_id == call.parts[0].id  # type: ignore[union-attr]
    assert part.parts == (Text(text='{"a":1}'),)


def test_the_older_schema_becomes_json_schema() -> None:
    body = (
        b'{"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"OBJECT"}}]}],"generationConfig":'
        b'{"responseMimeType":"application/json","responseSchema":{"type":"STRING","nullable":true}}}'
    )
    request = read_request(body, "m", False)
    assert request.tools == (Tool("f", schema=b'{"type":"object"}'),)
    assert request.output == Output("schema", schema=b'{"type":["string","null"]}')


def test_other_answer_types_stay_with_the_dialect() -> None:
    request = read_request(b'{"generationConfig":{"responseMimeType":"text/x.enum"}}', "m", False)
    assert request.output is None
    assert request.extra == Extra(NAME, (("generationConfig.responseMimeType", b'"text/x.enum"'),))


@pytest.mark.parametrize(
    ("config", "choice", "kept"),
    [
        (b'{"mode":"auto"}', ToolChoice(), False),
        (b'{"mode":"MODE_UNSPECIFIED"}', ToolChoice(), False),
        (b'{"mode":"ANY","allowed_function_names":["a","b"]}', ToolChoice("subset", ("a", "b"), required=True), False),
        (b'{"mode":"AUTO","allowedFunctionNames":["a"]}', ToolChoice("subset", ("a",)), False),
        (b'{"mode":"ANY","streamFunctionCallArguments":true}', ToolChoice(), True),
    ],
)
def test_choices(config: bytes, choice: ToolChoice, kept: bool) -> None:
    request = read_request(b'{"toolConfig":{"functionCallingConfig":%b}}' % config, "m", False)
    assert request.tool_choice == choice
    assert (request.extra is not None) is kept


@pytest.mark.parametrize(
    ("config", "thinking"),
    [
        (b'{"includeThoughts":true}', Thinking("adaptive", show="summary", extra=Extra(NAME))),
        (b'{"thinkingLevel":"LOW","thinkingBudget":5}', Thinking("on", "low", 5, extra=Extra(NAME))),
        (b'{"future":1,"thinkingBudget":0}', Thinking("off", extra=Extra(NAME, (("future", b"1"),)))),
    ],
)
def test_thinking(config: bytes, thinking: Thinking) -> None:
    request = read_request(b'{"generationConfig":{"thinkingConfig":%b}}' % config, "m", False)
    assert request.thinking == thinking


def test_sampling_and_wrong_shapes() -> None:
    body = b'{"generationConfig":{"topK":40.0,"responseLogprobs":false,"candidateCount":3}}'
    assert read_request(body, "m", False).sampling == Sampling(top_k=40, logprobs=False, n=3)
    with pytest.raises(WrongShape, match=r"generationConfig\.topP must be a number"):
        read_request(b'{"generationConfig":{"topP":"x"}}', "m", False)
    with pytest.raises(WrongShape, match=r"tools\[0\] must be an object"):
        read_request(b'{"tools":[7]}', "m", False)
