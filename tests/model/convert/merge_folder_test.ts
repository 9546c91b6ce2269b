import { assert, assertEquals, assertRejects } from "@std/assert";
import { initBackend } from "../../../src/device/backend.ts";
import { mergeAndVerify } from "../../../src/evaluate/merge_verified.ts";
import { checkMergedWeights } from "../../../src/model/convert/check_merge.ts";
import {
  AdapterError,
  defaultLoraConfig,
  initializeAdapter,
  saveAdapterFolder,
} from "../../../src/model/files/adapter_files.ts";
import { initializeWeights } from "../../../src/model/initialize.ts";
import { saveModelFolder } from "../../../src/model/files/weights.ts";
import { tinyConfig as tiny } from "../tiny_config.ts";
import { readSafetensors, SafetensorsFile } from "../../../src/model/safetensors/safetensors.ts";
import { readConfig } from "../../../src/model/files/weights.ts";
import { mergeFolder } from "../../../src/model/convert/merge_folder.ts";
import { fixtureTest } from "../../parity/shared_fixtures.ts";

const root = await Deno.makeTempDir();
globalThis.addEventListener("unload", () => Deno.removeSync(root, { recursive: true }));

fixtureTest(
  "mergeFolder() writes PEFT's merged weights, the rest as it was, and the tokenizer",
  async (fixtures) => {
    const modelDir = `${root}/model`;
    await Deno.mkdir(modelDir);
    for (const name of ["config.json", "model.safetensors"]) {
      await Deno.copyFile(`${fixtures}/model/${name}`, `${modelDir}/${name}`);
    }
    await Deno.copyFile(`${fixtures}/tokenizer/tokenizer.json`, `${modelDir}/tokenizer.json`);
    for (const kind of ["lora", "dora"]) {
      const outDir = `${root}/${kind}`;
      const { merged, replaced } = await mergeFolder({
        modelDir,
        adapterDir: `${fixtures}/lora/${kind}`,
        outDir,
      });
      assertEquals([merged.length, replaced.length], [18, 0]);
      using ours = SafetensorsFile.open(`${outDir}/model.safetensors`);
      using base = SafetensorsFile.open(`${modelDir}/model.safetensors`);
      assertEquals(ours.names, base.names);
      for (const name of base.names) {
        const isMerged = merged.includes(name.replace(/\.weight$/, ""));
        const same = String(ours.readFloats(name).data) === String(base.readFloats(name).data);
        assertEquals(same, !isMerged, name);
      }
      for (
        const [name, { data }] of await readSafetensors(
          `${fixtures}/lora/${kind}_forward.safetensors`,
        )
      ) {
        if (!name.startsWith("merged.")) continue;
        ours.readFloats(name.slice("merged.".length)).data.forEach((x, i) =>
          assert(Math.abs(x - Number(data[i])) < 1e-5, name)
        );
      }
      assertEquals(await readConfig(outDir), await readConfig(modelDir));
      assert((await Deno.stat(`${outDir}/tokenizer.json`)).size > 0);
    }
  },
);

const tinyConfig = { ...tiny, lm_base_vocab_size: 29, lm_tokenizer: "none" };

/** A tied tiny model and an adapter on its head and queries, both random. */
async function headAdapter(use_dora: boolean) {
  const modelDir = `${root}/tiny`, adapterDir = `${root}/tiny_${use_dora}`;
  const weights = new Map(initializeWeights(tinyConfig, 3, { initializerRange: 0.3 }));
  await saveModelFolder(
    modelDir,
    tinyConfig,
    [...weights].map(([name, { shape, data }]) => ({ name, shape, data })),
  );
  const config = {
    ...defaultLoraConfig(),
    r: 2,
    use_dora,
    init_lora_weights: false,
    target_modules: ["head", "q_proj"],
    alpha_pattern: { "blocks.1.attn.q_proj": 3 },
  };
  const read = (name: string) => weights.get(name)!.data;
  const adapter = await initializeAdapter(tinyConfig, config, 5, read);
  await saveAdapterFolder(adapterDir, tinyConfig, adapter);
  return { modelDir, adapterDir };
}

for (const dora of [false, true]) {
  Deno.test(`merging an adapter of a tied head unties it and keeps the logits, DoRA ${dora}`, async () => {
    await initBackend({ backend: "wasm" });
    const { modelDir, adapterDir } = await headAdapter(dora);
    const outDir = `${root}/untied_${dora}`;
    const result = await mergeAndVerify({ modelDir, adapterDir, outDir });
    assertEquals(result.merged.includes("decoder.head"), true);
    assertEquals((await readConfig(outDir)).lm_tie_weights, false);
    using merged = SafetensorsFile.open(`${outDir}/model.safetensors`);
    using base = SafetensorsFile.open(`${modelDir}/model.safetensors`);
    const head = base.readFloats("decoder.head.weight").data;
    assertEquals(merged.readFloats("decoder.token_embedding.weight").data, head);
    const changed = merged.readFloats("decoder.head.weight").data;
    assert(changed.some((value, i) => Math.abs(value - head[i]) > 1e-3));
  });
}

Deno.test("checkMergedWeights() finds a merge that leaves a layer out", async () => {
  const { modelDir, adapterDir } = await headAdapter(false);
  const outDir = `${root}/checked`;
  await mergeFolder({ modelDir, adapterDir, outDir });
  assert(await checkMergedWeights({ modelDir, adapterDir, outDir }) < 1e-5);
  // The base model itself, as if the adapter had not been applied.
  await assertRejects(
    () => checkMergedWeights({ modelDir, adapterDir, outDir: modelDir }),
    AdapterError,
    "went wrong",
  );
  const configPath = `${adapterDir}/adapter_config.json`;
  const config = JSON.parse(await Deno.readTextFile(configPath));
  await Deno.writeTextFile(configPath, JSON.stringify({ ...config, use_rslora: true }));
  await assertRejects(
    () => checkMergedWeights({ modelDir, adapterDir, outDir }),
    AdapterError,
    "is off by",
  );
});
