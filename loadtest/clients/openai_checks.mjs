// The openai client for Node, unchanged.
import assert from "node:assert/strict";
import OpenAI from "openai";

const { BASE_URL, KEY, MODEL, SERVER } = process.env;
const open = KEY === "-"; // the server asks for no key, but the client must send one
const baseURL = BASE_URL + "/v1";
const client = new OpenAI({ baseURL, apiKey: open ? "anything" : KEY, maxRetries: 0, timeout: 120_000 });
const hello = { model: MODEL, messages: [{ role: "user", content: "Say hello." }] };

class Skip extends Error {}

const checks = {
  async "chat completion"() {
    const answer = await client.chat.completions.create({ ...hello, max_tokens: 16, ignore_eos: true });
    assert.equal(answer.choices[0].finish_reason, "length");
    assert.equal(answer.usage.completion_tokens, 16);
  },
  async "chat stream"() {
    const chunks = [];
    for await (const chunk of await client.chat.completions.create({ ...hello, max_tokens: 16, ignore_eos: true, stream: true })) {
      chunks.push(chunk);
    }
    assert.equal(chunks[0].choices[0].delta.role, "assistant");
    assert.equal(chunks.at(-1).choices[0].finish_reason, "length");
    assert.ok(chunks.every((chunk) => chunk.usage == null), "a usage that nobody asked for");
  },
  async "chat stream helper"() {
    const stream = client.chat.completions.stream({ ...hello, max_tokens: 16, stream_options: { include_usage: true } });
    const final = await stream.finalChatCompletion();
    assert.equal(final.choices[0].message.role, "assistant");
    assert.ok(final.usage.completion_tokens > 0);
  },
  async "response stream"() {
    let last;
    for await (const event of await client.responses.create({ model: MODEL, input: "Say hello.", max_output_tokens: 16, stream: true })) {
      last = event;
    }
    assert.match(last.type, /^response\.(completed|incomplete)$/);
  },
  async "list of models"() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.ok(ids.includes(MODEL), `${MODEL} is not in ${ids}`);
  },
  async "abort before the answer"() {
    const controller = new AbortController();
    const call = client.chat.completions.create({ ...hello, max_tokens: 4000, ignore_eos: true }, { signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    await assert.rejects(call, OpenAI.APIUserAbortError);
  },
  async "abort of a stream"() {
    const stream = await client.chat.completions.create({ ...hello, max_tokens: 4000, ignore_eos: true, stream: true });
    let chunks = 0;
    for await (const _ of stream) {
      if (++chunks === 3) stream.controller.abort();
    }
    assert.ok(chunks < 4000, "the stream went on to its end");
  },
  async timeout() {
    const call = client.chat.completions.create({ ...hello, max_tokens: 4000, ignore_eos: true }, { timeout: 50 });
    await assert.rejects(call, OpenAI.APIConnectionTimeoutError);
  },
  async "unknown model"() {
    await assert.rejects(client.chat.completions.create({ ...hello, model: "nosuch" }), (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError, String(error));
      assert.match(error.message, /nosuch/);
      return true;
    });
  },
  async "bad request"() {
    await assert.rejects(client.chat.completions.create({ ...hello, temperature: -1, stream: true }), OpenAI.BadRequestError);
  },
  async "wrong key"() {
    if (open) throw new Skip("the server asks for no key");
    const stranger = new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 });
    await assert.rejects(stranger.chat.completions.create(hello), OpenAI.AuthenticationError);
  },
  async "one model"() {
    if (SERVER !== "fairlane") throw new Skip(`${SERVER} has no /v1/models/{id}`);
    assert.equal((await client.models.retrieve(MODEL)).id, MODEL);
  },
};

for (const [name, check] of Object.entries(checks)) {
  const start = performance.now();
  try {
    await check();
    console.log(`ok    openai-node: ${name} (${((performance.now() - start) / 1000).toFixed(1)}s)`);
  } catch (error) {
    if (error instanceof Skip) {
      console.log(`skip  openai-node: ${name} (${error.message})`);
    } else {
      process.exitCode = 1;
      console.log(`FAIL  openai-node: ${name}: ${error.name}: ${error.message}`);
    }
  }
}
