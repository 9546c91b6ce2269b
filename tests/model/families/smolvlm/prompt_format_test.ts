import { assertEquals, assertThrows } from "@std/assert";
import { smolVLMPrompts } from "../../../../src/model/families/smolvlm/prompt_format.ts";
import { ChatExampleBuilder } from "../../../../src/text/chat_example.ts";
import { ImageGridError } from "../../../../src/text/image_string.ts";
import { Tokenizer } from "../../../../src/text/tokenizer.ts";
import { byteLevelTokenizer } from "../../../text/byte_level_tokenizer.ts";

const TEMPLATE =
  "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";

const ROLES = {
  image_token: "<image>",
  fake_image_token: "<fake_token_around_image>",
  global_image_token: "<global-img>",
  r1c1: "<row_1_col_1>",
  r1c2: "<row_1_col_2>",
};

function tokenizer(): Tokenizer {
  const { files } = byteLevelTokenizer();
  return Tokenizer.fromJson({
    ...files,
    config: { ...files.config, eos_token: "<end_of_utterance>" },
  }).withExtraTokens(
    { start: "<|im_start|>", end: "<end_of_utterance>", ...ROLES },
    TEMPLATE,
  ).withFamily({ roles: ROLES, promptFormat: smolVLMPrompts("<image>"), savedFiles: new Map() });
}

function prompt(content: string, grids: [number, number][]): string {
  const made = tokenizer();
  const builder = new ChatExampleBuilder(made, { mpImageTokenLength: 1 });
  return made.decode(builder.buildPrompt([{ role: "user", content }], grids));
}

const WHOLE = "<fake_token_around_image><global-img><image><fake_token_around_image>";

Deno.test("a picture without marks comes before the first user text", () => {
  assertEquals(
    prompt("what?", [[0, 0]]),
    `<|im_start|>User:${WHOLE}what?<end_of_utterance>\nAssistant:`,
  );
});

Deno.test("as many marks as pictures say where the pictures are", () => {
  assertEquals(
    prompt("a <image> and b <image>", [[0, 0], [1, 2]]),
    `<|im_start|>User: a ${WHOLE} and b ` +
      "<fake_token_around_image><row_1_col_1><image>" +
      "<fake_token_around_image><row_1_col_2><image>\n\n" +
      `${WHOLE}<end_of_utterance>\nAssistant:`,
  );
});

Deno.test("marks that are not as many as the pictures are removed, like other typed tokens", () => {
  assertEquals(
    prompt("a <image> b <global-img><image>", [[0, 0]]),
    `<|im_start|>User:${WHOLE}a  b <end_of_utterance>\nAssistant:`,
  );
  assertEquals(prompt("a <image>", []), "<|im_start|>User: a <end_of_utterance>\nAssistant:");
});

Deno.test("a reply is what the template writes between two answers", () => {
  const made = tokenizer();
  const builder = new ChatExampleBuilder(made, { mpImageTokenLength: 1 });
  assertEquals(
    made.decode(builder.buildReply("user", "what?", [[0, 0]])),
    `\nUser:${WHOLE}what?<end_of_utterance>\nAssistant:`,
  );
  assertEquals(
    made.decode(builder.buildReply("user", "a <image> b", [])),
    "\nUser: a  b<end_of_utterance>\nAssistant:",
  );
});

Deno.test("an answer's labels end with the end token, and its text begins behind a space", () => {
  const made = tokenizer();
  const builder = new ChatExampleBuilder(made, { mpImageTokenLength: 1 });
  const { inputIds, lossMask } = builder.build([
    { role: "user", content: "q" },
    { role: "assistant", content: "yes" },
    { role: "user", content: "r" },
    { role: "assistant", content: "no" },
  ], []);
  assertEquals(
    made.decode(inputIds.filter((_, t) => lossMask[t] === 1)),
    " yes<end_of_utterance> no<end_of_utterance>",
  );
  assertEquals(made.answerPrefix, " ");
  assertEquals(made.decodeAnswer(builder.buildCompletion("yes")), "yes");
  assertEquals(made.decode(builder.buildCompletion("yes")), " yes<end_of_utterance>");
});

Deno.test("a grid without tokens for its rows is refused", () => {
  const error = assertThrows(() => prompt("a", [[2, 1]]), ImageGridError);
  assertEquals(error.message.includes("<row_2_col_1>"), true);
});
