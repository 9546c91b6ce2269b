/**
 * An op made of several tfjs ops, with its own backward pass, in which each gradient is computed
 * only if it is needed: `tf.customGrad` always computes all of them.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { Gradients } from "./fused_op.ts";

/** The part of tfjs 4.22's engine that records such an op; `tf.customGrad` stands on it. */
interface RecordingEngine {
  runKernelFunc(op: {
    inputs: tf.NamedTensorMap;
    forwardFunc: (backend: unknown, save: (tensors: tf.Tensor[]) => void) => tf.Tensor;
    backwardsFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => Gradients;
  }): tf.Tensor;
}

/** What {@linkcode withLazyGradients} runs. */
export interface LazyOp {
  /** What gets gradients, by name. */
  readonly inputs: tf.NamedTensorMap;
  /** Computes the value; other tensors that it makes are freed. */
  readonly forward: () => tf.Tensor;
  /** Kept for the backward pass. */
  readonly save: readonly tf.Tensor[];
  /**
   * Computes the gradient of each input from the value's gradient and the kept tensors. A gradient is
   * written, or added to the sum that is passed in.
   */
  readonly gradient: (dy: tf.Tensor, saved: tf.Tensor[]) => Gradients;
}

/** Runs an op; the ops inside are not recorded. */
export function withLazyGradients<T extends tf.Tensor>(op: LazyOp): T {
  const engine = tf.engine() as unknown as RecordingEngine;
  return engine.runKernelFunc({
    inputs: op.inputs,
    forwardFunc: (_backend, save) => {
      const value = op.forward();
      save([...op.save]); // Not before: tfjs never frees what a failed op has saved.
      return value;
    },
    backwardsFunc: op.gradient,
  }) as T;
}
