/**
 * UnsortedSegmentSum, which tfjs's wasm backend lacks: the gradient of tf.gather needs it.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { elementCount } from "../../../element_count.ts";
import { checkRowIds } from "../../row_ids.ts";
import { launchOn } from "../runtime/launch.ts";
import type { KernelModule } from "../runtime/kernel_module.ts";
import { replaceKernel } from "../../tape/replace_kernel.ts";

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
      const rest = x.shape.slice(ids.shape.length);
      const count = elementCount(ids.shape);
      const values = new Int32Array(module.heap.memory.buffer, tools.address(ids), count);
      checkRowIds(values.filter((id) => id >= 0), numSegments);
      const out = tools.output([numSegments, ...rest]);
      const columns = elementCount(rest);
      module.call("nano_fill", { n: numSegments * columns, x: tools.address(out), value: 0 });
      module.call("nano_scatter_add_rows", {
        ...{ n: count, C: columns, ids: tools.address(ids) },
        ...{ rows: tools.address(x), out: tools.address(out) },
      });
      return out;
    },
  });
}
