import { assertEquals, assertThrows } from "@std/assert";
import { ChatExampleBuilder } from "../../src/text/chat_example.ts";
import { defaultExtraTokens } from "../../src/vlm_config.ts";
import { byteLevelTokenizer, chatTokenizer } from "./byte_level_tokenizer.ts";

const tokenizer = chatTokenizer();
const builder = new ChatExampleBuilder(tokenizer, { mpImageTokenLength: 2 });
const image = "<|global_image|><|image|><|image|>";

Deno.test("buildReply() is what the template writes from an answer's end to the next answer", () => {
  const question = { role: "user", content: "q" }, answer = { role: "assistant", content: "a" };
  const reply = { role: "user", content: "look", pictures: [0] };
  const before = builder.build([question, answer], []).inputIds;
  const whole = builder.buildPrompt([question, answer, reply], [[1, 1]]);
  const ids = builder.buildReply("user", "look", [[1, 1]]);
  // A completion ends with the end token; the template's newline after it is the reply's.
  assertEquals([...before.slice(0, -1), ...ids], whole);
  assertEquals(
    tokenizer.decode(ids),
    `\n<|im_start|>user\n${image}look<|im_end|>\n<|im_start|>assistant\n`,
  );
});

Deno.test("buildReply() numbers several pictures of one reply", () => {
  const text = tokenizer.decode(builder.buildReply("user", "", [[1, 1], [1, 1]]));
  assertEquals(text.includes(`<image: 0>${image}<image: 1>${image}`), true, text);
});

Deno.test("buildReply() removes typed image tokens", () => {
  const text = tokenizer.decode(builder.buildReply("user", "a<|image|>b", []));
  assertEquals(text, "\n<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n");
});

Deno.test("buildReply() needs a template that ends answers", () => {
  const endless = byteLevelTokenizer().withExtraTokens(
    defaultExtraTokens(),
    "{% for message in messages %}{{ message.role + ':' + message.content }}{% endfor %}",
  );
  const other = new ChatExampleBuilder(endless, { mpImageTokenLength: 2 });
  assertThrows(() => other.buildReply("user", "a", []), Error, "no end token after it");
});
