/**
 * The global L2 norm of all gradients (torch.nn.utils.clip_grad_norm_).
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { fusedKernels } from "./fused_kernels.ts";

/**
 * √Σ g², over all tensors, left on the device.
 *
 * @param gradients any shapes, at least one
 * @returns scalar
 */
export function gradientNorm(gradients: tf.Tensor[]): tf.Scalar {
  return fusedKernels()?.gradientNorm(gradients) ?? gradientNormComposite(gradients);
}

/** The plain composite of {@linkcode gradientNorm}. */
export function gradientNormComposite(gradients: tf.Tensor[]): tf.Scalar {
  return tf.tidy(() => {
    const sums = gradients.map((gradient) => gradient.square().sum());
    return tf.stack(sums).sum().sqrt() as tf.Scalar;
  });
}
