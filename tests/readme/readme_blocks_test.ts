import { assertEquals, assertThrows } from "@std/assert";
import { readmeSteps, shellWords } from "./readme_blocks.ts";

Deno.test("readmeSteps() reads commands and rows in the order of the page", () => {
  const page = [
    "Write `a/b.jsonl`:\n",
    "```json",
    '{ "image": "1.png" }',
    "```",
    "",
    "```sh",
    "# a comment",
    'deno task x --prompt "What is it?"',
    "```",
    "",
    "```ts ignore",
    "const not = 1;",
    "```",
  ].join("\n");
  assertEquals(readmeSteps(page), [
    { kind: "rows", file: "a/b.jsonl", row: { image: "1.png" } },
    {
      kind: "command",
      line: 'deno task x --prompt "What is it?"',
      words: ["deno", "task", "x", "--prompt", "What is it?"],
    },
  ]);
  assertThrows(() => readmeSteps("```json\n{}\n```\n"), Error, "no file is named");
});

Deno.test("shellWords() keeps quoted words together", () => {
  assertEquals(shellWords(`a 'b c' "d" --e`), ["a", "b c", "d", "--e"]);
});
