/**
 * tfjs's Identity for the wasm backend, without the copy.
 *
 * tfjs clones every tensor that it saves for the backward pass. Its other backends share the values
 * and count references; the wasm one copies them, all the weights included, at every op.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { replaceKernel } from "../../tape/replace_kernel.ts";

/** Replaces tfjs's copying Identity by one that shares the values. */
export function installIdentityKernel(): void {
  replaceKernel({
    kernelName: "Identity",
    backendName: "wasm",
    kernelFunc: ({ inputs, backend }) => {
      const { dataId, shape, dtype } = inputs.x as tf.TensorInfo;
      (backend as tf.KernelBackend).incRef(dataId);
      return { dataId, shape, dtype };
    },
  });
}
