import { assertEquals, assertThrows } from "@std/assert";
import { RowSkipped } from "../../../src/data/data_error.ts";
import { readContent } from "../../../src/data/rows/message_parts.ts";
import type { Cell } from "../../../src/data/rows/row.ts";

const text = { type: "text", text: "What?" };
const url = "data:image/png;base64,AAAA";

// Every part has the same picture, in the form that one library writes.
const forms: [string, Cell, Cell][] = [
  ["OpenAI chat", { type: "image_url", image_url: { url } }, { url }],
  ["OpenAI chat with a plain address", { type: "image_url", image_url: url }, url],
  ["OpenAI responses", { type: "input_image", image_url: url }, url],
  ["Transformers url", { type: "image", url: "a.png" }, "a.png"],
  ["Transformers path", { type: "image", path: "a.png" }, "a.png"],
  ["Transformers base64", { type: "image", base64: "AAAA" }, "AAAA"],
  ["Qwen", { type: "image", image: "a.png", min_pixels: 3136 }, "a.png"],
  ["Qwen 1 without types", { image: "a.png" }, "a.png"],
  ["Anthropic", { type: "image", source: { type: "base64", data: "AAAA" } }, {
    type: "base64",
    data: "AAAA",
  }],
  ["datasets, with nulls for other kinds", {
    type: "image",
    text: null,
    image: { bytes: "AAAA", path: null },
  }, { bytes: "AAAA", path: null }],
  ["TRL, whose picture is in a column", { type: "image" }, null],
  ["TRL in parquet", { type: "image", text: null, image: null }, null],
];
for (const [what, part, place] of forms) {
  Deno.test(`readContent() finds the picture of a part: ${what}`, () => {
    assertEquals(readContent([part, text], false, "m"), {
      text: "What?",
      places: [place],
      offsets: [0],
    });
    assertEquals(readContent([text, part], false, "m").offsets, ["What?".length]);
  });
}

Deno.test("readContent() puts a picture right between two texts", () => {
  const content = readContent([text, { type: "image", image: "a" }, text], false, "m");
  assertEquals(content, { text: "What?What?", places: ["a"], offsets: ["What?".length] });
});

Deno.test("readContent() counts marks, and says where no picture stands then", () => {
  assertEquals(readContent("<image>\n<image>\nSame?", false, "m"), {
    text: "Same?",
    places: [null, null],
    offsets: null,
  });
});

Deno.test("readContent() reads parts that were written as JSON text", () => {
  const json = JSON.stringify([{ type: "image", image: "a.png" }, text]);
  assertEquals(readContent(json, false, "m").places, ["a.png"]);
  // A text that only looks like it stays a text.
  assertEquals(readContent('[{"type"', false, "m").text, '[{"type"');
});

Deno.test("readContent() leaves answers as they are, numbers included", () => {
  assertEquals(readContent("a <image> b", true, "m").text, "a <image> b");
  assertEquals(readContent(3, true, "m").text, "3");
  assertThrows(() => readContent(3, false, "m"), RowSkipped, "m says number 3");
});

Deno.test("readContent() skips a part of another kind by its name", () => {
  assertThrows(
    () => readContent([{ type: "video", video: "a.mp4" }], false, "m"),
    RowSkipped,
    "video",
  );
  assertThrows(() => readContent([5], false, "m"), RowSkipped, "a part that is number 5");
});
