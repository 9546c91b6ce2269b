/**
 * UnsortedSegmentSum, which tfjs's wasm backend lacks: the gradient of tf.gather needs it.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { launchOn } from "./launch.ts";
import type { KernelModule } from "./module.ts";
import { replaceKernel } from "../replace_kernel.ts";

/** Registers the kernel: x [n, …], segmentIds [n] → [numSegments, …]; negative ids are left out. */
export function installSegmentSumKernel(module: KernelModule): void {
  const tools = launchOn(module);
  replaceKernel({
    kernelName: "UnsortedSegmentSum",
    backendName: "wasm",
    kernelFunc: ({ inputs, attrs }) => {
      const x = inputs.x as tf.TensorInfo;
      const ids = inputs.segmentIds as tf.TensorInfo;
      const { numSegments } = attrs as unknown as { numSegments: number };
      const size = (shape: readonly number[]) => shape.reduce((product, dim) => product * dim, 1);
      const rest = x.shape.slice(ids.shape.length);
      const out = tools.output([numSegments, ...rest]);
      const columns = size(rest);
      module.kernel("nano_fill")(numSegments * columns, tools.address(out), 0);
      // deno-fmt-ignore
      module.kernel("nano_scatter_add_rows")(
        size(ids.shape), columns, tools.address(x), tools.address(ids), tools.address(out),
      );
      return out;
    },
  });
}
