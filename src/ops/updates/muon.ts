/**
 * Muon (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024), as
 * torch.optim.Muon does it: the momentum of a matrix is made orthogonal, so that every direction
 * moves at the same rate. Rates by shape: Liu et al., "Muon is scalable for LLM training", 2025,
 * arXiv 2502.16982.
 *
 * m ← μ m + (1 − μ) g; u = (1 − μ) g + μ m (Nesterov) or m; O = NewtonSchulz(u);
 * w ← w (1 − lr·decay) − lr·ratio(shape)·O.
 *
 * torch iterates in bfloat16. Here it is float32: O is nearer to what the formula says, and differs
 * from torch's by its rounding.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { changeValues, hostValues } from "./host_values.ts";
import { isOnHost, type StateArray } from "./state_array.ts";

// R rows, C columns

/** The iteration's coefficients, X ← a X + (b A + c A²) X with A = X Xᵀ, and its least norm. */
const [A, B, C] = [3.4445, -4.775, 2.0315];
const EPS = 1e-7;

/** The numbers of one update. */
export interface MuonStep {
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly momentum: number;
  readonly nesterov: boolean;
  /** Iterations. */
  readonly iterations: number;
  /** How the rate follows from the shape. */
  readonly adjustment: "original" | "match_rms_adamw";
  /** The gradient is multiplied by it first. */
  readonly gradientScale: number;
}

/** The update of one matrix. */
export interface MuonUpdate {
  /** [R, C] */
  readonly parameter: tf.Variable;
  /** [R, C] */
  readonly gradient: tf.Tensor;
  /** [R, C] */
  readonly momentum: StateArray;
  readonly numbers: MuonStep;
}

/**
 * What the rate is multiplied by: √max(1, R/C) (Jordan), or 0.2 √max(R, C), with which an update is as
 * large as AdamW's, and AdamW's rates serve (Liu et al., section 2.2).
 */
export function shapeRatio(
  adjustment: MuonStep["adjustment"],
  [rows, columns]: readonly number[],
): number {
  return adjustment === "original"
    ? Math.sqrt(Math.max(1, rows / columns))
    : 0.2 * Math.sqrt(Math.max(rows, columns));
}

/**
 * A matrix with the same singular vectors, and singular values near 1.
 *
 * @param matrix [R, C]
 * @returns [R, C]
 */
export function newtonSchulz(matrix: tf.Tensor2D, iterations: number): tf.Tensor2D {
  return tf.tidy(() => {
    const tall = matrix.shape[0] > matrix.shape[1];
    let x = tall ? matrix.transpose() as tf.Tensor2D : matrix;
    x = x.div(x.square().sum().sqrt().maximum(EPS));
    for (let i = 0; i < iterations; i++) {
      const gram = tf.matMul(x, x, false, true);
      const polynomial = gram.mul(B).add(tf.matMul(gram, gram).mul(C)) as tf.Tensor2D;
      x = x.mul(A).add(tf.matMul(polynomial, x));
    }
    return tall ? x.transpose() as tf.Tensor2D : x;
  });
}

/** Updates matrices and momenta in place. */
export function muon(updates: readonly MuonUpdate[]): void {
  for (const { parameter, gradient, momentum: buffer, numbers } of updates) {
    const { momentum, nesterov, gradientScale, iterations, learningRate, weightDecay } = numbers;
    const direction = tf.tidy(() =>
      newtonSchulz(
        isOnHost(buffer)
          ? tf.tensor2d(
            directionValues(hostValues(gradient), buffer as Float32Array, numbers),
            parameter.shape as [number, number],
          )
          : directionOnDevice(gradient, buffer, { momentum, nesterov, gradientScale }),
        iterations,
      )
    );
    const keep = 1 - learningRate * weightDecay;
    const rate = learningRate * shapeRatio(numbers.adjustment, parameter.shape);
    if (isOnHost(buffer)) {
      changeValues(parameter, (w) => {
        const o = hostValues(direction);
        for (let i = 0; i < w.length; i++) w[i] = w[i] * keep - rate * o[i];
      });
    } else tf.tidy(() => parameter.assign(parameter.mul(keep).sub(direction.mul(rate))));
    direction.dispose();
  }
}

type MomentumNumbers = Pick<MuonStep, "momentum" | "nesterov" | "gradientScale">;

/** Moves the momentum, on the host; gives what is made orthogonal. */
function directionValues(
  g: Float32Array,
  buffer: Float32Array,
  { momentum, nesterov, gradientScale }: MomentumNumbers,
): Float32Array {
  const direction = new Float32Array(buffer.length);
  for (let i = 0; i < buffer.length; i++) {
    const gradient = g[i] * gradientScale;
    const moved = buffer[i] = buffer[i] + (1 - momentum) * (gradient - buffer[i]);
    direction[i] = nesterov ? gradient + momentum * (moved - gradient) : moved;
  }
  return direction;
}

/** The same on the device. */
function directionOnDevice(
  gradient: tf.Tensor,
  buffer: tf.Variable,
  { momentum, nesterov, gradientScale }: MomentumNumbers,
): tf.Tensor2D {
  const g = gradientScale === 1 ? gradient : gradient.mul(gradientScale);
  buffer.assign(buffer.add(tf.sub(g, buffer).mul(1 - momentum)));
  return (nesterov ? g.add(tf.sub(buffer, g).mul(momentum)) : buffer) as tf.Tensor2D;
}
