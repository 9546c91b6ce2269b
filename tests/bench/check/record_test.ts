import { assertEquals, assertRejects } from "@std/assert";
import {
  compareWithRecord,
  findEntry,
  readRecord,
  type RecordEntry,
  withEntry,
} from "../../../src/bench/check/record.ts";

const entry = (changes: Partial<RecordEntry> = {}): RecordEntry => ({
  ...{ cpu: "a processor", backend: "wasm", model: "tiny", threads: 2, clock: "wall" },
  ...{ date: "2026-01-01", ratios: { step_s: 10, decode_1_tokens_per_s: 4 }, spread: {} },
  ...changes,
});

function verdicts(
  ratios: Record<string, number>,
  spread: Record<string, number> = {},
  margin = 0.1,
) {
  const rows = compareWithRecord({ ratios, spread }, entry(), margin);
  return Object.fromEntries(rows.map(({ name, verdict }) => [name, verdict]));
}

Deno.test("a time that grows is worse, and so is a rate that falls", () => {
  assertEquals(verdicts({ step_s: 11.5, decode_1_tokens_per_s: 3.5 }), {
    step_s: "worse",
    decode_1_tokens_per_s: "worse",
  });
  assertEquals(verdicts({ step_s: 8.5, decode_1_tokens_per_s: 4.8 }), {
    step_s: "better",
    decode_1_tokens_per_s: "better",
  });
});

Deno.test("a change within the margin, or within what the rounds vary, is none", () => {
  assertEquals(verdicts({ step_s: 10.9 }), { step_s: "same" });
  assertEquals(verdicts({ step_s: 11.5 }, { step_s: 1.3 }), { step_s: "same" });
  assertEquals(verdicts({ step_s: 11.5 }, {}, 0.2), { step_s: "same" });
});

Deno.test("a row that the record lacks is new, and without an entry all are", () => {
  assertEquals(verdicts({ grpo_step_s: 1 }), { grpo_step_s: "new" });
  assertEquals(compareWithRecord(entry(), null, 0.1).map(({ verdict }) => verdict), [
    "new",
    "new",
  ]);
});

Deno.test("an entry is that of the same processor, backend, model, threads and clock", () => {
  const record = [entry(), entry({ backend: "webgpu" })];
  assertEquals(findEntry(record, entry({ date: "another day" })), record[0]);
  for (
    const change of [{ cpu: "b" }, { threads: 1 }, { model: "230m" }, { clock: "cpu" }] as const
  ) {
    assertEquals(findEntry(record, entry(change)), null);
  }
  const newer = entry({ date: "2026-02-02" });
  assertEquals(withEntry(record, newer), [newer, record[1]]);
  assertEquals(withEntry(record, entry({ cpu: "b" })).length, 3);
});

Deno.test("a record that is missing is empty, and one that is something else is refused", async () => {
  const folder = await Deno.makeTempDir();
  try {
    assertEquals(await readRecord(`${folder}/none.json`), []);
    await Deno.writeTextFile(`${folder}/text.json`, "{");
    await assertRejects(() => readRecord(`${folder}/text.json`), Error, "it is not JSON");
    await Deno.writeTextFile(`${folder}/other.json`, '[{"cpu": "x"}]');
    await assertRejects(() => readRecord(`${folder}/other.json`), Error, "want a list of entries");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
