/**
 * AdamW in place and the gradient norm on the wasm heap.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { launchOn } from "./launch.ts";
import type { KernelModule } from "./module.ts";

/** The numbers of one AdamW update. */
export interface AdamWNumbers {
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  /** From 1. */
  readonly step: number;
  /** Multiplied into the gradient first. */
  readonly gradientScale: number;
}

/**
 * Updates parameter, first and second moment in place; all four tensors have one shape.
 *
 * @returns false, with nothing done, where one of the three shares its values with another tensor
 *   (a clone, or a tensor it was assigned from that still lives)
 */
export function adamW(
  module: KernelModule,
  parameter: tf.Tensor,
  gradient: tf.Tensor,
  firstMoment: tf.Tensor,
  secondMoment: tf.Tensor,
  numbers: AdamWNumbers,
): boolean {
  const { learningRate, weightDecay, beta1, beta2, eps, step, gradientScale } = numbers;
  const { dataIdMap } = module.heap.backend;
  for (const tensor of [parameter, firstMoment, secondMoment]) {
    if (dataIdMap.get(tensor.dataId).refCount > 1) return false;
  }
  const { address } = launchOn(module);
  // deno-fmt-ignore
  module.kernel("nano_adamw")(
    parameter.size, address(parameter), address(gradient), address(firstMoment),
    address(secondMoment), 1 - learningRate * weightDecay, learningRate / (1 - beta1 ** step),
    beta1, beta2, 1 / Math.sqrt(1 - beta2 ** step), eps, gradientScale,
  );
  return true;
}

/** √Σ g² over all tensors, summed in double precision, as a scalar tensor. */
export function gradientNorm(module: KernelModule, gradients: readonly tf.Tensor[]): tf.Scalar {
  const { address } = launchOn(module);
  const kernel = module.kernel("nano_sum_squares");
  let sum = 0;
  for (const gradient of gradients) sum += kernel(gradient.size, address(gradient));
  return tf.scalar(Math.sqrt(sum));
}
