/**
 * The fused ops with their composites, on tensors of a training step's shapes.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { attention, attentionComposite } from "../ops/attention/attention.ts";
import { AttentionLayout } from "../ops/attention/attention_layout.ts";
import {
  dropout,
  dropoutComposite,
  gelu,
  geluComposite,
  swiglu,
  swigluComposite,
} from "../ops/activations.ts";
import {
  embedding,
  embeddingComposite,
  replaceRows,
  replaceRowsComposite,
} from "../ops/row_ops.ts";
import { gradientNorm, gradientNormComposite } from "../ops/optimizer.ts";
import {
  headEntropy,
  headEntropyComposite,
  headLogProbs,
  headLogProbsComposite,
} from "../ops/head.ts";
import { layerNorm, layerNormComposite, rmsNorm, rmsNormComposite } from "../ops/norms.ts";
import { linear, linearComposite } from "../ops/linear.ts";
import {
  patches,
  patchesComposite,
  pixelShuffle,
  pixelShuffleComposite,
  rope,
  ropeComposite,
} from "../ops/layouts.ts";
import { type RotaryAngles, rotaryAngles } from "../ops/attention/rotary_angles.ts";
import { type RowSampling, sampleRows, sampleRowsComposite } from "../ops/sampling.ts";
import type { BenchDims } from "./bench_work.ts";
import { halfOpCases } from "./half_op_cases.ts";
import type { OpCase } from "./op_case.ts";

// B rows, T tokens, N all tokens, P patches, C channels, I inner channels, H heads, D head dim

const normal = (shape: number[]) => tf.randomNormal(shape, 0, 1, "float32", 7);

/** Attention with `layout`, or of every query to every key, rotated by `angles`. */
function attentionCase(
  name: string,
  [B, T, H, K, D]: readonly [number, number, number, number, number],
  layout: AttentionLayout | null,
  angles?: RotaryAngles,
): OpCase {
  type Heads = [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
  const rotation = angles && { angles, keys: true };
  return {
    name,
    shape: `${B}×${T}, ${H}/${K} heads of ${D}`,
    inputs: () => [normal([B, T, H, D]), normal([B, T, K, D]), normal([B, T, K, D])],
    fused: (inputs) => attention(...(inputs as Heads), layout, rotation),
    composite: (inputs) => attentionComposite(...(inputs as Heads), layout, rotation),
    flops: 4 * B * H * T * T * D / (layout === null ? 1 : 2),
    differentiable: true,
    dispose: () => layout?.dispose(),
  };
}

function linearCase(name: string, N: number, I: number, O: number): OpCase {
  return {
    name,
    shape: `${N}×${I} → ${O}`,
    inputs: () => [normal([N, I]), normal([O, I]), normal([O])],
    fused: ([x, w, b]) => linear(x, w, b),
    composite: ([x, w, b]) => linearComposite(x, w, b),
    flops: 2 * N * I * O,
    differentiable: true,
  };
}

function linearGeluCase(name: string, N: number, I: number, O: number): OpCase {
  return {
    ...linearCase(name, N, I, O),
    fused: ([x, w, b]) => linear(x, w, b, { gelu: true }),
    composite: ([x, w, b]) => geluComposite(linearComposite(x, w, b)),
  };
}

/** With LoRA's side branch of rank r; the layer's own weight is frozen. */
function loraCase(name: string, [N, I, O, r]: [number, number, number, number]): OpCase {
  const weight = normal([O, I]);
  const frozen = tf.tidy(() => tf.variable(weight, false));
  weight.dispose();
  return {
    name,
    shape: `${N}×${I} → ${O}, r ${r}`,
    inputs: () => [normal([N, I]), normal([r, I]), normal([O, r])],
    fused: ([x, loraA, loraB]) =>
      linear(x, frozen, undefined, { branch: { loraA, loraB, scaling: 2 } }),
    composite: ([x, loraA, loraB]) =>
      linearComposite(x, frozen).add(linearComposite(linearComposite(x, loraA), loraB).mul(2)),
    flops: 2 * N * (I * O + r * (I + O)),
    differentiable: true,
    dispose: () => frozen.dispose(),
  };
}

/** Rows of logits that tokens are drawn from. */
const SAMPLED = 8;

/** What a sampler tells of its draws, [3, S]. */
function sampled(
  sample: typeof sampleRows,
  logits: tf.Tensor,
  forbidden: tf.Tensor1D,
  uniforms: readonly number[],
  sampling: RowSampling,
): tf.Tensor {
  const given = { logits: logits as tf.Tensor2D, forbidden, seen: null, uniforms };
  const { tokens, record } = sample(given, sampling);
  tokens.dispose();
  return record;
}

/** Drawing tokens, which other backends do on the host. */
function samplingCase(V: number): OpCase {
  const forbidden = tf.zeros([V]) as tf.Tensor1D;
  const sampling = {
    ...{ greedy: false, temperature: 0.9, topK: 0, topP: 0.95, minP: 0, repetitionPenalty: 1 },
  };
  const uniforms = Array.from({ length: SAMPLED }, (_, i) => (i + 0.5) / SAMPLED);
  return {
    name: "sampleRows, top-p",
    shape: `${SAMPLED}×${V}`,
    inputs: () => [normal([SAMPLED, V])],
    fused: ([logits]) => sampled(sampleRows, logits, forbidden, uniforms, sampling),
    composite: ([logits]) => sampled(sampleRowsComposite, logits, forbidden, uniforms, sampling),
    flops: null,
    bytes: 4 * SAMPLED * V,
    differentiable: false,
    dispose: () => forbidden.dispose(),
  };
}

/** The ops of a training step of the model, and of generation. */
export function opCases({ config, rows: B, tokens: T }: BenchDims): OpCase[] {
  const {
    vit_hidden_dim: Cv,
    vit_inter_dim: Iv,
    vit_n_heads: Hv,
    lm_hidden_dim: C,
    lm_inter_dim: I,
    lm_n_heads: H,
    lm_n_kv_heads: K,
    lm_vocab_size: V,
  } = config;
  const N = B * T;
  const S = config.vit_img_size;
  const P = (config.vit_img_size / config.vit_patch_size) ** 2;
  const D = C / H;
  const ids = Int32Array.from({ length: N }, (_, i) => (i * 7919) % V);
  const positions = Int32Array.from({ length: N }, (_, i) => i % T);
  const angles = rotaryAngles(positions, B, {
    headDim: D,
    base: config.lm_re_base,
    maxPositions: config.lm_max_position_embeddings,
    attentionScaling: config.lm_attn_scaling,
  });
  /** An op whose cost is moving so many floats. */
  const plain = (floats: number) => ({ flops: null, bytes: 4 * floats, differentiable: true });
  const pictureRows = Int32Array.from({ length: Math.floor(N / 2) }, (_, i) => 2 * i);
  const causal = AttentionLayout.causal(new Int32Array(B), T);
  return [
    linearCase("linear (ViT)", B * P, Cv, Iv),
    linearCase("linear (decoder)", N, C, I),
    linearGeluCase("linear, GELU (ViT)", B * P, Cv, Iv),
    loraCase("linear, LoRA (decoder)", [N, C, I, 16]),
    attentionCase("attention (ViT)", [B, P, Hv, Hv, Cv / Hv], null),
    attentionCase("attention, RoPE (decoder)", [B, T, H, K, D], causal, angles),
    {
      ...plain(2 * B * P * Cv),
      name: "layerNorm",
      shape: `${B * P}×${Cv}`,
      inputs: () => [normal([B * P, Cv]), normal([Cv]), normal([Cv])],
      fused: ([x, w, b]) => layerNorm(x, w, b, 1e-6),
      composite: ([x, w, b]) => layerNormComposite(x, w, b, 1e-6),
    },
    {
      ...plain(2 * N * C),
      name: "rmsNorm",
      shape: `${N}×${C}`,
      inputs: () => [normal([N, C]), normal([C])],
      fused: ([x, w]) => rmsNorm(x, w, 1e-5),
      composite: ([x, w]) => rmsNormComposite(x, w, 1e-5),
    },
    {
      ...plain(2 * B * P * Iv),
      name: "gelu",
      shape: `${B * P}×${Iv}`,
      inputs: () => [normal([B * P, Iv])],
      fused: ([x]) => gelu(x),
      composite: ([x]) => geluComposite(x),
    },
    {
      ...plain(3 * N * I),
      name: "swiglu",
      shape: `${N}×${I}`,
      inputs: () => [normal([N, I]), normal([N, I])],
      fused: ([gate, up]) => swiglu(gate, up),
      composite: ([gate, up]) => swigluComposite(gate, up),
    },
    {
      ...plain(2 * N * C),
      name: "rope",
      shape: `${B}×${T}, ${H} heads of ${D}`,
      inputs: () => [normal([B, T, H, D])],
      fused: ([x]) => rope(x as tf.Tensor4D, angles),
      composite: ([x]) => ropeComposite(x as tf.Tensor4D, angles),
      dispose: () => tf.dispose([angles.cos, angles.sin]),
    },
    {
      ...plain(2 * N * C),
      name: "embedding",
      shape: `${N} of ${V}×${C}`,
      inputs: () => [normal([V, C])],
      fused: ([table]) => embedding(table, ids),
      composite: ([table]) => embeddingComposite(table, ids),
    },
    {
      ...plain(2 * B * P * Cv),
      name: "pixelShuffle",
      shape: `${B}×${P}×${Cv}`,
      inputs: () => [normal([B, P, Cv])],
      fused: ([x]) => pixelShuffle(x as tf.Tensor3D, config.mp_pixel_shuffle_factor),
      composite: ([x]) => pixelShuffleComposite(x as tf.Tensor3D, config.mp_pixel_shuffle_factor),
    },
    {
      ...plain(6 * B * S * S),
      name: "patches",
      shape: `${B}×3×${S}×${S}`,
      inputs: () => [normal([B, 3, S, S])],
      fused: ([x]) => patches(x as tf.Tensor4D, config.vit_patch_size),
      composite: ([x]) => patchesComposite(x as tf.Tensor4D, config.vit_patch_size),
    },
    {
      ...plain(2 * N * C),
      name: "dropout",
      shape: `${N}×${C}`,
      inputs: () => [normal([N, C])],
      fused: ([x]) => dropout(x, 0.1, 12345),
      composite: ([x]) => dropoutComposite(x, 0.1, 12345),
    },
    {
      ...plain(2 * N * C),
      name: "replaceRows",
      shape: `${pictureRows.length} of ${N}×${C}`,
      inputs: () => [normal([N, C]), normal([pictureRows.length, C])],
      fused: ([x, rows]) => replaceRows(x as tf.Tensor2D, rows as tf.Tensor2D, pictureRows),
      composite: ([x, rows]) =>
        replaceRowsComposite(x as tf.Tensor2D, rows as tf.Tensor2D, pictureRows),
    },
    {
      name: "headEntropy",
      shape: `${N}×${C} → ${V}`,
      inputs: () => [normal([N, C]), normal([V, C]).mul(0.02)],
      fused: ([x, w]) => headEntropy(x as tf.Tensor2D, w),
      composite: ([x, w]) => headEntropyComposite(x as tf.Tensor2D, w as tf.Tensor2D),
      flops: 2 * N * C * V,
      differentiable: false,
    },
    {
      name: "headLogProbs",
      shape: `${N}×${C} → ${V}`,
      inputs: () => [normal([N, C]), normal([V, C]).mul(0.02)],
      fused: ([x, w]) => headLogProbs(x as tf.Tensor2D, w as tf.Tensor2D, ids),
      composite: ([x, w]) => headLogProbsComposite(x as tf.Tensor2D, w as tf.Tensor2D, ids),
      flops: 2 * N * C * V,
      differentiable: true,
    },
    {
      name: "gradientNorm",
      shape: `${8}×${I * C}`,
      inputs: () => Array.from({ length: 8 }, () => normal([I, C])),
      fused: (gradients) => gradientNorm(gradients),
      composite: (gradients) => gradientNormComposite(gradients),
      flops: null,
      bytes: 32 * I * C,
      differentiable: false,
    },
    ...tf.getBackend() === "webgpu" ? [samplingCase(V)] : [],
    ...halfOpCases({ rows: N, channels: C, inner: I, vocabulary: V }),
  ];
}
