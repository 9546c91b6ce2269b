import { assert, assertEquals } from "@std/assert";
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
