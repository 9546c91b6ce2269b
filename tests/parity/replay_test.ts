import { assert, assertEquals, assertRejects } from "@std/assert";
import { initBackend } from "../../src/device/backend.ts";
import { parityLines, parityRows } from "../../src/parity/parity_table.ts";
import { replayFixtures } from "../../src/parity/replay.ts";
import type { ParityResult } from "../../src/parity/result.ts";
import { command } from "../../tasks/parity.ts";
import { UsageError } from "../../tasks/usage_error.ts";
import { fixtureTest } from "./shared_fixtures.ts";

async function collect(directory: string, only?: string): Promise<ParityResult[]> {
  await initBackend({ backend: "wasm" });
  const all: ParityResult[] = [];
  for await (const results of replayFixtures(directory, only)) all.push(...results);
  return all;
}

/** A copy of some of the fixtures. */
async function withPart(
  directory: string,
  names: readonly string[],
  run: (part: string) => Promise<void>,
): Promise<void> {
  const part = await Deno.makeTempDir();
  try {
    for (const name of names) {
      const parent = name.split("/").slice(0, -1).join("/");
      await Deno.mkdir(`${part}/${parent}`, { recursive: true });
      await Deno.symlink(`${directory}/${name}`, `${part}/${name}`);
    }
    await run(part);
  } finally {
    await Deno.remove(part, { recursive: true });
  }
}

fixtureTest("every case of the fixtures is within its tolerance on wasm", async (directory) => {
  const results = await collect(directory);
  assertEquals(results.filter(({ ok }) => !ok), []);
  const heads = new Set(results.map((result) => result.case.split(/[/ :.[]/)[0]));
  for (
    const head of (
      "tokenizer preprocess sampling schedulers dpo grpo advantages losses model variants lora " +
      "generate train backbones smolvlm"
    ).split(" ")
  ) assert(heads.has(head), head);
});

fixtureTest("--only replays the cases whose name begins so", async (directory) => {
  const dora = await collect(directory, "lora/dora");
  assert(dora.length > 20);
  assert(dora.every((result) => result.case.startsWith("lora/dora")));
  const losses = await collect(directory, "losses");
  assert(losses.some((result) => result.case.startsWith("dpo/")));
  assert(losses.some((result) => result.case.startsWith("losses/")));
});

fixtureTest("a fixtures folder may lack any part", async (directory) => {
  const modelFiles = ["config.json", "model.safetensors"].map((name) => `model/${name}`);
  const parts: [string[], string][] = [
    [["sampling.json"], "sampling"],
    [["losses/grpo.json"], "grpo"],
    [["train/schedulers.json"], "schedulers"],
    [["backbones"], "backbones"],
    [["preprocess"], "preprocess"],
    [["tokenizer"], "tokenizer"],
    [modelFiles, "model"],
    [[...modelFiles, "generate.json", "generate.safetensors"], "generate"],
    [[...modelFiles, "variants/ropescale"], "variants"],
    [[...modelFiles, "train"], "train"],
    [[...modelFiles, "losses"], "losses"],
  ];
  for (const [files, head] of parts) {
    await withPart(directory, files, async (part) => {
      const results = await collect(part);
      assertEquals(results.filter(({ ok }) => !ok), [], head);
      assert(results.some((result) => result.case.startsWith(head)), head);
    });
  }
});

fixtureTest("a damaged file fails its group and no other", async (directory) => {
  await withPart(
    directory,
    ["sampling.json", "model/config.json", "train/schedulers.json"],
    async (part) => {
      await Deno.writeTextFile(`${part}/model/model.safetensors`, "no weights");
      const failed = (await collect(part)).filter(({ ok }) => !ok);
      assertEquals(failed.map(({ quantity }) => quantity), ["replay"]);
    },
  );
});

Deno.test("parity fails on a folder with nothing to replay, and on an unknown name", async () => {
  const folder = await Deno.makeTempDir();
  const context = { signal: new AbortController().signal };
  await assertRejects(
    () => command.run([folder, "--backend", "cpu"], context),
    Error,
    "has nothing to replay",
  );
  await assertRejects(() => command.run([folder, "--only", "lroa"], context), UsageError);
  await Deno.remove(folder);
});

const result = (name: string, quantity: string, error: number): ParityResult => ({
  case: name,
  quantity,
  error,
  tolerance: 1,
  ok: error <= 1,
});

Deno.test("the table has a line for each kind, with its worst, and one for each failure", () => {
  const results = [
    result("lora/dora", "gradient a.0.weight", 0.5),
    result("lora/dora", "gradient b.1.weight", 2),
    result("lora/dora", "loss", 0.1),
    result("train/sft step 1", "loss", 0.1),
    result("train/sft step 2", "loss", 0.3),
  ];
  assertEquals(
    parityRows(results).map(({ kind, quantity, count, worst }) => [
      kind,
      quantity,
      count,
      worst.error,
    ]),
    [["lora/dora", "gradient", 2, 2], ["lora/dora", "loss", 1, 0.1], ["train/sft", "loss", 2, 0.3]],
  );
  const lines = parityLines(results);
  assertEquals(lines.length, 4);
  assert(lines[1].includes("FAILED lora/dora, gradient b.1.weight: error 2.0e+0"));
  assertEquals(parityLines(results, true).length, 5);
});
