/**
 * The angles by which rotary position embedding (`../layouts.ts`) rotates queries and keys.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";

// B batch, T tokens, D head dim

/** Cosines and sines of a batch's positions, multiplied by the attention scaling already. */
export interface RotaryAngles {
  /** [B, T, 1, D/2] */
  cos: tf.Tensor4D;
  /** [B, T, 1, D/2] */
  sin: tf.Tensor4D;
}

/** How attention rotates queries and keys as it reads them. */
export interface Rotation {
  /** Of the queries' positions. */
  readonly angles: RotaryAngles;
  /** Whether it rotates the keys too, which then have the same positions; cached keys are rotated already. */
  readonly keys: boolean;
}

/** The constants of a model that {@linkcode rotaryAngles} needs. */
export interface RotaryOptions {
  /** D, even. */
  headDim: number;
  /** `lm_re_base`. */
  base: number;
  /** `lm_max_position_embeddings`: beyond it all frequencies are divided by length / maximum. */
  maxPositions: number;
  /** `lm_attn_scaling`, multiplied into cos and sin. */
  attentionScaling: number;
}

/**
 * The angles of a chunk of positions, as nanoVLM's RotaryEmbedding computes them: float32, and
 * if the largest position of the chunk exceeds `maxPositions`, divided by the ratio.
 *
 * @param positions [B·T], row by row
 * @param batch B
 * @param options the model's constants
 */
export function rotaryAngles(
  positions: Int32Array,
  batch: number,
  options: RotaryOptions,
): RotaryAngles {
  const half = options.headDim / 2;
  const tokens = positions.length / batch;
  let largest = 0;
  for (const position of positions) if (position > largest) largest = position;
  const length = largest + 1;
  const scale = length > options.maxPositions ? Math.fround(length / options.maxPositions) : 1;
  const table = tableOf(length, scale, options);
  const cos = new Float32Array(positions.length * half);
  const sin = new Float32Array(positions.length * half);
  positions.forEach((position, t) => {
    const from = position * half;
    for (let i = 0; i < half; i++) {
      cos[t * half + i] = table.cos[from + i];
      sin[t * half + i] = table.sin[from + i];
    }
  });
  const shape: [number, number, number, number] = [batch, tokens, 1, half];
  return { cos: tf.tensor4d(cos, shape), sin: tf.tensor4d(sin, shape) };
}

/** Cosines and sines by position, [positions, D/2]. */
interface AngleTable {
  readonly key: string;
  readonly positions: number;
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/** Batches of a run have the same positions again and again: the last table is kept. */
let lastTable: AngleTable | null = null;

/**
 * @param positions how many the table must have
 * @param scale what frequencies are divided by
 */
function tableOf(positions: number, scale: number, options: RotaryOptions): AngleTable {
  const { headDim, base, attentionScaling } = options;
  const key = `${headDim} ${base} ${attentionScaling} ${scale}`;
  if (lastTable?.key === key && lastTable.positions >= positions) return lastTable;
  const half = headDim / 2;
  const frequencies = new Float32Array(half);
  for (let i = 0; i < half; i++) {
    const exponent = Math.fround((2 * i) / headDim);
    const inverse = Math.fround(1 / Math.fround(Math.pow(base, exponent)));
    frequencies[i] = scale === 1 ? inverse : Math.fround(inverse / scale);
  }
  // Room to grow, as decoding asks for one position more each time.
  const rows = Math.max(64, 2 ** Math.ceil(Math.log2(positions)));
  const cos = new Float32Array(rows * half);
  const sin = new Float32Array(rows * half);
  for (let position = 0; position < rows; position++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * frequencies[i]);
      cos[position * half + i] = Math.fround(Math.cos(angle)) * attentionScaling;
      sin[position * half + i] = Math.fround(Math.sin(angle)) * attentionScaling;
    }
  }
  lastTable = { key, positions: rows, cos, sin };
  return lastTable;
}
