/**
 * Checks a merged model against its adapter's files by another way of computing: no part of
 * reading or merging adapters is used, so that an adapter which was read wrongly, or not at all, is
 * found.
 *
 * @module
 */
import { elementCount } from "../../element_count.ts";
import { RandomStream } from "../../random.ts";
import { familyOf } from "../families/families.ts";
import { AdapterError } from "../files/adapter_targets.ts";
import { pythonRegExp } from "../files/python_regexp.ts";
import { openWeights, readConfig } from "../files/weights.ts";
import { SafetensorsFolder } from "../safetensors/folder.ts";

// O outputs, I inputs, r rank

/** Largest relative error that passes: float32, and weights that were rounded to 16 bits. */
const TOLERANCES = { F32: 1e-4, F16: 4e-3, BF16: 2e-2 } as const;

type Floats = { shape: readonly number[]; data: Float32Array };

/** The product of a matrix [O, I] and a vector [I], in float64. */
function product({ shape: [O, I], data }: Floats, x: ArrayLike<number>): Float64Array {
  const y = new Float64Array(O);
  for (let o = 0; o < O; o++) {
    let sum = 0;
    for (let i = 0; i < I; i++) sum += data[o * I + i] * x[i];
    y[o] = sum;
  }
  return y;
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** The tensors of one layer in an adapter's file. */
interface Branch {
  A: Floats;
  B: Floats;
  m: Floats | undefined;
}

/**
 * The adapted layer on a vector: W x + s B (A x), for DoRA times m / n. The norm n of a row w + s b A
 * comes from n² = w·w + 2 s b·(A w) + s² b·(A Aᵀ b), without the merged matrix.
 */
function adapted(W: Floats, { A, B, m }: Branch, s: number, x: Float64Array): Float64Array {
  const [O, I] = W.shape, r = A.shape[0];
  const y = product(W, x), side = product(B, product(A, x));
  for (let o = 0; o < O; o++) y[o] += s * side[o];
  if (m === undefined) return y;
  const rowOf = (k: number) => A.data.subarray(k * I, (k + 1) * I);
  const gram = Array.from(
    { length: r },
    (_, k) => Array.from({ length: r }, (_, l) => dot(rowOf(k), rowOf(l))),
  );
  for (let o = 0; o < O; o++) {
    const w = W.data.subarray(o * I, (o + 1) * I), b = B.data.subarray(o * r, (o + 1) * r);
    const squared = dot(w, w) + 2 * s * dot(b, product(A, w)) +
      s * s * dot(b, gram.map((row) => dot(row, b)));
    y[o] *= m.data[o] / Math.sqrt(squared);
  }
  return y;
}

/** PEFT's scaling of a layer, from the JSON file. */
function scalingOf(config: Record<string, unknown>, layer: string, rank: number): number {
  let alpha = Number(config.lora_alpha ?? 8);
  for (const [key, value] of Object.entries(config.alpha_pattern ?? {})) {
    if (!pythonRegExp(`(.*\\.)?(${key})`).test(layer)) continue;
    alpha = Number(value);
    break;
  }
  return alpha / (config.use_rslora === true ? Math.sqrt(rank) : rank);
}

/** Inputs of {@linkcode checkMergedWeights}. */
export interface MergeToCheck {
  modelDir: string;
  adapterDir: string;
  outDir: string;
  /** How the merged weights are stored. */
  dtype?: keyof typeof TOLERANCES;
}

/**
 * Compares merged weights with the base model and the adapter's files: each adapted layer on a
 * random vector, each other tensor value by value.
 *
 * @returns the largest relative error
 * @throws {AdapterError} if it is too large, or a tensor of the adapter has no place in the model
 */
export async function checkMergedWeights(
  { modelDir, adapterDir, outDir, dtype = "F32" }: MergeToCheck,
): Promise<number> {
  const config = await readConfig(modelDir), mergedConfig = await readConfig(outDir);
  using base = await openWeights(modelDir, config);
  using merged = await openWeights(outDir, mergedConfig);
  using adapter = await SafetensorsFolder.open(adapterDir, "adapter_model");
  const settings = JSON.parse(await Deno.readTextFile(`${adapterDir}/adapter_config.json`));
  const family = familyOf(config);
  const inFile = new Map(
    adapter.names.map((name) => [name.replace(/^base_model\.model\./, ""), name]),
  );
  const take = (name: string): Floats | undefined => {
    const found = inFile.get(name);
    if (found === undefined) return undefined;
    inFile.delete(name);
    return adapter.readFloats(found);
  };
  const baseName = (name: string) =>
    config.lm_tie_weights && name === "decoder.token_embedding.weight"
      ? "decoder.head.weight"
      : name;
  let largest = 0;
  const compare = (name: string, got: ArrayLike<number>, want: ArrayLike<number>) => {
    const size = Math.sqrt(dot(want, want) / want.length) + 1e-12;
    let error = 0;
    for (let i = 0; i < want.length; i++) {
      const off = Math.abs(got[i] - want[i]) / size;
      if (!(off <= error)) error = off; // not `>`, so that NaN counts
    }
    if (!(error <= TOLERANCES[dtype])) {
      throw new AdapterError(
        `Merging ${adapterDir} into ${modelDir} went wrong: ${name} is off by ${error} of its ` +
          `size, computed from the adapter's files; do not use ${outDir}`,
      );
    }
    largest = Math.max(largest, error);
  };
  for (const { name, shape } of merged.specs) {
    const got = merged.read(name);
    const fileName = family.toFileName(name), layer = fileName.replace(/\.weight$/, "");
    const A = take(`${layer}.lora_A.weight`), B = take(`${layer}.lora_B.weight`);
    const saved = take(fileName);
    if (saved !== undefined || A === undefined || B === undefined) {
      compare(name, got.data, (saved ?? base.read(baseName(name))).data);
      continue;
    }
    const m = take(`${layer}.lora_magnitude_vector`);
    const random = new RandomStream(1, `merge ${name}`);
    const x = Float64Array.from(
      { length: elementCount(shape.slice(1)) },
      () => random.nextNormal(),
    );
    const s = scalingOf(settings, layer, A.shape[0]);
    compare(name, product(got, x), adapted(base.read(baseName(name)), { A, B, m }, s, x));
  }
  // A tied model that stays tied has the embedding under the head's name.
  if (mergedConfig.lm_tie_weights) take(family.toFileName("decoder.token_embedding.weight"));
  const [rest] = inFile.keys();
  if (rest !== undefined) {
    throw new AdapterError(
      `Merging ${adapterDir} into ${modelDir} went wrong: its tensor ${rest} has no place in the ` +
        `merged model; do not use ${outDir}`,
    );
  }
  return largest;
}
