import { assert, assertEquals, assertRejects } from "@std/assert";
import { loadModel } from "../../src/generate/load_model.ts";
import { saveModel } from "../../src/model/files/save_pretrained.ts";
import { SafetensorsFile } from "../../src/model/safetensors/reader.ts";
import { exportSite } from "../../src/web/export_site.ts";
import { exportWeights, type WeightToExport } from "../../src/web/export_weights.ts";
import { checkManifest, PART_BYTES, SiteError } from "../../src/web/site_manifest.ts";
import { talkingModel } from "../generate/talking_model.ts";
import { smallSite } from "./small_site.ts";

/** Joins the parts of a site's weights into a file that is opened. */
async function joinedWeights(site: string): Promise<SafetensorsFile> {
  const { weights } = checkManifest(
    JSON.parse(await Deno.readTextFile(`${site}/model/model.json`)),
    "model.json",
  );
  const joined = `${site}/joined.safetensors`;
  await Deno.writeFile(joined, new Uint8Array());
  for (const { file, bytes, sha256 } of weights) {
    const part = await Deno.readFile(`${site}/model/${file}`);
    assertEquals(part.length, bytes);
    assertEquals(new Uint8Array(await crypto.subtle.digest("SHA-256", part)).toHex(), sha256);
    await Deno.writeFile(joined, part, { append: true });
  }
  return SafetensorsFile.open(joined);
}

Deno.test("the parts are one safetensors file with the matrices rounded to float16", async () => {
  await using small = await smallSite({ partBytes: 40_000 });
  const site = `${small.root}/below/it`;
  using file = await joinedWeights(site);
  const { model } = await loadModel(small.model);
  try {
    assertEquals(file.names.toSorted(), [...model.weights.keys()].toSorted());
    for (const [name, tensor] of model.weights) {
      const numbers = tensor.dataSync() as Float32Array;
      const { dtype, shape, data } = file.readFloats(name);
      assertEquals(shape, tensor.shape);
      assertEquals(dtype, tensor.rank < 2 ? "F32" : "F16");
      assertEquals(data, tensor.rank < 2 ? numbers : Float32Array.from(new Float16Array(numbers)));
    }
  } finally {
    model.dispose();
  }
  assert(PART_BYTES < 25e6);
});

/** Exports matrices [1, n] of given values; returns the bytes of the first part. */
async function exported(
  dtype: "auto" | "F16" | "BF16",
  ...values: (readonly number[] | { bits: readonly number[]; format: "F16" | "BF16" })[]
) {
  const weights = values.map((value, i): WeightToExport => {
    const shape = [1, "bits" in value ? value.bits.length : value.length];
    return {
      name: `w${i}`,
      shape,
      read: () =>
        "bits" in value
          ? { shape, format: value.format, bits: Uint16Array.from(value.bits) }
          : { shape, data: Float32Array.from(value) },
    };
  });
  const written: Uint8Array[] = [];
  const result = await exportWeights(weights, { dtype, partBytes: 4000 }, (_, bytes) => {
    written.push(bytes.slice());
    return Promise.resolve();
  });
  const text = new TextDecoder().decode(written[0]);
  const dtypes = [...text.matchAll(/"dtype":"(\w+)"/g)].map(([, name]) => name);
  return { ...result, dtypes };
}

Deno.test("exportWeights() keeps 16-bit weights, and takes bfloat16 beyond float16's range", async () => {
  const bfloat16 = { bits: [0x3f80], format: "BF16" } as const;
  const got = await exported("auto", [1, 0.5], bfloat16, [1e6, 2], [0.1]);
  assertEquals(got.dtypes, ["F16", "BF16", "BF16", "F16"]);
  assertEquals(got.rounded, 2, "1e6 in bfloat16 and 0.1 in float16");
  assertEquals(got.count, 6);
  assertEquals((await exported("BF16", [0.5])).dtypes, ["BF16"]);
  await assertRejects(() => exported("F16", [1e6]), RangeError, "use --dtype bf16");
});

Deno.test("exportSite() replaces its own export and refuses folders with other files", async () => {
  await using small = await smallSite();
  const site = `${small.root}/below/it`;
  const before = await Deno.readTextFile(`${site}/model/model.json`);
  await exportSite(small.model, site, { name: "other" });
  assertEquals(
    JSON.parse(await Deno.readTextFile(`${site}/model/model.json`)),
    { ...JSON.parse(before), name: "other" },
  );
  await Deno.writeTextFile(`${site}/CNAME`, "example.org");
  await assertRejects(() => exportSite(small.model, site), Error, "CNAME");
  assertEquals(await Deno.readTextFile(`${site}/CNAME`), "example.org");
});

Deno.test("exportSite() says that a model without a tokenizer cannot answer", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const { model } = await talkingModel();
    model.tokenizer = null;
    await saveModel(model, `${folder}/model`);
    model.dispose();
    const config = JSON.parse(await Deno.readTextFile(`${folder}/model/config.json`));
    config.lm_tokenizer = "missing";
    await Deno.writeTextFile(`${folder}/model/config.json`, JSON.stringify(config));
    await assertRejects(
      () => exportSite(`${folder}/model`, `${folder}/site`),
      Error,
      "no tokenizer.json",
    );
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["model"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("checkManifest() refuses what is not a manifest of this format", () => {
  const part = { file: "a.bin", bytes: 1, sha256: "0".repeat(64) };
  const good = { format: 1, name: "m", config: {}, texts: [part], weights: [part] };
  assertEquals(checkManifest(good, "model.json").name, "m");
  const wrong: [unknown, RegExp][] = [
    [null, /not a JSON object/],
    [{ ...good, format: 2 }, /its format is 2, want 1/],
    [{ ...good, config: null }, /no config/],
    [{ ...good, weights: [] }, /no lists of files/],
    [{ ...good, weights: [{ ...part, file: "../a.bin" }] }, /no lists of files/],
    [{ ...good, texts: [{ ...part, sha256: "1" }] }, /no lists of files/],
  ];
  for (const [value, text] of wrong) {
    try {
      checkManifest(value, "model.json");
    } catch (error) {
      assert(error instanceof SiteError && text.test(error.message), String(error));
      continue;
    }
    throw new Error(`checkManifest() took ${JSON.stringify(value)}`);
  }
});
