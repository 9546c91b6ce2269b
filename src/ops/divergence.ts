/**
 * Divergence of two distributions over the vocabulary, one value a row of logits: what a student is
 * taught with. With p the teacher, q the student, m = β p + (1 − β) q (Agarwal et al., 2024,
 * "On-Policy Distillation of Language Models", arXiv 2306.13649, equation 1):
 *
 * - 0 < β < 1: β KL(p ‖ m) + (1 − β) KL(q ‖ m), the generalized Jensen-Shannon divergence;
 * - β = 0: KL(p ‖ q); β = 1: KL(q ‖ p), as TRL's `generalized_jsd_loss` has them. They are the limits
 *   of the above divided by β, and by 1 − β.
 *
 * The gradient by the student's logits z is q ∘ (g − Σ q g) / temperature, with g = (1 − β) log(q / m),
 * or g = log(q / p) if β = 1; it is q − p if β = 0. The teacher has no gradient.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { withGradient } from "./tape/with_gradient.ts";

// n rows, V vocabulary

/** Which divergence. */
export interface DivergenceOptions {
  /** 0 to 1: the teacher's share of the mixture. */
  readonly beta: number;
  /** Divides both logits; default 1. */
  readonly temperature?: number;
}

/** log (β p + (1 − β) q) out of log p and log q, [n, V]. */
function logMixture(teacher: tf.Tensor, student: tf.Tensor, beta: number): tf.Tensor {
  return tf.tidy(() => {
    const a = teacher.add(Math.log(beta)), b = student.add(Math.log1p(-beta));
    const largest = tf.maximum(a, b);
    // log (e^a + e^b) = largest + log (1 + e^−|a − b|)
    const rest = tf.tidy(() => a.sub(b).abs().neg().exp().log1p());
    return largest.add(rest);
  });
}

/** Σ exp(x) (x − y), [n]: KL of the distribution with logarithms x from that with y. */
function divergenceFrom(x: tf.Tensor, y: tf.Tensor): tf.Tensor1D {
  return tf.tidy(() => x.exp().mul(x.sub(y)).sum(-1) as tf.Tensor1D);
}

/**
 * Divergence of the student from the teacher.
 *
 * @param student logits, [n, V]
 * @param teacher logits, [n, V]; no gradient
 * @param options `beta` from 0 to 1
 * @returns [n], in nats; the gradient is written
 * @throws {RangeError} if shapes differ, or beta is not from 0 to 1
 *
 * @example Equal logits have none
 * ```ts ignore
 * const logits = tf.tensor2d([[1, 2, 3]]);
 * divergenceRows(logits, logits, { beta: 0.5 }).print(); // [0]
 * ```
 */
export function divergenceRows(
  student: tf.Tensor2D,
  teacher: tf.Tensor2D,
  { beta, temperature = 1 }: DivergenceOptions,
): tf.Tensor1D {
  if (!(beta >= 0 && beta <= 1)) {
    throw new RangeError(
      `Cannot compute the divergence with beta ${beta}: it is the teacher's share of a mixture; ` +
        "want a number from 0 to 1",
    );
  }
  if (student.shape.join() !== teacher.shape.join()) {
    throw new RangeError(
      `Cannot compare logits [${student.shape}] of the student with [${teacher.shape}] of the ` +
        "teacher; want the same rows and the same vocabulary",
    );
  }
  const logs = (logits: tf.Tensor) =>
    tf.tidy(() => tf.logSoftmax(temperature === 1 ? logits : logits.div(temperature))); // [n, V]
  return withGradient([student], (save) => {
    const p = logs(teacher), q = logs(student); // [n, V]
    save([student, teacher]);
    return {
      value: values(p, q, beta), // [n]
      gradient: (dy, [student, teacher]) => [
        tf.tidy(() => {
          const p = logs(teacher), q = logs(student);
          return slopes(p, q, beta).mul(dy.div(temperature).expandDims(1)); // [n, V]
        }),
      ],
    };
  });
}

/** @param p log-probabilities of the teacher, [n, V] @param q of the student */
function values(p: tf.Tensor, q: tf.Tensor, beta: number): tf.Tensor1D {
  if (beta === 0) return divergenceFrom(p, q);
  if (beta === 1) return divergenceFrom(q, p);
  const m = logMixture(p, q, beta); // [n, V]
  return divergenceFrom(p, m).mul(beta).add(divergenceFrom(q, m).mul(1 - beta)) as tf.Tensor1D;
}

/** d value / d (logits / temperature) of the student, [n, V]. */
function slopes(p: tf.Tensor, q: tf.Tensor, beta: number): tf.Tensor {
  if (beta === 0) return q.exp().sub(p.exp());
  const g = tf.tidy(() => beta === 1 ? q.sub(p) : q.sub(logMixture(p, q, beta)).mul(1 - beta)); // [n, V]
  const student = q.exp();
  const mean = tf.tidy(() => student.mul(g).sum(-1, true)); // [n, 1]
  return student.mul(g.sub(mean));
}
