/**
 * Whether tfjs records ops for a backward pass.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";

/** The part of tfjs 4.22's engine that holds this state. */
interface TapeState {
  readonly state: { readonly gradientDepth: number; readonly kernelDepth: number };
}

/** Whether an op that runs now is recorded for a backward pass; false inside another op. */
export function isRecording(): boolean {
  const { gradientDepth, kernelDepth } = (tf.engine() as unknown as TapeState).state;
  return gradientDepth > 0 && kernelDepth === 0;
}
