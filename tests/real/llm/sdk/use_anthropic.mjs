// The official @anthropic-ai/sdk package of npm.

import Anthropic from "@anthropic-ai/sdk";
import { DESCRIBED, JOB, QUESTION, RESULT, SCHEMA, run, said } from "./job.mjs";

const client = new Anthropic({ baseURL: JOB.base, apiKey: JOB.key, maxRetries: JOB.retries ?? 0 });
const messages = [{ role: "user", content: QUESTION }];
const tools = [{ name: "get_weather", description: DESCRIBED, input_schema: SCHEMA }];
const common = { max_tokens: 200, system: "Be brief." };

function understood(message) {
  const of = (type) => message.content.filter((block) => block.type === type);
  const text = of("text").map((block) => block.text).join("");
  const calls = of("tool_use").map((block) => [block.id, block.name, block.input]);
  return said(text, calls, message.stop_reason, [message.usage.input_tokens, message.usage.output_tokens]);
}

await run({
  messages: async ({ model }) => understood(await client.messages.create({ model, messages, ...common })),
  messages_stream: async ({ model }) =>
    understood(await client.messages.stream({ model, messages, ...common }).finalMessage()),
  tools: async ({ model }) => understood(await client.messages.create({ model, messages, tools, ...common })),
  tools_stream: async ({ model }) =>
    understood(await client.messages.stream({ model, messages, tools, ...common }).finalMessage()),
  loop: async ({ model }) => {
    const first = await client.messages.create({ model, messages, tools, ...common });
    const results = first.content
      .filter((block) => block.type === "tool_use")
      .map((block) => ({ type: "tool_result", tool_use_id: block.id, content: RESULT }));
    const mine = [...messages, { role: "assistant", content: first.content }, { role: "user", content: results }];
    return understood(await client.messages.create({ model, messages: mine, tools, ...common }));
  },
});
