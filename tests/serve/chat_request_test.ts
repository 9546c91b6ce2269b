import { assertEquals } from "@std/assert";
import { readChatRequest } from "../../src/serve/chat_request.ts";

const LIMITS = { pictures: 8, answers: 8 };
const picture = (byte: number) => ({
  type: "image_url",
  image_url: { url: `data:image/png;base64,${Uint8Array.of(byte).toBase64()}` },
});
const text = (words: string) => ({ type: "text", text: words });

Deno.test("readChatRequest() keeps pictures where the parts have them, and texts as lines", () => {
  const { messages, pictures } = readChatRequest({
    messages: [
      { role: "developer", content: "Be brief." },
      { role: "user", content: [picture(1), text("One?"), text("Or"), picture(2), text(" two?")] },
      { role: "assistant", content: "Two." },
      { role: "user", content: [text("And"), picture(3)] },
    ],
  }, LIMITS);
  assertEquals(messages, [
    { role: "system", content: "Be brief.", pictures: [] },
    { role: "user", content: "One?\nOr two?", pictures: [0, 7] },
    { role: "assistant", content: "Two.", pictures: [] },
    { role: "user", content: "And", pictures: [3] },
  ]);
  assertEquals(pictures.map((source) => "bytes" in source && source.bytes[0]), [1, 2, 3]);
});

Deno.test("readChatRequest() takes OpenAI's defaults, and max_completion_tokens before max_tokens", () => {
  const messages = [{ role: "user", content: "x" }];
  const asked = readChatRequest({ messages, user: "me", tools: [], stop: null }, LIMITS);
  assertEquals(
    [asked.temperature, asked.topP, asked.n, asked.maxTokens, asked.stop, asked.stream],
    [1, 1, 1, undefined, [], false],
  );
  const { maxTokens } = readChatRequest(
    { messages, max_tokens: 5, max_completion_tokens: 7 },
    LIMITS,
  );
  assertEquals(maxTokens, 7);
});
