/**
 * Fully connected layer, y = x Wᵀ + b, with W in PyTorch's layout [out, in]
 * (torch.nn.functional.linear).
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { wasmKernels } from "./wasm/kernels.ts";

// N rows, I input features, O output features

/**
 * The plain composite: one product and one addition of tfjs.
 *
 * @param x [..., I]
 * @param weight [O, I]
 * @param bias [O], if there is one
 * @returns [..., O]
 */
export function linearComposite(x: tf.Tensor, weight: tf.Tensor, bias?: tf.Tensor): tf.Tensor {
  const [outFeatures, inFeatures] = weight.shape;
  const rows = x.reshape([-1, inFeatures]) as tf.Tensor2D; // [N, I]
  const product = tf.matMul(rows, weight as tf.Tensor2D, false, true); // [N, O]
  const y = bias ? product.add(bias) : product; // [N, O]
  return y.reshape([...x.shape.slice(0, -1), outFeatures]); // [..., O]
}

/**
 * y = x Wᵀ + b.
 *
 * @param x [..., I]
 * @param weight [O, I]
 * @param bias [O], if there is one
 * @returns [..., O]
 */
export function linear(x: tf.Tensor, weight: tf.Tensor, bias?: tf.Tensor): tf.Tensor {
  return wasmKernels()?.linear(x, weight, bias) ?? linearComposite(x, weight, bias);
}
