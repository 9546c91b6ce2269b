import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { initBackend } from "../../../src/device/backend.ts";
import { weightBytes } from "../../../src/model/model_weights.ts";
import { packExactly, packRounded } from "../../../src/model/packed_weights.ts";
import { loadModel } from "../../../src/generate/load_model.ts";
import { readSafetensors } from "../../../src/model/safetensors/safetensors.ts";
import { SafetensorsFolder } from "../../../src/model/safetensors/folder.ts";
import { saveModel } from "../../../src/model/files/save_pretrained.ts";
import { mergeAndVerify } from "../../../src/evaluate/merge_verified.ts";
import { parameterGroups } from "../../../src/train/optimizer/parameter_groups.ts";
import { type PreparedModel, prepareModel } from "../../../src/train/run/prepare_model.ts";
import { largestDifference } from "../dpo/tiny_dpo.ts";
import { LORA, tinyConfig, tinySFT } from "../sft/tiny_sft.ts";

/** A tiny model as a folder in a 16-bit format, and the same numbers as float32. */
async function writeTwins(folder: string, dtype: "BF16" | "F16"): Promise<void> {
  await initBackend({ backend: "wasm" });
  const { model, tokenizer, imageProcessor } = await prepareModel(tinyConfig().model, 3);
  model.tokenizer = tokenizer;
  model.imageProcessor = imageProcessor;
  await saveModel(model, `${folder}/half`, { dtype });
  model.dispose();
  const wide = await loadModel(`${folder}/half`);
  await saveModel(wide.model, `${folder}/wide`, { dtype: "F32" });
  wide.model.dispose();
}

async function withTwins(
  dtype: "BF16" | "F16",
  body: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "twins " });
  try {
    await writeTwins(folder, dtype);
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const from = (folder: string) => `model.model_name_or_path=${JSON.stringify(folder)}`;
const prepare = (settings: string[]): Promise<PreparedModel> => {
  const { model, training } = tinyConfig(settings);
  return prepareModel(model, 1, training);
};

/** Type and bytes of each tensor of a model's file. */
async function stored(folder: string): Promise<Map<string, { dtype: string; bytes: Uint8Array }>> {
  using file = await SafetensorsFolder.open(folder);
  return new Map(file.names.map((name) => [name, file.readRaw(name)]));
}

for (const dtype of ["BF16", "F16"] as const) {
  Deno.test(`LoRA on a ${dtype} checkpoint learns what it learns on its float32 twin`, () =>
    withTwins(dtype, async (folder) => {
      const settings = [...LORA, "training.max_steps=3", "training.lr_vision_backbone=0"];
      const run = async (path: string, packs: boolean) => {
        await using run = await tinySFT([...settings, from(path)], { packs });
        const { packedWeights } = run.prepared.model;
        await run.trainer.train();
        const losses = run.metrics().map(({ loss }) => loss).filter((loss) => loss !== undefined);
        return { losses, weights: await run.weights(), packed: packedWeights.size };
      };
      const half = await run(`${folder}/half`, true);
      const wide = await run(`${folder}/wide`, true);
      const plain = await run(`${folder}/wide`, false);
      assert(half.packed > 8);
      // Its float32 numbers are all numbers of 16 bits.
      assertEquals(wide.packed, half.packed);
      assertEquals(wide.losses, half.losses);
      assertEquals(wide.weights, half.weights);
      assertEquals(plain.packed, 0);
      assertEquals(plain.losses.length, half.losses.length);
      plain.losses.forEach((loss, i) => assertAlmostEquals(loss, half.losses[i], 1e-6));
      assert(largestDifference(plain.weights, half.weights) < 1e-5);
    }));
}

Deno.test("a packed pass equals that of float32 weights, with LoRA, DoRA and checkpointing", () =>
  withTwins("BF16", async (folder) => {
    for (
      const extra of [
        [],
        ["model.lora_config.use_dora=true"],
        ["training.gradient_checkpointing=true"],
        ["model.lora_config.use_dora=true", "model.lora_config.lora_dropout=0"],
      ]
    ) {
      const settings = [...LORA, from(`${folder}/half`), ...extra];
      await using packed = await tinySFT(settings);
      assert(packed.prepared.model.packedWeights.size > 0);
      const got = await packed.gradients();
      await using plain = await tinySFT(settings, { packs: false });
      assertEquals(plain.prepared.model.packedWeights.size, 0);
      const want = await plain.gradients();
      assertAlmostEquals(got.loss, want.loss, 1e-6);
      assertEquals([...got.gradients.keys()].sort(), [...want.gradients.keys()].sort());
      assert(largestDifference(got.gradients, want.gradients) < 1e-5, String(extra));
    }
  }));

Deno.test("a packed model is saved with the bits that came in, or widened if that is asked for", () =>
  withTwins("BF16", async (folder) => {
    const { model } = await loadModel(`${folder}/half`, { keepPacked: () => true });
    const came = await stored(`${folder}/half`);
    await saveModel(model, `${folder}/again`);
    const again = await stored(`${folder}/again`);
    for (const name of model.packedWeights.keys()) assertEquals(again.get(name), came.get(name));
    await saveModel(model, `${folder}/float32`, { dtype: "F32" });
    await saveModel(model, `${folder}/bf16`, { dtype: "BF16" });
    const wide = await readSafetensors(`${folder}/wide/model.safetensors`);
    const float32 = await readSafetensors(`${folder}/float32/model.safetensors`);
    assertEquals([...float32.keys()].sort(), [...wide.keys()].sort());
    for (const [name, { data }] of float32) assertEquals(data, wide.get(name)!.data);
    assertEquals(await stored(`${folder}/bf16`), came);
    model.dispose();
  }));

Deno.test("an adapter that was trained on packed weights merges into the file's own numbers", () =>
  withTwins("F16", async (folder) => {
    const settings = [...LORA, "training.max_steps=1", from(`${folder}/half`)];
    await using run = await tinySFT(settings);
    await run.trainer.train();
    const adapterDir = `${folder}/adapter`;
    await Deno.mkdir(adapterDir);
    await run.options.saveModel(adapterDir);
    const { merged } = await mergeAndVerify({
      modelDir: `${folder}/half`,
      adapterDir,
      outDir: `${folder}/merged`,
    });
    assertEquals(merged.length, 3);
    const name = "decoder.blocks.0.attn.k_proj.weight"; // not adapted
    const before = await readSafetensors(`${folder}/half/model.safetensors`);
    const after = await readSafetensors(`${folder}/merged/model.safetensors`);
    assertEquals(after.get(name)!.data, before.get(name)!.data);
  }));

Deno.test("a resumed LoRA run on packed weights goes on to the bit", () =>
  withTwins("BF16", async (folder) => {
    const settings = [
      ...LORA,
      from(`${folder}/half`),
      "training.save_strategy=steps",
      "training.save_steps=2",
    ];
    await using whole = await tinySFT([...settings, "training.max_steps=4"]);
    await whole.trainer.train();
    await using again = await tinySFT([...settings, "training.max_steps=4"]);
    await again.trainer.resume(`${whole.folder}/checkpoint-2`);
    await again.trainer.train();
    assertEquals(await again.weights(), await whole.weights());
  }));

Deno.test("packed weights take half the bytes, and only frozen matrices are packed", () =>
  withTwins("BF16", async (folder) => {
    const settings = [...LORA, from(`${folder}/half`)];
    const { model, packedNote } = await prepare([...settings, "training.lr_vision_backbone=0"]);
    const plain = await loadModel(`${folder}/half`);
    const matrices = [...plain.model.weights].filter(([, { rank }]) => rank === 2);
    assertEquals(
      [...model.packedWeights.keys()].sort(),
      matrices.map(([name]) => name).filter((name) => !name.startsWith("MP.")).sort(),
    );
    const packedSize = [...model.packedWeights.values()].reduce((sum, { size }) => sum + size, 0);
    assertEquals(weightBytes(plain.model) - weightBytes(model), 2 * packedSize);
    assert(packedNote?.includes(`${model.packedWeights.size} frozen matrices`));
    const trains = await prepare([...settings, "training.lr_vision_backbone=1e-3"]);
    assert([...trains.model.packedWeights.keys()].every((name) => name.startsWith("decoder.")));
    const full = await prepare([from(`${folder}/half`)]);
    assertEquals(full.model.packedWeights.size, 0);
    for (const { model } of [trains, plain, full]) model.dispose();
    model.dispose();
  }));

Deno.test("float32 weights are packed under LoRA only if bf16 or fp16 is set", async () => {
  await initBackend({ backend: "wasm" });
  for (const [key, count] of [["", 0], ["bf16", 7], ["fp16", 7]] as const) {
    const { model } = await prepare([...LORA, ...(key ? [`training.${key}=true`] : [])]);
    assertEquals(model.packedWeights.size, count, key);
    assert(!model.packedWeights.has("decoder.head.weight"));
    model.dispose();
  }
  const dora = await prepare([...LORA, "training.bf16=true", "model.lora_config.use_dora=true"]);
  assertEquals(dora.model.packedWeights.size, 0);
  dora.model.dispose();
});

Deno.test("weights are packed exactly or not at all", () => {
  const shape = [1, 3];
  assertEquals(packExactly({ shape, data: Float32Array.of(1, -0.5, 3) })?.format, "BF16");
  // 11 bits of fraction: float16 alone has them.
  assertEquals(packExactly({ shape, data: Float32Array.of(1 + 2 ** -10, 0, -0) })?.format, "F16");
  assertEquals(packExactly({ shape, data: Float32Array.of(1 + 2 ** -20, 0, 0) }), null);
  assertEquals(packExactly({ shape: [3], data: new Float32Array(3) }), null);
  assertEquals(packRounded({ shape, data: Float32Array.of(70_000, 0, 0) }, "F16"), null);
  assertEquals(
    packRounded({ shape, data: Float32Array.of(Infinity, 1, 1 + 2 ** -20) }, "F16")?.bits,
    Uint16Array.of(0x7c00, 0x3c00, 0x3c00),
  );
});

Deno.test("a packed weight cannot be given to an optimizer", () =>
  withTwins("F16", async (folder) => {
    const { model } = await loadModel(`${folder}/half`, { keepPacked: () => true });
    const rates = { modalityProjector: 0, visionEncoder: 0, languageBackbone: 0, lora: 0 };
    for (const part of ["modalityProjector", "visionEncoder", "languageBackbone"]) {
      assertThrows(
        () => parameterGroups(model, { ...rates, [part]: 1e-3 }, 0),
        Error,
        "is kept in 16 bits",
      );
    }
    assertEquals(parameterGroups(model, rates, 0).length, 0);
    model.dispose();
  }));
