/**
 * Whether tfjs records what ops do, to go back over it.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";

/** The part of tfjs 4.22's engine that tells. */
interface TapeState {
  readonly state: { readonly gradientDepth: number; readonly kernelDepth: number };
}

/** Whether an op that runs now will be asked for its gradients; false inside another op. */
export function isRecording(): boolean {
  const { gradientDepth, kernelDepth } = (tf.engine() as unknown as TapeState).state;
  return gradientDepth > 0 && kernelDepth === 0;
}
