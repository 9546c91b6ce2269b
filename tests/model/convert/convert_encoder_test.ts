import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { VisionLanguageModel } from "../../../src/generate/vision_language_model.ts";
import { changePixelRange } from "../../../src/model/convert/convert_encoder.ts";
import { ConvertError } from "../../../src/model/convert/convert.ts";
import { convert } from "../../../src/model/convert/convert_folder.ts";
import { defaultVLMConfig } from "../../../src/vlm_config.ts";
import { fixtureTest } from "../../parity/shared_fixtures.ts";

const root = await Deno.makeTempDir();
globalThis.addEventListener("unload", () => Deno.removeSync(root, { recursive: true }));

/** A picture of one tile in which no two pixels are alike. */
const picture = {
  width: 32,
  height: 32,
  data: Uint8Array.from({ length: 3 * 32 * 32 }, (_, i) => (i * 37 + (i >> 5) * 11) % 256),
};

/** The features that a folder's encoder gives for the picture. */
async function features(folder: string): Promise<Float32Array> {
  const model = await VisionLanguageModel.fromPretrained(folder);
  try {
    const { tiles, tileCount, tileSize } = await model.imageProcessor!.process(
      picture,
    );
    // The last or only tile is the whole picture in both families.
    const whole = tiles.subarray((tileCount - 1) * 3 * tileSize ** 2);
    return tf.tidy(() =>
      model.imageFeatures(tf.tensor4d(whole, [1, 3, tileSize, tileSize])).dataSync() as Float32Array
    );
  } finally {
    model.dispose();
  }
}

fixtureTest(
  "a trained encoder gives the same features with another decoder, in either family",
  async (fixtures) => {
    await initBackend({ backend: "wasm" });
    const make = (family: string, visionDir: string, out: string) =>
      convert({
        family,
        languageDir: `${fixtures}/backbones/llama`,
        tokenizerDir: `${fixtures}/tokenizer/base`,
        visionDir,
        outDir: `${root}/${out}`,
        seed: 3,
        vlmConfig: { max_img_size: 32 },
      });
    await make("nanovlm", `${fixtures}/backbones/siglip`, "nano");
    await make("smolvlm", `${root}/nano`, "smol");
    await make("nanovlm", `${root}/smol`, "nano again");
    const wanted = await features(`${root}/nano`);
    assert(wanted.some((value) => Math.abs(value) > 0.1));
    for (const folder of ["smol", "nano again"]) {
      const got = await features(`${root}/${folder}`);
      assertEquals(got.length, wanted.length);
      wanted.forEach((value, i) => assertAlmostEquals(got[i], value, 2e-5));
    }
  },
);

fixtureTest("an encoder with a class token is refused", async (fixtures) => {
  const folder = `${root}/class token`;
  await Deno.mkdir(folder);
  await Deno.writeTextFile(
    `${folder}/config.json`,
    JSON.stringify({ ...defaultVLMConfig(), vit_cls_flag: true }),
  );
  await assertRejects(
    () =>
      convert({
        languageDir: `${fixtures}/backbones/llama`,
        visionDir: folder,
        outDir: `${root}/refused`,
        onWarning: () => {},
        seed: 3,
      }),
    ConvertError,
    "vit_cls_flag is true",
  );
});

Deno.test("changePixelRange() keeps what the layer computes of a pixel", () => {
  const weight = Float32Array.of(1, -2, 3, 0.5, 4, -1); // [2, 3, 1, 1]
  const bias = Float32Array.of(0.25, -1);
  const from = [[0, 1], [-1, 1], [-2, 3]] as const;
  const level = [0.2, 0.7, 0.9]; // of 0 … 1
  const output = (w: Float32Array, b: Float32Array, values: number[]) =>
    [0, 1].map((o) => b[o] + values.reduce((sum, value, c) => sum + w[3 * o + c] * value, 0));
  const wanted = output(
    weight,
    bias,
    level.map((u, c) => from[c][0] + u * (from[c][1] - from[c][0])),
  );
  changePixelRange(weight, bias, { from, to: [-1, 1] });
  const got = output(weight, bias, level.map((u) => 2 * u - 1));
  got.forEach((value, o) => assertAlmostEquals(value, wanted[o], 1e-6));
});
