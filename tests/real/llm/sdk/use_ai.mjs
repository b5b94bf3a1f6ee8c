// Vercel's ai package with its OpenAI provider, by the chat door and by the responses door.

import { createOpenAI } from "@ai-sdk/openai";
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { DESCRIBED, JOB, QUESTION, RESULT, SCHEMA, run, said } from "./job.mjs";

const openai = createOpenAI({ baseURL: JOB.base + "/v1", apiKey: JOB.key });
const common = { system: "Be brief.", prompt: QUESTION, maxRetries: JOB.retries ?? 0 };
const described = { description: DESCRIBED, inputSchema: jsonSchema(SCHEMA) };
const tools = { get_weather: tool(described) };
const working = { get_weather: tool({ ...described, execute: async () => RESULT }) };

async function understood(result) {
  const usage = await result.usage;
  const calls = (await result.toolCalls).map((call) => [call.toolCallId, call.toolName, call.input]);
  return said(await result.text, calls, await result.finishReason, [usage.inputTokens, usage.outputTokens]);
}

async function streamed(settings) {
  let trouble = null;
  const result = streamText({ ...common, ...settings, onError: ({ error }) => (trouble = error) });
  await result.consumeStream();
  if (trouble) throw trouble;
  return understood(result);
}

await run({
  chat: async ({ model }) => understood(await generateText({ model: openai.chat(model), ...common })),
  chat_stream: async ({ model }) => streamed({ model: openai.chat(model) }),
  tools: async ({ model }) => understood(await generateText({ model: openai.chat(model), tools, ...common })),
  tools_stream: async ({ model }) => streamed({ model: openai.chat(model), tools }),
  responses: async ({ model }) => understood(await generateText({ model: openai.responses(model), ...common })),
  responses_stream: async ({ model }) => streamed({ model: openai.responses(model) }),
  responses_tools_stream: async ({ model }) => streamed({ model: openai.responses(model), tools }),
  loop: async ({ model }) =>
    understood(
      await generateText({ model: openai.chat(model), tools: working, stopWhen: stepCountIs(3), ...common }),
    ),
});
