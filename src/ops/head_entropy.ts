/**
 * Entropies of the distributions that the language-model head gives: no gradient, and where a kernel
 * does it no [N, V] tensor.
 *
 * H = log Σ exp z − Σ p z with z = h Wᵀ / temperature and p = softmax(z).
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { roundWeight } from "./half/half_product.ts";
import { linear } from "./linear.ts";
import type { Weight } from "./half/packed_weight.ts";
import { halfFormat } from "./half/precision.ts";
import { roundHalf } from "./half/round_half.ts";
import { fusedKernels } from "./fused_kernels.ts";

// N rows, C channels, V vocabulary, n rows of a chunk

/** Largest chunk of logits of the composite: 64 MiB. */
const CHUNK_BYTES = 64 * 2 ** 20;

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
  const step = Math.max(1, Math.floor(CHUNK_BYTES / (4 * head.shape[0])));
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
