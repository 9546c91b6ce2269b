import * as tf from "@tensorflow/tfjs";
import { freeingOnFailure } from "./kernel_outputs.ts";

/** Registers a tfjs kernel and removes the one that it replaces. */
export function replaceKernel(config: tf.KernelConfig): void {
  if (tf.getKernel(config.kernelName, config.backendName) !== undefined) {
    tf.unregisterKernel(config.kernelName, config.backendName);
  }
  tf.registerKernel({ ...config, kernelFunc: freeingOnFailure(config.kernelFunc) });
}
