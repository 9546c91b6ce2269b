/**
 * Values of the next token's distribution with a gradient, one a row: for terms of a loss that need
 * all logits. Chunks of rows are computed one after the other, forward and backward, so that no
 * [N, V] tensor exists.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { type DivergenceOptions, divergenceRows } from "./divergence.ts";
import { PackedWeight, type Weight } from "./half/packed_weight.ts";
import { linear } from "./linear.ts";
import { valueAndGradients } from "./tape/backward.ts";
import { wantsGradient } from "./tape/fused_op.ts";
import { withGradient } from "./tape/with_gradient.ts";

// N rows, C channels, V vocabulary, n rows of a chunk

/** Largest size of a chunk of logits: 64 MiB. */
const CHUNK_BYTES = 64 * 2 ** 20;

/** A value a row of logits, [n, V] → [n], made of ops that have gradients. */
export type RowFunction = (logits: tf.Tensor2D, first: number) => tf.Tensor1D;

/**
 * A function of each row's logits.
 *
 * @param hidden [N, C], after the final norm; at least one row
 * @param head [V, C]; a packed one has no gradient
 * @param of computes the values of a chunk; `first` is the number of its first row
 * @returns [N]; the gradient is written
 */
export function headRows(hidden: tf.Tensor2D, head: Weight, of: RowFunction): tf.Tensor1D {
  const [N] = hidden.shape;
  const step = Math.max(1, Math.floor(CHUNK_BYTES / (4 * head.shape[0])));
  const trained = head instanceof PackedWeight || !wantsGradient(head) ? null : head as tf.Tensor2D;
  const chunkOf = (states: tf.Tensor, first: number) =>
    states.slice([first, 0], [Math.min(step, N - first), -1]) as tf.Tensor2D; // [n, C]
  const values = (chunk: tf.Tensor2D, weight: Weight, first: number) =>
    of(linear(chunk, weight) as tf.Tensor2D, first); // [n]
  return withGradient(trained === null ? [hidden] : [hidden, trained], (save) => {
    const parts: tf.Tensor1D[] = [];
    for (let first = 0; first < N; first += step) {
      parts.push(tf.tidy(() => values(chunkOf(hidden, first), head, first)));
    }
    save(trained === null ? [hidden] : [hidden, trained]);
    return {
      value: tf.concat(parts), // [N]
      gradient: (dy, [states, weight]) => {
        const dStates: tf.Tensor[] = [];
        let dWeight: tf.Tensor | null = null;
        for (let first = 0; first < N; first += step) {
          const chunk = chunkOf(states, first);
          const own = dy.slice([first], [chunk.shape[0]]);
          const inputs = trained === null ? [chunk] : [chunk, weight];
          const { value, gradients } = valueAndGradients(
            () => values(chunk, trained === null ? head : weight as tf.Tensor2D, first),
            inputs,
            own,
          );
          tf.dispose([value, chunk, own]);
          dStates.push(gradients[0]!);
          if (trained === null) continue;
          const sum: tf.Tensor = dWeight === null ? gradients[1]! : dWeight.add(gradients[1]!);
          if (dWeight !== null) tf.dispose([dWeight, gradients[1]!]);
          dWeight = sum;
        }
        const all = tf.concat(dStates); // [N, C]
        tf.dispose(dStates);
        return dWeight === null ? [all] : [all, dWeight];
      },
    };
  });
}

/**
 * Entropies with a gradient: H = −Σ p log p, in nats.
 *
 * @param temperature divides the logits
 * @returns [N]
 */
export function headEntropyRows(hidden: tf.Tensor2D, head: Weight, temperature = 1): tf.Tensor1D {
  return headRows(hidden, head, (logits) => {
    const logProbs = tf.logSoftmax(logits.div(temperature)); // [n, V]
    return logProbs.exp().mul(logProbs).sum(-1).neg() as tf.Tensor1D;
  });
}

/**
 * Divergences of the next token's distribution from that of a teacher, with a gradient.
 *
 * @param teacher gives the teacher's logits of `rows` rows from `first` on, [rows, V]; called again in
 *   the backward pass
 * @param options which divergence
 * @returns [N], in nats
 */
export function headDivergenceRows(
  hidden: tf.Tensor2D,
  head: Weight,
  teacher: (first: number, rows: number) => tf.Tensor2D,
  options: DivergenceOptions,
): tf.Tensor1D {
  return headRows(
    hidden,
    head,
    (logits, first) => divergenceRows(logits, teacher(first, logits.shape[0]), options),
  );
}
