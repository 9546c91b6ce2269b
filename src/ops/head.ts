/**
 * The language-model head: log-probabilities of given tokens, and entropies. Both work on chunks of
 * rows, so that no [N, V] tensor exists, forward or backward.
 *
 * With z = h Wᵀ / temperature and p = softmax(z):
 * log p(target) = z_target − log Σ exp z, and H = log Σ exp z − Σ p z.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { valueAndGradients } from "./tape/backward.ts";
import { wantsGradient } from "./tape/fused_op.ts";
import { roundWeight } from "./half/half_product.ts";
import { PackedWeight, type Weight } from "./half/packed_weight.ts";
import { type HalfFormat, halfFormat } from "./half/precision.ts";
import { castHalf, roundHalf } from "./half/round_half.ts";
import { unpackWeight } from "./half/unpack_weight.ts";
import { withGradient } from "./tape/with_gradient.ts";
import { fusedKernels } from "./fused_kernels.ts";
import type { RoundedHead } from "./kernels.ts";
import { linear } from "./linear.ts";

// N rows, C channels, V vocabulary, n rows of a chunk

/** Largest size of a chunk of logits in the composite: 64 MiB. */
const CHUNK_BYTES = 64 * 2 ** 20;

/** Logits of a chunk, [n, V]. */
function chunkLogits(
  hidden: tf.Tensor2D,
  head: tf.Tensor2D,
  start: number,
  rows: number,
  temperature: number,
  format?: HalfFormat,
): tf.Tensor2D {
  const chunk = hidden.slice([start, 0], [rows, -1]); // [n, C]
  const product: tf.Tensor2D = tf.matMul(chunk, head, false, true); // [n, V]
  const logits = format ? roundHalf(product, format) : product; // [n, V]
  return temperature === 1 ? logits : logits.div<tf.Tensor2D>(temperature);
}

function chunkRows(vocabulary: number): number {
  return Math.max(1, Math.floor(CHUNK_BYTES / (4 * vocabulary)));
}

/**
 * The plain composite of {@linkcode headLogProbs}, with a gradient of its own that computes the
 * logits of each chunk again.
 *
 * @param hidden [N, C], after the final norm
 * @param head [V, C]
 * @param targets [N], each in 0 … V − 1
 * @param temperature divides the logits
 * @param rounded in a 16-bit pass, with hidden and head rounded already
 * @returns [N]
 */
export function headLogProbsComposite(
  hidden: tf.Tensor2D,
  head: tf.Tensor2D,
  targets: Int32Array,
  temperature = 1,
  rounded?: RoundedHead,
): tf.Tensor1D {
  const N = targets.length;
  const V = head.shape[0];
  const step = chunkRows(V);
  const trainsHead = rounded?.headIsTrained ?? wantsGradient(head);
  return withGradient([hidden, head], (save) => {
    const logProbs: tf.Tensor[] = [];
    const normalisers: tf.Tensor[] = [];
    for (let start = 0; start < N; start += step) {
      const rows = Math.min(step, N - start);
      const [picked, normaliser] = tf.tidy(() => {
        const logits = chunkLogits(hidden, head, start, rows, temperature, rounded?.format); // [n, V]
        const ids = tf.tensor1d(targets.subarray(start, start + rows), "int32");
        const normaliser = tf.logSumExp(logits, -1); // [n]
        return [logits.mul(tf.oneHot(ids, V)).sum(-1), normaliser]; // [n], [n]
      });
      logProbs.push(picked.sub(normaliser));
      normalisers.push(normaliser);
    }
    const normaliser = tf.concat(normalisers); // [N]
    save([hidden, head, normaliser]);
    return {
      value: tf.concat(logProbs), // [N]
      gradient: (dy, [hidden, head, normaliser]) => {
        const dHidden: tf.Tensor[] = [];
        let dHead: tf.Tensor | null = null;
        for (let start = 0; start < N; start += step) {
          const rows = Math.min(step, N - start);
          const [dChunk, dWeight] = tf.tidy(() => {
            const logits = chunkLogits(
              hidden as tf.Tensor2D,
              head as tf.Tensor2D,
              start,
              rows,
              temperature,
              rounded?.format,
            );
            const ids = tf.tensor1d(targets.subarray(start, start + rows), "int32");
            const probabilities = logits.sub(normaliser.slice(start, rows).expandDims(1)).exp();
            const scale = dy.slice(start, rows).expandDims(1).div(temperature); // [n, 1]
            const slopes = tf.oneHot(ids, V).sub(probabilities).mul(scale) as tf.Tensor2D; // [n, V]
            const dLogits = rounded ? roundHalf(slopes, rounded.format) : slopes; // [n, V]
            const chunk = hidden.slice([start, 0], [rows, -1]) as tf.Tensor2D; // [n, C]
            const dChunk = tf.matMul(dLogits, head as tf.Tensor2D); // [n, C]
            return trainsHead ? [dChunk, tf.matMul(dLogits, chunk, true, false)] : [dChunk]; // [V, C]
          });
          dHidden.push(dChunk);
          if (dHead === null || dWeight === undefined) dHead = dWeight ?? null;
          else {
            const sum: tf.Tensor = dHead.add(dWeight);
            dHead.dispose();
            dWeight.dispose();
            dHead = sum;
          }
        }
        // tfjs wants a gradient for each input; that of a frozen head is never read.
        return [tf.concat(dHidden), dHead ?? tf.scalar(0)];
      },
    };
  });
}

/** Runs `use` on a packed head as a frozen variable, which is freed afterwards. */
function withUnpackedHead<T>(head: PackedWeight, use: (head: tf.Tensor2D) => T): T {
  const values = tf.tidy(() => tf.variable(unpackWeight(head), false));
  try {
    return use(values as unknown as tf.Tensor2D);
  } finally {
    values.dispose();
  }
}

/** The plain composite of {@linkcode headLogProbs} for a packed head: widened, and widened again. */
export function packedHeadLogProbsComposite(
  hidden: tf.Tensor2D,
  head: PackedWeight,
  targets: Int32Array,
  temperature = 1,
): tf.Tensor1D {
  return withGradient([hidden], (save) => {
    save([hidden]);
    return {
      value: withUnpackedHead(head, (table) => headLogProbs(hidden, table, targets, temperature)),
      gradient: (dy, [hidden]) =>
        withUnpackedHead(head, (table) => {
          const { value, gradients } = valueAndGradients(
            () => headLogProbs(hidden as tf.Tensor2D, table, targets, temperature),
            [hidden],
            dy,
          );
          value.dispose();
          return [gradients[0]!]; // [N, C]
        }),
    };
  });
}

/** {@linkcode headLogProbs} in a 16-bit pass: hidden, head, logits and their gradients rounded. */
function halfHeadLogProbs(
  format: HalfFormat,
  hidden: tf.Tensor2D,
  head: Weight,
  targets: Int32Array,
  temperature: number,
): tf.Tensor1D {
  const kernels = fusedKernels();
  if (kernels?.rounding !== undefined) {
    return kernels.rounding.headLogProbs(hidden, head, targets, temperature, format);
  }
  const trained = !(head instanceof PackedWeight) && wantsGradient(head);
  const rounded: RoundedHead = { format, headIsTrained: trained };
  const h = castHalf(hidden, format);
  const W = trained ? castHalf(head as tf.Tensor2D, format) : roundWeight(head, format);
  if (kernels?.roundedHeadLogProbs !== undefined) {
    return kernels.roundedHeadLogProbs(h, W, targets, temperature, rounded);
  }
  const wide = W instanceof PackedWeight ? unpackWeight(W) : W;
  return headLogProbsComposite(h, wide as tf.Tensor2D, targets, temperature, rounded);
}

/**
 * Log-probabilities of the target tokens under the language-model head.
 *
 * @param hidden [N, C], after the final norm; at least one row
 * @param head [V, C]; a packed one has no gradient
 * @param targets [N], each in 0 … V − 1
 * @param temperature divides the logits
 * @returns [N], in nats
 */
export function headLogProbs(
  hidden: tf.Tensor2D,
  head: Weight,
  targets: Int32Array,
  temperature = 1,
): tf.Tensor1D {
  const format = halfFormat();
  if (format !== null) return halfHeadLogProbs(format, hidden, head, targets, temperature);
  if (head instanceof PackedWeight) {
    return fusedKernels()?.headLogProbs(hidden, head, targets, temperature) ??
      packedHeadLogProbsComposite(hidden, head, targets, temperature);
  }
  return fusedKernels()?.headLogProbs(hidden, head as tf.Tensor2D, targets, temperature) ??
    headLogProbsComposite(hidden, head as tf.Tensor2D, targets, temperature);
}

// N rows, C channels, V vocabulary, n rows of a chunk

/**
 * The plain composite of {@linkcode headEntropy}, a chunk of rows at a time.
 *
 * @param hidden [N, C]
 * @param head [V, C]
 * @returns [N]
 */
export function headEntropyComposite(
  hidden: tf.Tensor2D,
  head: Weight,
  temperature = 1,
): tf.Tensor1D {
  const [N] = hidden.shape;
  const step = chunkRows(head.shape[0]);
  return tf.tidy(() => {
    const parts: tf.Tensor1D[] = [];
    for (let first = 0; first < N; first += step) {
      parts.push(tf.tidy(() => {
        const chunk = hidden.slice([first, 0], [Math.min(step, N - first), -1]); // [n, C]
        const logits = linear(chunk, head).div(temperature); // [n, V]
        const shifted = logits.sub(logits.max(1, true)); // [n, V]
        const weights = shifted.exp(); // [n, V]
        const total = weights.sum(1); // [n]
        return total.log().sub(weights.mul(shifted).sum(1).div(total)) as tf.Tensor1D; // [n]
      }));
    }
    return parts.length === 0 ? tf.zeros([0]) : tf.concat(parts) as tf.Tensor1D;
  });
}

/**
 * Entropies of the next token's distribution. In a 16-bit pass hidden, head and logits are rounded
 * as those of `headLogProbs` are.
 *
 * @param hidden [N, C], after the final norm
 * @param head [V, C], packed or not
 * @param temperature divides the logits
 * @returns [N], in nats
 */
export function headEntropy(hidden: tf.Tensor2D, head: Weight, temperature = 1): tf.Tensor1D {
  const entropy = fusedKernels()?.headEntropy;
  if (entropy === undefined) return headEntropyComposite(hidden, head, temperature);
  const format = halfFormat();
  if (format === null) return entropy(hidden, head, temperature, null);
  return tf.tidy(() =>
    entropy(roundHalf(hidden, format), roundWeight(head, format), temperature, format)
  );
}
