/**
 * Compares the adapters of make_peft_adapters.py with PEFT: for each, the largest difference of our
 * logits from PEFT's, alone and merged, and of gradients (relative), or the refusal. Exit code 1 if a number is wrong.
 *
 * `deno run -A tests/model/files/check_peft_adapters.ts FOLDER`
 */
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { readBack } from "../../../src/device/read_back.ts";
import { mergeAndVerify } from "../../../src/evaluate/merge_verified.ts";
import { VisionLanguageModel } from "../../../src/generate/vision_language_model.ts";
import { toModelBatch } from "../../../src/model/batch.ts";
import { lossGradients } from "../../../src/train/loop/gradients.ts";
import { AdapterError } from "../../../src/model/files/adapter_files.ts";
import { readSafetensors } from "../../../src/model/safetensors/safetensors.ts";

const TOLERANCE = 1e-4;
const folder = Deno.args[0];
if (folder === undefined) throw new Error("Usage: check_peft_adapters.ts FOLDER");
const { versions, skipped } = JSON.parse(await Deno.readTextFile(`${folder}/skipped.json`));
await initBackend({ backend: "wasm" });
const silent = () => {};
console.warn = silent;

type Expected = Awaited<ReturnType<typeof readSafetensors>>;

/** Largest difference of a model's logits from recorded ones. */
async function difference(model: VisionLanguageModel, want: Expected, key: string) {
  const ids = Array.from(want.get("ids")!.data as Int32Array, Number);
  const pixels = want.get("pixels")!;
  const shape = pixels.shape as [number, number, number, number];
  const images = tf.tensor4d(pixels.data as Float32Array, shape);
  const { logits } = model.forward({ inputIds: [ids], images, returnLogits: true });
  const [values] = await readBack([logits!]);
  tf.dispose([images, logits!]);
  const recorded = want.get(key)!.data;
  let largest = 0;
  values.forEach((value, i) => largest = Math.max(largest, Math.abs(value - Number(recorded[i]))));
  return largest;
}

/** Largest difference of the gradients of A, B and magnitudes, relative to each one's size. */
async function gradientDifference(model: VisionLanguageModel, want: Expected) {
  const ids = Array.from(want.get("ids")!.data as Int32Array, Number);
  const pixels = want.get("pixels")!;
  const shape = pixels.shape as [number, number, number, number];
  const images = tf.tensor4d(pixels.data as Float32Array, shape);
  const labels = ids.map((_, i) => i >= 4 && i + 1 < ids.length ? ids[i + 1] : -100);
  const batch = toModelBatch({ inputIds: [ids], images, labels: [labels] }, model.config);
  const variables = new Map<string, tf.Variable>();
  for (const [layer, { loraA, loraB, magnitude }] of model.adapters) {
    variables.set(`${layer}.lora_A.weight`, loraA as tf.Variable);
    variables.set(`${layer}.lora_B.weight`, loraB as tf.Variable);
    if (magnitude) variables.set(`${layer}.lora_magnitude_vector.weight`, magnitude as tf.Variable);
  }
  for (const variable of variables.values()) variable.trainable = true;
  const { loss, gradients } = lossGradients(
    () => model.labelLogProbs(batch, {})!.mean().neg() as tf.Scalar,
    variables,
  );
  const names = [...variables.keys()];
  const values = await readBack(names.map((name) => gradients.get(name)!));
  tf.dispose([loss, images, ...gradients.values()]);
  batch.dispose();
  let largest = 0;
  names.forEach((name, i) => {
    const recorded = want.get(`gradient.${name}`) ??
      want.get(`gradient.${name.replace(/\.weight$/, "")}`);
    if (recorded === undefined) throw new Error(`No recorded gradient of ${name}`);
    let size = 0;
    for (const x of recorded.data) size = Math.max(size, Math.abs(Number(x)));
    values[i].forEach((value, j) => {
      largest = Math.max(largest, Math.abs(value - Number(recorded.data[j])) / (size + 1e-12));
    });
  });
  return largest;
}

/** A refusal in one line, without the machine's paths. */
function refusal(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replaceAll(`${folder}/`, "").replace(/\s+/g, " ").slice(0, 150);
}

console.log(
  `PEFT ${versions.peft}, torch ${versions.torch}; logits and gradients within ${TOLERANCE}\n`,
);
console.log(
  `${"adapter".padEnd(22)} ${"effect".padStart(9)} ${"alone".padStart(9)} ` +
    `${"merged".padStart(9)} ${"gradients".padStart(9)}  result`,
);
const names = [...Deno.readDirSync(folder)]
  .filter(({ name, isDirectory }) => isDirectory && name !== "base" && !(name in skipped))
  .map(({ name }) => name).sort();
const counts = { equal: 0, refused: 0, wrong: 0 };
const out = await Deno.makeTempDir();
for (const name of names) {
  const base = `${folder}/base/${await Deno.readTextFile(`${folder}/${name}/base.txt`)}`;
  const want = await readSafetensors(`${folder}/${name}/want.safetensors`);
  let effect = 0;
  const bare = want.get("bare")!.data, logits = want.get("logits")!.data;
  for (let i = 0; i < bare.length; i++) {
    effect = Math.max(effect, Math.abs(Number(bare[i]) - Number(logits[i])));
  }
  const row = (errors: readonly (number | null)[], result: string) =>
    console.log(
      [
        name.padEnd(22),
        ...[effect, ...errors].map((e) => (e?.toExponential(1) ?? "").padStart(9)),
      ].join(" ") + `  ${result}`,
    );
  try {
    const adapter = `${folder}/${name}`;
    const model = await VisionLanguageModel.fromPretrained(base, { adapter, onWarning: silent });
    const alone = await difference(model, want, "logits");
    const gradients = await gradientDifference(model, want);
    model.dispose();
    await mergeAndVerify({ modelDir: base, adapterDir: adapter, outDir: `${out}/${name}` });
    const merged = await VisionLanguageModel.fromPretrained(`${out}/${name}`, {
      onWarning: silent,
    });
    const afterMerge = await difference(merged, want, "logits");
    merged.dispose();
    const isEqual = Math.max(alone, afterMerge, gradients) <= TOLERANCE;
    counts[isEqual ? "equal" : "wrong"]++;
    row([alone, afterMerge, gradients], isEqual ? "equal" : "WRONG");
  } catch (error) {
    const isRefusal = error instanceof AdapterError;
    counts[isRefusal ? "refused" : "wrong"]++;
    row([null, null, null], (isRefusal ? "" : "WRONG: ") + refusal(error));
  }
}
await Deno.remove(out, { recursive: true });
console.log(
  `\n${names.length} adapters: ${counts.equal} equal, ${counts.refused} refused, ` +
    `${counts.wrong} wrong`,
);
for (const [name, reason] of Object.entries(skipped)) {
  console.log(`PEFT itself refuses ${name}: ${reason}`);
}
if (counts.wrong > 0) Deno.exit(1);
