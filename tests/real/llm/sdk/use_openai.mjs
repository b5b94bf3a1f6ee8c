// The official openai package of npm: chat and responses, their helpers too.

import OpenAI from "openai";
import { DESCRIBED, JOB, QUESTION, RESULT, SCHEMA, run, said } from "./job.mjs";

const client = new OpenAI({ baseURL: JOB.base + "/v1", apiKey: JOB.key, maxRetries: JOB.retries ?? 0 });
const messages = [
  { role: "system", content: "Be brief." },
  { role: "user", content: QUESTION },
];
const described = { name: "get_weather", description: DESCRIBED, parameters: SCHEMA };
const tools = [{ type: "function", function: described }];
const flat = [{ type: "function", strict: false, ...described }];
const stream_options = { include_usage: true };

function understood(answer) {
  const { message, finish_reason } = answer.choices[0];
  const calls = (message.tool_calls ?? []).map((call) => [call.id, call.function.name, call.function.arguments]);
  const usage = answer.usage ? [answer.usage.prompt_tokens, answer.usage.completion_tokens] : null;
  return said(message.content ?? "", calls, finish_reason, usage);
}

function responded(answer) {
  const calls = answer.output
    .filter((item) => item.type === "function_call")
    .map((item) => [item.call_id, item.name, item.arguments]);
  const usage = answer.usage ? [answer.usage.input_tokens, answer.usage.output_tokens] : null;
  return said(answer.output_text, calls, answer.status, usage);
}

await run({
  chat: async ({ model }) => understood(await client.chat.completions.create({ model, messages })),
  chat_stream: async ({ model }) => {
    let text = "";
    let stop = null;
    let usage = null;
    for await (const chunk of await client.chat.completions.create({ model, messages, stream: true, stream_options })) {
      text += chunk.choices[0]?.delta?.content ?? "";
      stop = chunk.choices[0]?.finish_reason ?? stop;
      if (chunk.usage) usage = [chunk.usage.prompt_tokens, chunk.usage.completion_tokens];
    }
    return said(text, [], stop, usage);
  },
  tools: async ({ model }) => understood(await client.chat.completions.create({ model, messages, tools })),
  tools_stream: async ({ model }) =>
    understood(await client.chat.completions.stream({ model, messages, tools, stream_options }).finalChatCompletion()),
  loop: async ({ model }) => {
    const first = await client.chat.completions.create({ model, messages, tools });
    const { message } = first.choices[0];
    const results = message.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: RESULT }));
    const mine = [...messages, message, ...results];
    return understood(await client.chat.completions.create({ model, messages: mine, tools }));
  },
  responses: async ({ model }) => responded(await client.responses.create({ model, input: QUESTION })),
  responses_tools_stream: async ({ model }) =>
    responded(await client.responses.stream({ model, input: QUESTION, tools: flat }).finalResponse()),
});
