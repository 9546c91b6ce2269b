import { assert, assertEquals } from "@std/assert";
import { initBackend } from "../../../../src/device/backend.ts";
import { readBack } from "../../../../src/device/read_back.ts";
import { VisionLanguageModel } from "../../../../src/generate/vision_language_model.ts";
import { weightsToSave } from "../../../../src/model/files/save_pretrained.ts";
import { saveModelFolder } from "../../../../src/model/files/weights.ts";
import { SafetensorsFile } from "../../../../src/model/safetensors/safetensors.ts";
import { fixtureTest } from "../../../parity/shared_fixtures.ts";

const quiet = { onWarning: () => {} };

async function logitsOf(model: VisionLanguageModel): Promise<Float32Array> {
  const { logits } = model.forward({ inputIds: [[4, 8, 15, 16, 23, 42]], returnLogits: true });
  const [values] = await readBack([logits!]);
  return values as Float32Array;
}

for (const kind of ["smolvlm", "idefics3"]) {
  fixtureTest(`a ${kind} comes back as it was saved, tied head or not`, async (directory) => {
    await initBackend({ backend: "wasm" });
    const from = `${directory}/smolvlm/${kind}`, to = await Deno.makeTempDir();
    const model = await VisionLanguageModel.fromPretrained(from, quiet);
    try {
      await model.savePretrained(to);
      using theirs = SafetensorsFile.open(`${from}/model.safetensors`);
      using ours = SafetensorsFile.open(`${to}/model.safetensors`);
      assertEquals([...ours.names].sort(), [...theirs.names].sort());
      for (const name of theirs.names) {
        assertEquals(ours.readFloats(name), theirs.readFloats(name), name);
      }
      for (const { name } of Deno.readDirSync(from)) {
        if (name === "config.json" || name === "model.safetensors") continue;
        assertEquals(
          await Deno.readTextFile(`${to}/${name}`),
          await Deno.readTextFile(`${from}/${name}`),
          name,
        );
      }
    } finally {
      model.dispose();
      await Deno.remove(to, { recursive: true });
    }
  });
}

fixtureTest(
  "shards of bfloat16 load, also with their matrices left in 16 bits",
  async (directory) => {
    await initBackend({ backend: "wasm" });
    const to = await Deno.makeTempDir();
    const model = await VisionLanguageModel.fromPretrained(`${directory}/smolvlm/smolvlm`, quiet);
    try {
      await saveModelFolder(to, model.config, await weightsToSave(model, "BF16"), {
        dtype: "BF16",
        shardBytes: 100_000,
        writeOtherFiles: async (folder) => {
          await model.tokenizer!.save(folder);
          await model.imageProcessor!.save(folder);
        },
      });
      assertEquals(JSON.parse(await Deno.readTextFile(`${to}/config.json`)).dtype, "bfloat16");
      assert(
        [...Deno.readDirSync(to)].filter(({ name }) => name.endsWith(".safetensors")).length > 1,
      );
      const wide = await VisionLanguageModel.fromPretrained(to, quiet);
      const packed = await VisionLanguageModel.fromPretrained(to, {
        ...quiet,
        keepPacked: () => true,
      });
      assert(packed.packedWeights.has("decoder.blocks.0.attn.out_proj.weight"));
      const [exact, first, second] = [
        await logitsOf(model),
        await logitsOf(wide),
        await logitsOf(packed),
      ];
      const largest = (a: Float32Array, b: Float32Array) =>
        a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
      assert(largest(first, second) < 1e-5, `packed logits differ by ${largest(first, second)}`);
      assert(largest(first, exact) < 0.1, `rounded logits differ by ${largest(first, exact)}`);
      wide.dispose();
      packed.dispose();
    } finally {
      model.dispose();
      await Deno.remove(to, { recursive: true });
    }
  },
);
