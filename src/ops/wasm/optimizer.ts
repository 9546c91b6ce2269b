/**
 * AdamW in place and the gradient norm on the wasm heap.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { AdamWStep, AdamWTensors } from "../kernels.ts";
import { launchOn } from "./runtime/launch.ts";
import type { KernelModule } from "./runtime/kernel_module.ts";
import { runRange } from "./runtime/parts.ts";

/** Whether no other tensor shares the values: no clone, and no tensor that it was assigned from. */
function ownsValues(module: KernelModule, tensor: tf.Tensor): boolean {
  return module.heap.backend.dataIdMap.get(tensor.dataId).refCount === 1;
}

/** Addresses of parameter, gradient, first and second moment. */
type SlotAddresses = readonly [w: number, gradient: number, m: number, v: number];

/** Runs the kernel on `size` values of each. */
function update(
  module: KernelModule,
  size: number,
  [w, gradient, m, v]: SlotAddresses,
  numbers: AdamWStep,
): void {
  const { learningRate, weightDecay, beta1, beta2, eps, step, gradientScale } = numbers;
  const rate = learningRate / (1 - beta1 ** step);
  const inverseRoot = 1 / Math.sqrt(1 - beta2 ** step);
  runRange(module, "nano_adamw", size, 1, (start, count) => ({
    n: count,
    w: w + 4 * start,
    gradient: gradient + 4 * start,
    m: m + 4 * start,
    v: v + 4 * start,
    keep: 1 - learningRate * weightDecay,
    rate,
    beta1,
    beta2,
    fresh1: 1 - beta1,
    fresh2: 1 - beta2,
    inverse_root: inverseRoot,
    eps,
    scale: gradientScale,
  }));
}

/**
 * Updates parameter, first and second moment in place; all four tensors have one shape.
 *
 * @returns false, with nothing done, if one of the three shares its values with another tensor
 */
export function adamW(
  module: KernelModule,
  { parameter, gradient, firstMoment, secondMoment, numbers }: AdamWTensors,
): boolean {
  const written = [parameter, firstMoment, secondMoment];
  if (!written.every((tensor) => ownsValues(module, tensor))) return false;
  const { address } = launchOn(module);
  const [w, g, m, v] = [parameter, gradient, firstMoment, secondMoment].map(address);
  update(module, parameter.size, [w, g, m, v], numbers);
  return true;
}

/** Values of each moment that are on the heap at a time: 256 KiB. */
const CHUNK = 64 * 1024;

/**
 * The same with moments outside the heap, which are copied through it in chunks.
 *
 * @returns false, with nothing done, if the parameter shares its values with another tensor
 */
export function adamWHost(
  module: KernelModule,
  parameter: tf.Tensor,
  gradient: tf.Tensor,
  firstMoment: Float32Array,
  secondMoment: Float32Array,
  numbers: AdamWStep,
): boolean {
  if (!ownsValues(module, parameter)) return false;
  const { address } = launchOn(module);
  const first = module.scratch(2 * CHUNK);
  const second = first + CHUNK * 4;
  const [weights, slopes] = [address(parameter), address(gradient)];
  for (let start = 0; start < parameter.size; start += CHUNK) {
    const end = Math.min(start + CHUNK, parameter.size);
    const { buffer } = module.heap.memory;
    const onHeap = (at: number): Float32Array => new Float32Array(buffer, at, end - start);
    onHeap(first).set(firstMoment.subarray(start, end));
    onHeap(second).set(secondMoment.subarray(start, end));
    const at: SlotAddresses = [weights + start * 4, slopes + start * 4, first, second];
    update(module, end - start, at, numbers);
    firstMoment.set(onHeap(first), start);
    secondMoment.set(onHeap(second), start);
  }
  return true;
}

/** √Σ g² over all tensors, summed in double precision, as a scalar tensor. */
export function gradientNorm(module: KernelModule, gradients: readonly tf.Tensor[]): tf.Scalar {
  const { address } = launchOn(module);
  let sum = 0;
  for (const gradient of gradients) {
    sum += module.call("nano_sum_squares", { n: gradient.size, x: address(gradient) });
  }
  return tf.scalar(Math.sqrt(sum));
}
