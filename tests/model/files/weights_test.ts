import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { defaultVLMConfig, type VLMConfig } from "../../../src/vlm_config.ts";
import { checkVLMConfig, ModelConfigError } from "../../../src/model/families/check_config.ts";
import { formatConfig, parseVLMConfig } from "../../../src/model/families/nanovlm/config.ts";
import { readConfig } from "../../../src/model/files/config_file.ts";
import { initializeWeights } from "../../../src/model/initialize.ts";
import { readSafetensors, writeSafetensors } from "../../../src/model/safetensors/safetensors.ts";
import { SafetensorsFolder } from "../../../src/model/safetensors/folder.ts";
import { inverseFrequencies, linearModules } from "../../../src/model/weight_shapes.ts";
import {
  expectedShapes,
  loadWeights,
  openWeights,
  saveModelFolder,
  WeightsError,
  weightSpecs,
} from "../../../src/model/files/weights.ts";
import { tinyConfig } from "../tiny_config.ts";

const shared = new URL("../../../../shared/fixtures/", import.meta.url).pathname;
const hasShared = await Deno.stat(shared).then(() => true, () => false);
const root = await Deno.makeTempDir();
globalThis.addEventListener("unload", () => Deno.removeSync(root, { recursive: true }));

const tiny: VLMConfig = { ...tinyConfig, vit_n_blocks: 1 };

function fresh(config: VLMConfig): { name: string; shape: number[]; data: Float32Array }[] {
  return [...initializeWeights(config, 3)].map(([name, { shape, data }]) => ({
    name,
    shape,
    data,
  }));
}

for (const name of ["model", "variants/untied", "variants/ropescale"]) {
  Deno.test({
    name: `weightSpecs() names what nanoVLM saved in fixtures/${name} (needs shared/fixtures)`,
    ignore: !hasShared,
    async fn() {
      const config = await readConfig(shared + name);
      const file = await readSafetensors(`${shared}${name}/model.safetensors`);
      assertEquals(
        inverseFrequencies(config),
        file.get("decoder.rotary_embd.inv_freq")?.data,
      );
      file.delete("decoder.rotary_embd.inv_freq");
      const sorted = (map: Iterable<[string, number[]]>): [string, number[]][] =>
        [...map].sort(([a], [b]) => a < b ? -1 : 1);
      assertEquals(
        sorted(expectedShapes(config)),
        sorted([...file].map(([name, { shape }]) => [name, shape])),
      );
    },
  });

  Deno.test({
    name: `saveModelFolder() rewrites fixtures/${name} byte for byte (needs shared/fixtures)`,
    ignore: !hasShared,
    async fn() {
      const config = await readConfig(shared + name);
      const out = `${root}/${name.replace("/", "-")}`;
      const tensors = [];
      for await (const [key, { shape, data }] of loadWeights(shared + name, config)) {
        tensors.push({ name: key, shape, data });
      }
      await saveModelFolder(out, config, tensors);
      const bytes = (folder: string): Uint8Array =>
        Deno.readFileSync(`${folder}/model.safetensors`);
      assertEquals(bytes(out), bytes(shared + name));
      const text = Deno.readTextFileSync(`${out}/config.json`);
      const original = Deno.readTextFileSync(`${shared}${name}/config.json`);
      assertEquals(JSON.parse(text), JSON.parse(original));
      // Python spells small numbers 1e-06; the rest of the text is the same.
      const respelt = text.replace("0.000001,", "1e-06,").replace("0.00001,", "1e-05,");
      assertEquals(respelt, original);
    },
  });
}

Deno.test({
  name: "loadWeights() reads the vision part alone (needs shared/fixtures)",
  ignore: !hasShared,
  async fn() {
    const config = await readConfig(`${shared}variants/vit_cls`);
    let count = 0;
    for await (
      const [name] of loadWeights(`${shared}variants/vit_cls`, config, {
        parts: ["vision_encoder"],
      })
    ) {
      assert(name.startsWith("vision_encoder."));
      count++;
    }
    assertEquals(count, weightSpecs(config, ["vision_encoder"]).length);
    await assertRejects(
      () => openWeights(`${shared}variants/vit_cls`, config),
      WeightsError,
      "tensors are missing",
    );
  },
});

Deno.test("saveModelFolder() keeps half precision within its rounding, and other people's files", async () => {
  const out = `${root}/half`;
  await Deno.mkdir(out);
  await Deno.writeTextFile(`${out}/README.md`, "mine");
  await Deno.writeTextFile(`${out}/config.json`, "old");
  for (const [dtype, error] of [["F16", 2 ** -11], ["BF16", 2 ** -8]] as const) {
    await saveModelFolder(out, tiny, fresh(tiny), {
      dtype,
      writeOtherFiles: (folder) => Deno.writeTextFile(`${folder}/extra.json`, "{}"),
    });
    const wanted = new Map(initializeWeights(tiny, 3));
    for await (const [name, tensor] of loadWeights(out, tiny)) {
      assertEquals(tensor.dtype, dtype);
      const exact = wanted.get(name)?.data ?? [];
      tensor.data.forEach((x, i) =>
        assert(Math.abs(x - exact[i]) <= error * Math.abs(exact[i]) + 2 ** -24, `${name} ${x}`)
      );
    }
  }
  assertEquals(await Deno.readTextFile(`${out}/README.md`), "mine");
  assertEquals((await readConfig(out)).lm_hidden_dim, 16);
  assertEquals(
    [...Deno.readDirSync(out)].map(({ name }) => name).sort(),
    ["README.md", "config.json", "extra.json", "model.safetensors"],
  );
  assertEquals([...Deno.readDirSync(root)].filter(({ name }) => name.startsWith(".")), []);
});

Deno.test("saveModelFolder() makes shards above its limit, and loadWeights() reads them", async () => {
  const out = `${root}/sharded`;
  await saveModelFolder(out, tiny, fresh(tiny), { shardBytes: 4000 });
  const names = [...Deno.readDirSync(out)].map(({ name }) => name).sort();
  assert(names.includes("model-00001-of-00007.safetensors"), String(names));
  assert(names.includes("model.safetensors.index.json"));
  const wanted = new Map(initializeWeights(tiny, 3));
  let count = 0;
  for await (const [name, { data }] of loadWeights(out, tiny)) {
    assertEquals(data, wanted.get(name)?.data);
    count++;
  }
  assertEquals(count, wanted.size);
});

Deno.test("SafetensorsFolder.open() refuses an index that leads out of its folder", async () => {
  const out = `${root}/escape`;
  await Deno.mkdir(out);
  const index = `${out}/model.safetensors.index.json`;
  await Deno.writeTextFile(index, `{"weight_map": {"a": "../half/model.safetensors"}}`);
  await assertRejects(() => SafetensorsFolder.open(out), Error, "not the name of a file beside it");
  await Deno.writeTextFile(index, `{"weight_map": {"a": "model-1.safetensors"}}`);
  await assertRejects(() => SafetensorsFolder.open(out), Error, "no such file");
  await Deno.writeTextFile(index, `{"weight_map": 5}`);
  await assertRejects(() => SafetensorsFolder.open(out), Error, "has no weight_map");
  await assertRejects(() => SafetensorsFolder.open(root), Error, "neither model.safetensors nor");
});

Deno.test("openWeights() names tensor, got, wanted and the keys that decide", async () => {
  const path = `${root}/shapes.safetensors`;
  const write = (tensors: ReturnType<typeof fresh>): Promise<number> =>
    writeSafetensors(path, tensors);
  await write(fresh({ ...tiny, lm_inter_dim: 24 }));
  await assertRejects(
    () => openWeights(path, tiny),
    WeightsError,
    "decoder.blocks.0.mlp.gate_proj.weight is [24,16], the config wants [20,16] " +
      "(by lm_hidden_dim, lm_inter_dim)",
  );
  await write(fresh({ ...tiny, lm_n_blocks: 1 }));
  await assertRejects(() => openWeights(path, tiny), WeightsError, "9 tensors are missing");
  await write(fresh({ ...tiny, vit_n_blocks: 2 }));
  await assertRejects(() => openWeights(path, tiny), WeightsError, "12 have no place");
  const untied = fresh({ ...tiny, lm_tie_weights: false });
  await write(untied);
  await assertRejects(
    () => openWeights(path, tiny),
    WeightsError,
    "lm_tie_weights is true, so that decoder.head.weight and decoder.token_embedding.weight are",
  );
  const head = untied.find(({ name }) => name === "decoder.head.weight")!;
  await write(
    untied.map((t) => t.name === "decoder.token_embedding.weight" ? { ...head, name: t.name } : t),
  );
  (await openWeights(path, tiny)).close();
  await write(fresh(tiny));
  await assertRejects(
    () => openWeights(path, { ...tiny, lm_tie_weights: false }),
    WeightsError,
    "set lm_tie_weights to true",
  );
  await write(
    fresh(tiny).map((t) =>
      t.name === "decoder.head.weight" ? { ...t, name: "decoder.token_embedding.weight" } : t
    ),
  );
  using weights = await openWeights(path, tiny);
  assertEquals(weights.read("decoder.head.weight").shape, [30, 16]);
});

Deno.test("parseVLMConfig() fills in nanoVLM's defaults and warns of unknown keys", () => {
  const warnings: string[] = [];
  const config = parseVLMConfig({ lm_n_blocks: 3, lm_evil: 1 }, "config.json", {
    onWarning: (text) => warnings.push(text),
  });
  assertEquals(config, { ...defaultVLMConfig(), lm_n_blocks: 3 });
  assertEquals(warnings.length, 1);
  assert(warnings[0].includes("lm_evil"));
});

for (
  const [given, message] of [
    [{ lm_n_blocks: "3" }, /lm_n_blocks is "3", want an integer from 1/],
    [{ lm_n_blocks: 2.5 }, /want an integer from 1/],
    [{ lm_n_blocks: 0 }, /want an integer from 1/],
    [{ lm_rms_eps: -1 }, /want a number above 0/],
    [{ lm_dropout: 1 }, /want a number in \[0, 1\)/],
    [{ lm_tie_weights: 1 }, /want a boolean/],
    [{ vlm_extra_tokens: ["a"] }, /want an object of token strings/],
    [{ vit_n_heads: 7 }, /vit_hidden_dim 768 is not a multiple of vit_n_heads 7/],
    [{ lm_n_heads: 16 }, /lm_n_heads 16 is not a multiple of lm_n_kv_heads 5/],
    [{ lm_n_heads: 320 }, /= 3 wide, and rotary embeddings need an even width/],
    [{ mp_pixel_shuffle_factor: 3 }, /32 patches a side do not divide by mp_pixel/],
    [{ mp_image_token_length: 49 }, /\(512 \/ 16 \/ 4\)² = 64 tokens; set it to 64/],
    [{ vit_img_size: 8 }, /vit_img_size 8 is below vit_patch_size 16/],
    [[], /want an object of VLMConfig keys/],
  ] as const
) {
  Deno.test(`parseVLMConfig() refuses ${JSON.stringify(given)}`, () => {
    const error = assertThrows(() => parseVLMConfig(given, "config.json"), ModelConfigError);
    assert(message.test(error.message), error.message);
  });
}

Deno.test("checkVLMConfig() lets a ViT with a class token through", () => {
  checkVLMConfig({ ...defaultVLMConfig(), vit_cls_flag: true, mp_image_token_length: 1 });
});

Deno.test("readConfig() points a Transformers folder at convert, and names a missing file", async () => {
  const out = `${root}/llama`;
  await Deno.mkdir(out);
  await assertRejects(() => readConfig(out), ModelConfigError, "it has no config.json");
  await Deno.writeTextFile(`${out}/config.json`, `{"model_type": "llama"}`);
  await assertRejects(() => readConfig(out), ModelConfigError, '"convert" makes a nanoVLM folder');
  await Deno.writeTextFile(`${out}/config.json`, `{"lm_`);
  await assertRejects(() => readConfig(out), ModelConfigError, "Cannot read");
});

Deno.test("formatConfig() writes decimal points as Python does, and only ASCII", () => {
  const text = formatConfig({ ...tiny, hf_repo_name: "größe\u{1f600}" });
  assert(text.includes('"vit_dropout": 0.0,') && text.includes('"lm_attn_scaling": 1.0,'));
  assert(text.includes('"lm_n_blocks": 2,') && text.includes('"lm_re_base": 100000,'));
  assert(/^[\n\x20-\x7e]*$/.test(text));
  assertEquals(JSON.parse(text).hf_repo_name, "größe\u{1f600}");
});

Deno.test("initializeWeights() follows nanoVLM's rules and does not depend on order", () => {
  const config = { ...tiny, lm_vocab_size: 3000, vit_cls_flag: true };
  const tensors = new Map(initializeWeights(config, 7));
  const stats = (name: string): [number, number] => {
    const data = tensors.get(name)?.data ?? new Float32Array();
    const mean = data.reduce((a, b) => a + b, 0) / data.length;
    return [mean, Math.sqrt(data.reduce((a, b) => a + (b - mean) ** 2, 0) / data.length)];
  };
  const [mean, std] = stats("decoder.head.weight");
  assert(Math.abs(mean) < 3e-4 && Math.abs(std - 0.02) < 3e-4, `${mean} ${std}`);
  const [center, spread] = stats("vision_encoder.patch_embedding.position_embedding");
  assert(Math.abs(center - 0.5) < 0.1 && Math.abs(spread - Math.sqrt(1 / 12)) < 0.06);
  assertEquals(stats("vision_encoder.blocks.0.ln1.weight"), [1, 0]);
  assertEquals(stats("vision_encoder.patch_embedding.cls_token"), [0, 0]);
  const alone = new Map(initializeWeights({ ...config, lm_n_blocks: 1 }, 7));
  assertEquals(alone.get("decoder.head.weight"), tensors.get("decoder.head.weight"));
  const other = new Map(initializeWeights(config, 8));
  assert(other.get("MP.proj.weight")?.data[0] !== tensors.get("MP.proj.weight")?.data[0]);
  const small = new Map(initializeWeights(config, 7, { initPositionEmbedding: "normal" }));
  const positions = small.get("vision_encoder.patch_embedding.position_embedding")?.data ?? [1];
  assert(Math.max(...positions.map(Math.abs)) < 0.12);
  const conv = small.get("vision_encoder.patch_embedding.conv.weight")?.data ?? [];
  const convStd = Math.sqrt([...conv].reduce((a, b) => a + b * b, 0) / conv.length);
  assert(Math.abs(convStd * Math.sqrt(48) / 2 - 1) < 0.2, String(convStd));
  const bias = small.get("vision_encoder.patch_embedding.conv.bias")?.data ?? [];
  const sum = [...conv].slice(0, 48).reduce((a, b) => a + b, 0);
  assert(Math.abs(bias[0] + sum / 2) < 1e-5, `${bias[0]} does not centre a kernel of sum ${sum}`);
});

Deno.test("linearModules() leaves norms, embeddings and the convolution out", () => {
  const names = linearModules({ ...tiny, lm_tie_weights: false });
  assertEquals(names.length, 4 + 2 * 7 + 1 + 1);
  assert(names.includes("MP.proj") && names.includes("decoder.head"));
});
