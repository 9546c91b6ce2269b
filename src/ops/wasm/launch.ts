/**
 * Runs a kernel as a tfjs kernel, so that tfjs counts and frees what it makes.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { KernelModule } from "./module.ts";

/** What a launched function gets to work with. */
export interface Launch {
  readonly module: KernelModule;
  /** Address of a tensor's first value. */
  address(tensor: tf.TensorInfo): number;
  /** A new tensor, its values undefined. */
  output(shape: readonly number[], dtype?: "float32" | "int32"): tf.TensorInfo;
}

type Body = (launch: Launch) => tf.TensorInfo[];

/** tfjs types attributes as plain values, yet passes them on as they are: functions too. */
type BodyAttribute = tf.NamedAttrMap & { body: tf.NamedAttrMap[string] };

const registered = new Set<string>();

/** The tools a kernel body gets, on the module's own backend. */
export function launchOn(module: KernelModule): Launch {
  const { backend } = module.heap;
  return {
    module,
    address: (tensor) => backend.dataIdMap.get(tensor.dataId).memoryOffset,
    output: (shape, dtype = "float32") => backend.makeOutput(shape, dtype),
  };
}

/**
 * Runs `body` as the tfjs kernel `name` and returns its outputs as tensors of the current scope.
 *
 * @param inputs every tensor that `body` reads: tfjs moves them to the backend first
 */
export function launch(
  module: KernelModule,
  name: string,
  inputs: tf.NamedTensorMap,
  body: Body,
): tf.Tensor[] {
  if (!registered.has(name)) {
    registered.add(name);
    tf.registerKernel({
      kernelName: name,
      backendName: "wasm",
      kernelFunc: ({ attrs }) => (attrs as unknown as { run: Body }).run(launchOn(module)),
    });
  }
  const attributes = { run: body } as unknown as BodyAttribute;
  const outputs: tf.Tensor | tf.Tensor[] = tf.engine().runKernel(name, inputs, attributes);
  return Array.isArray(outputs) ? outputs : [outputs];
}
