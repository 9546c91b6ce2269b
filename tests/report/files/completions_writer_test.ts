import { assertEquals } from "@std/assert";
import {
  type CompletionRow,
  CompletionsWriter,
} from "../../../src/report/files/completions_writer.ts";
import { inTemporaryFolder } from "../temporary_folder.ts";

function row(step: number, completion: string): CompletionRow {
  return { step, prompt: "p", completion, rewards: { a: 1, b: null }, reward: 1, advantage: -0.5 };
}

Deno.test("CompletionsWriter keeps what was sampled up to the resumed step", async () => {
  await inTemporaryFolder((dir) => {
    const path = `${dir}/completions.jsonl`;
    const first = new CompletionsWriter(path);
    first.write([row(1, "a"), row(1, "b")]);
    first.write([row(2, "c")]);
    first.close();
    const second = new CompletionsWriter(path, 1);
    second.write([row(2, "d")]);
    second.close();
    const rows = Deno.readTextFileSync(path).trimEnd().split("\n").map((line) => JSON.parse(line));
    assertEquals(rows, [row(1, "a"), row(1, "b"), row(2, "d")]);
  });
});
