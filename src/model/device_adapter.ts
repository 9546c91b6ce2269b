/**
 * Adapters from the host to the device.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { HostAdapter } from "./files/adapter_files.ts";
import type { Adapter } from "./weights_map.ts";

/**
 * An adapter's tensors on the current backend, as variables that nothing trains yet.
 *
 * @param adapter on the host
 * @param dropout probability of dropping an input of the LoRA branch while training
 */
export function deviceAdapter(adapter: HostAdapter, dropout: number): Adapter {
  const variable = ({ shape, data }: { shape: number[]; data: Float32Array }) =>
    tf.tidy(() => tf.variable(tf.tensor(data, shape), false));
  return {
    loraA: variable(adapter.loraA),
    loraB: variable(adapter.loraB),
    magnitude: adapter.magnitude ? variable(adapter.magnitude) : null,
    scaling: adapter.scaling,
    dropout,
  };
}
