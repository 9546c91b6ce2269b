/** Runs whose frozen weights are kept in 8 bits. */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { ConfigError } from "../../../src/config/config_error.ts";
import { initBackend } from "../../../src/device/backend.ts";
import { loadModel } from "../../../src/generate/load_model.ts";
import { saveModel } from "../../../src/model/files/save_pretrained.ts";
import { weightBytes } from "../../../src/model/model_weights.ts";
import { prepareModel } from "../../../src/train/run/prepare_model.ts";
import { runSFT } from "../../../src/train/sft/run.ts";
import { mergeAndVerify } from "../../../src/evaluate/merge_verified.ts";
import { LORA, tinyConfig } from "../sft/tiny_sft.ts";

const EIGHT = [...LORA, "model.load_in_8bit=true"];

async function withBase(body: (base: string, folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "eight bits " });
  try {
    await initBackend({ backend: "wasm" });
    const { model, tokenizer, imageProcessor } = await prepareModel(tinyConfig().model, 3);
    model.tokenizer = tokenizer;
    model.imageProcessor = imageProcessor;
    await saveModel(model, `${folder}/base`, { dtype: "BF16" });
    model.dispose();
    await body(`${folder}/base`, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const from = (base: string) => `model.model_name_or_path=${JSON.stringify(base)}`;

Deno.test("linear layers are kept in 8 bits, embedding and head in those of the file", () =>
  withBase(async (base) => {
    const { model: section, training } = tinyConfig([...EIGHT, from(base)]);
    const { model, packedNote } = await prepareModel(section, 1, training);
    const formats = [...model.packedWeights].map(([name, { format }]) => [name, format]);
    assert(formats.some(([name]) => name.endsWith("mlp.down_proj.weight")));
    for (const [name, format] of formats) {
      assertEquals(format, /head|token_embedding/.test(name) ? "BF16" : "Q8", name);
    }
    assertStringIncludes(packedNote!, "are rounded to 8 bits by model.load_in_8bit");
    const eight = weightBytes(model);
    model.dispose();
    const { model: sixteen } = await prepareModel({ ...section, load_in_8bit: false }, 1, training);
    assert(eight < weightBytes(sixteen));
    await assertRejects(() => saveModel(sixteen, "unused"), Error, "have adapters");
    sixteen.dispose();
  }));

Deno.test("weights in 8 bits are not saved as if they were the model's", () =>
  withBase(async (base, folder) => {
    const { model: section, training } = tinyConfig([...EIGHT, from(base)]);
    const { model } = await prepareModel(section, 1, training);
    const { packedWeights } = model;
    const bare = { ...model, packedWeights, weights: model.weights, adapters: new Map() };
    const parts = { config: model.config, tokenizer: null, imageProcessor: null };
    await assertRejects(
      () => saveModel({ ...bare, ...parts }, `${folder}/saved`),
      Error,
      "was rounded to 8 bits when it was loaded",
    );
    await assertRejects(() => Deno.stat(`${folder}/saved`), Deno.errors.NotFound);
    model.dispose();
  }));

Deno.test("a run in 8 bits learns about as in 16, resumes to the same bytes and merges", () =>
  withBase(async (base, folder) => {
    const run = async (name: string, settings: readonly string[], stopAt = Infinity) => {
      const output = `${folder}/${name}`;
      const config = tinyConfig([
        ...[...settings, from(base), "dataset.max_samples=24", "training.max_steps=6"],
        ...["training.logging_steps=1", "training.save_strategy=steps", "training.save_steps=3"],
        ...[`training.output_dir=${output}`, `save.save_model_path=${output}/final`],
      ]);
      const stop = ({ step }: { step: number }) => step === stopAt ? "stop" as const : undefined;
      const options = { backend: "wasm", callbacks: [{ onStepEnd: stop }] } as const;
      const { step } = await runSFT(config, options);
      if (step < 6) await runSFT(config, { backend: "wasm", resume: "auto" });
      const lines = (await Deno.readTextFile(`${output}/metrics.jsonl`)).trim().split("\n");
      return {
        losses: lines.map((line) => JSON.parse(line).loss).filter((loss) => loss !== undefined),
        adapter: await Deno.readFile(`${output}/final/adapter_model.safetensors`),
      };
    };
    const eight = await run("eight", EIGHT);
    const resumed = await run("resumed", EIGHT, 3);
    assertEquals(resumed.adapter, eight.adapter);
    const sixteen = await run("sixteen", LORA);
    eight.losses.forEach((loss: number, i: number) => {
      assert(Math.abs(loss - sixteen.losses[i]) < 0.02 * sixteen.losses[i], `${i}: ${loss}`);
    });
    assert(eight.losses.some((loss: number, i: number) => loss !== sixteen.losses[i]));
    await mergeAndVerify({
      modelDir: base,
      adapterDir: `${folder}/eight/final`,
      outDir: `${folder}/merged`,
    });
    const { model } = await loadModel(`${folder}/merged`);
    assertEquals(model.adapters.size, 0);
    model.dispose();
  }));

Deno.test("weights in 8 bits without LoRA are refused, since they could not be trained", () => {
  const error = assertThrows(() => tinyConfig(["model.load_in_8bit=true"]), ConfigError);
  assertStringIncludes(error.message, "wants model.use_lora: true");
});
