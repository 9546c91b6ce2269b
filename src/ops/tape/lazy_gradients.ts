/**
 * An op of several tfjs ops with a backward pass of its own, in which each gradient is computed
 * only where somebody wants it: `tf.customGrad` always computes all.
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
  /** Computes the value; what else it makes is freed. */
  readonly forward: () => tf.Tensor;
  /** Kept for the way back. */
  readonly save: readonly tf.Tensor[];
  /**
   * From the value's gradient and what was kept: the gradient of each input, if asked. Written, or
   * added to what there is of it.
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
      save([...op.save]); // Only now: tfjs frees what was saved by an op that fails nowhere.
      return value;
    },
    backwardsFunc: op.gradient,
  }) as T;
}
