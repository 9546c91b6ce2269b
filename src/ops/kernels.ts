/**
 * The interface between ops and the kernels of a backend, and the registry in which a backend puts
 * its kernels. Ops call `fusedKernels()` of `fused_kernels.ts`, which makes sure that all backends
 * have registered.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { AttentionLayout } from "./attention/attention_layout.ts";
import type { Rotation } from "./attention/rotary_angles.ts";
import type { LinearExtras } from "./fused_linear.ts";
import type { HalfProduct, HalfSide } from "./half/half_matrix.ts";
import type { PackedFormat, PackedWeight, Weight } from "./half/packed_weight.ts";
import type { HalfFormat } from "./half/precision.ts";
import type { Gradients } from "./tape/fused_op.ts";

/** The numbers of one AdamW update. */
export interface AdamWStep {
  learningRate: number;
  weightDecay: number;
  beta1: number;
  beta2: number;
  eps: number;
  /** t, counted from 1. */
  step: number;
  /** The gradient is multiplied by it first: the clipping factor. */
  gradientScale: number;
}

/** One AdamW update. All four tensors have the same shape. */
export interface AdamWTensors {
  parameter: tf.Tensor;
  gradient: tf.Tensor;
  firstMoment: tf.Tensor;
  secondMoment: tf.Tensor;
  numbers: AdamWStep;
}

/** One update of a parameter that is on the device, with its state. */
export interface DeviceUpdate {
  readonly parameter: tf.Variable;
  /** Of the parameter's shape. */
  readonly gradient: tf.Tensor;
  /** In the order of the rule. */
  readonly states: readonly tf.Variable[];
  /** Those of the rule, by their names in the shader. */
  readonly numbers: Readonly<Record<string, number>>;
}

/** Updates whose state lies beside its values: a momentum; z and a second moment. */
export type ElementwiseRule = "lion" | "schedule_free";

/** Updates whose state is in 8 bits: codes and scales of a first, AdamW's of a second moment too. */
export type BlockRule = "lion_8bit" | "adamw_8bit";

/**
 * Updates of a backend whose tensors are not on the host. Like {@linkcode WordKernels} they stay on
 * when fused kernels are switched off.
 */
export interface UpdateKernels {
  inPlace(rule: ElementwiseRule, updates: readonly DeviceUpdate[]): void;
  inBlocks(rule: BlockRule, update: DeviceUpdate): void;
}

/** How a token is drawn; the same rules as in `src/generate/sampling_filters.ts`. */
export interface RowSampling {
  /** Take the most likely token and ignore `temperature`. */
  readonly greedy: boolean;
  /** Above 0. */
  readonly temperature: number;
  /** 0: off. */
  readonly topK: number;
  /** 0 and 1: off. */
  readonly topP: number;
  /** 0: off. */
  readonly minP: number;
  /** 1: off. */
  readonly repetitionPenalty: number;
}

/** What tokens are drawn from: S sequences, V tokens in the vocabulary. */
export interface SampledLogits {
  /** [S, V] */
  readonly logits: tf.Tensor2D;
  /** 0, or `FORBIDDEN` for a token that is never drawn, [V]. */
  readonly forbidden: tf.Tensor1D;
  /** 1 for tokens that a sequence contains, else 0; null if nothing is penalised, [S, V]. */
  readonly seen: tf.Tensor2D | null;
  /** One number of [0, 1) for each sequence. */
  readonly uniforms: readonly number[];
}

/** The drawn tokens. */
export interface DrawnRows {
  /** int32, [S] */
  readonly tokens: tf.Tensor1D;
  /**
   * Tokens, their log-probabilities under softmax(logits / temperature), and those under the filtered
   * distribution that they were drawn from (0 if greedy), [3, S].
   */
  readonly record: tf.Tensor2D;
  /** `seen` with the new tokens: the same tensor if it could be changed in place, [S, V]. */
  readonly seen: tf.Tensor2D | null;
}

/** The language-model head in a 16-bit pass whose hidden states and head are rounded already. */
export interface RoundedHead {
  /** The format that logits and their gradients are rounded to. */
  readonly format: HalfFormat;
  /** Whether the head is trained, which its rounded copy does not tell. */
  readonly headIsTrained: boolean;
}

/**
 * Conversions between float32 and 16-bit numbers. A backend that registers has all of them, and they
 * stay on when its fused kernels are switched off: WebGPU tensors cannot be read synchronously, so
 * there is no composite for them. None has a gradient.
 */
export interface WordKernels {
  /** The values of `x`, rounded to a 16-bit format, as float32. */
  roundHalf(x: tf.Tensor, format: HalfFormat): tf.Tensor;
  /** The same in 16 bits each: int32 [⌈size / 2⌉]. */
  packHalf(x: tf.Tensor, format: HalfFormat): tf.Tensor;
  /** Bytes of a tensor's values on the device, if they are not those that its type tells. */
  bytesOf?(tensor: tf.TensorInfo): number;
  /** 16-bit numbers as float32: int32 [⌈size / 2⌉] → `shape`. */
  unpack(words: tf.Tensor, format: PackedFormat, shape: readonly number[]): tf.Tensor;
}

/**
 * Kernels of a backend that rounds while it reads and stores, so that a 16-bit pass needs no
 * dispatches that only round. R is rounding to `half`.
 */
export interface RoundingKernels {
  /**
   * R(attention(R(q), R(k), R(v))), with what `rotation` names rotated before it is rounded; null if
   * `FusedKernels.attention` would return null.
   */
  attention(
    half: HalfFormat,
    q: tf.Tensor4D,
    k: tf.Tensor4D,
    v: tf.Tensor4D,
    layout: AttentionLayout | null,
    rotation?: Rotation,
  ): tf.Tensor3D | null;
  /** R(Σ R(x)): [..., C] → [C]. */
  columnSum(x: tf.Tensor, half: HalfFormat): tf.Tensor;
  /** A {@linkcode HalfProduct}, added to `sum` in place if possible. No gradient. */
  product(half: HalfFormat, product: HalfProduct, sum?: tf.Tensor): tf.Tensor;
  /** A product and R(gelu()) of its result, of the same shape. No gradient. */
  productWithGelu(half: HalfFormat, product: HalfProduct): tf.Tensor[];
  /** A product of kind `tn` and R(Σ R(A)) over the rows of A, [M]. No gradient. */
  productWithSums(half: HalfFormat, product: HalfProduct, sum?: tf.Tensor): tf.Tensor[];
  /** A product with a LoRA branch. No gradient. */
  productWithSide(half: HalfFormat, product: HalfProduct, side: HalfSide): tf.Tensor;
  /**
   * R(x), stored in 16 bits: to readers a float32 tensor like all others. x itself, with one more
   * reference, if it is stored so. No gradient.
   */
  store(x: tf.Tensor, half: HalfFormat): tf.Tensor;
  /** R(scale · R(x)), stored in 16 bits. No gradient. */
  storeScaled(x: tf.Tensor, half: HalfFormat, scale: number): tf.Tensor;
  /** R(gelu(x)). No gradient. */
  gelu(x: tf.Tensor, half: HalfFormat): tf.Tensor;
  /** {@linkcode FusedKernels.headLogProbs} in a 16-bit pass: rounds hidden, head and logits. */
  headLogProbs(
    hidden: tf.Tensor2D,
    head: Weight,
    targets: Int32Array,
    temperature: number,
    half: HalfFormat,
  ): tf.Tensor1D;
}

/**
 * The fused kernels of a backend. Shapes are those of the ops in `src/ops`. Every kernel has a
 * gradient unless it says otherwise. One that returns null does not support its arguments: the op
 * falls back to its composite. Members with `?` exist on some backends only.
 */
export interface FusedKernels {
  linear(x: tf.Tensor, weight: Weight, bias?: tf.Tensor, extras?: LinearExtras): tf.Tensor;
  gatherPackedRows(table: PackedWeight, ids: Int32Array): tf.Tensor2D | null;
  /** `gatherPackedRows` with ids that are on the device. */
  gatherPackedRowsAt?(table: PackedWeight, ids: tf.Tensor1D): tf.Tensor2D | null;
  /** [..., C] → [C]. No gradient. */
  columnSum(x: tf.Tensor): tf.Tensor;
  /** a + b of one shape. No gradient. */
  add?(a: tf.Tensor, b: tf.Tensor): tf.Tensor;
  /** sum += x in place; no other tensor may share the values of `sum`. No gradient. */
  addTo(sum: tf.Tensor, x: tf.Tensor): void;
  rmsNorm(x: tf.Tensor, weight: tf.Tensor, eps: number): tf.Tensor;
  layerNorm(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, eps: number): tf.Tensor;
  gelu(x: tf.Tensor): tf.Tensor;
  swiglu(gate: tf.Tensor, up: tf.Tensor): tf.Tensor;
  /** The gradient of `gelu` with respect to x, rounded or not. x is in 16 bits, as `keepHalf` gives it. */
  geluHalfGradient(x: tf.Tensor, dy: tf.Tensor, format: HalfFormat): tf.Tensor;
  /** R(R(silu(gate)) · up) of rounded gate and up, in a 16-bit pass. No gradient. */
  swigluHalf(gate: tf.Tensor, up: tf.Tensor, format: HalfFormat): tf.Tensor;
  /** Its gradients. `gate` and `up` are in 16 bits, as `keepHalf` gives them; dy is rounded first. */
  swigluHalfGradients(
    gate: tf.Tensor,
    up: tf.Tensor,
    dy: tf.Tensor,
    format: HalfFormat,
  ): Gradients;
  rope(x: tf.Tensor4D, cos: tf.Tensor, sin: tf.Tensor): tf.Tensor4D;
  attention(
    q: tf.Tensor4D,
    k: tf.Tensor4D,
    v: tf.Tensor4D,
    layout: AttentionLayout | null,
    rotation?: Rotation,
  ): tf.Tensor3D | null;
  headLogProbs(
    hidden: tf.Tensor2D,
    head: Weight,
    targets: Int32Array,
    temperature: number,
  ): tf.Tensor1D;
  /** `headLogProbs` in a 16-bit pass, of hidden states and a head that are rounded already. */
  roundedHeadLogProbs?(
    hidden: tf.Tensor2D,
    head: Weight,
    targets: Int32Array,
    temperature: number,
    rounded: RoundedHead,
  ): tf.Tensor1D;
  /** `format`: what logits are rounded to, if anything. No gradient. */
  headEntropy?(
    hidden: tf.Tensor2D,
    head: Weight,
    temperature: number,
    format: HalfFormat | null,
  ): tf.Tensor1D;
  gatherRows(table: tf.Tensor, ids: Int32Array): tf.Tensor2D;
  replaceRows(x: tf.Tensor2D, values: tf.Tensor2D, ids: Int32Array): tf.Tensor2D;
  patches(images: tf.Tensor4D, patchSize: number): tf.Tensor3D;
  pixelShuffle(x: tf.Tensor3D, factor: number): tf.Tensor3D;
  dropout(x: tf.Tensor, rate: number, key: number): tf.Tensor;
  /**
   * Updates in place. Returns the updates that it has not done, because another tensor shares the
   * values of one that would be written.
   */
  adamW<Update extends AdamWTensors>(updates: readonly Update[]): Update[];
  /**
   * `adamW` of one parameter whose moments are on the host; false, with nothing done, if another
   * tensor shares the parameter's values. A backend that has it wants all moments on the host.
   */
  adamWHost?(
    parameter: tf.Tensor,
    gradient: tf.Tensor,
    firstMoment: Float32Array,
    secondMoment: Float32Array,
    numbers: AdamWStep,
  ): boolean;
  gradientNorm(gradients: readonly tf.Tensor[]): tf.Scalar;
  /** No gradient. */
  sampleRows?(given: SampledLogits, sampling: RowSampling): DrawnRows | null;
  /** Present if the backend rounds while it reads and stores. */
  readonly rounding?: RoundingKernels;
}

/** What a backend registers. */
export interface BackendKernels {
  readonly words: WordKernels;
  /** Absent if tensors are on the host, where loops update them. */
  readonly updates?: UpdateKernels;
  /** null while they are switched off, to compare with the composites. */
  readonly fused: FusedKernels | null;
}

const registry = new Map<string, () => BackendKernels | null>();

/**
 * Registers the kernels of a backend.
 *
 * @param backendName as tfjs calls it
 * @param kernels called for every op; null if they are not loaded yet
 */
export function registerKernels(
  backendName: string,
  kernels: () => BackendKernels | null,
): void {
  registry.set(backendName, kernels);
}

/** What tfjs's current backend has registered; null if nothing. */
export function registeredKernels(): BackendKernels | null {
  return registry.get(tf.getBackend())?.() ?? null;
}
