/**
 * Copies of rows on the wasm heap, for tfjs's SplitV and Concat.
 * @module
 */
import { type CopyTools, installCopyKernels } from "../../tape/copy_kernels.ts";
import { launchOn } from "../runtime/launch.ts";
import type { KernelModule } from "../runtime/kernel_module.ts";
import { runRange } from "../runtime/parts.ts";

/** Replaces tfjs's SplitV and Concat. */
export function installWasmCopyKernels(module: KernelModule): void {
  const { address, output } = launchOn(module);
  const tools: CopyTools = {
    output: (shape) => output(shape),
    copyRows({ rows, width }, from, to) {
      if (rows * width === 0) return;
      const source = address(from.tensor) + 4 * from.offset;
      const target = address(to.tensor) + 4 * to.offset;
      runRange(module, "nano_copy_rows", rows, width, (row, count) => ({
        rows: count,
        width,
        from: source + 4 * from.stride * row,
        from_row: from.stride,
        to: target + 4 * to.stride * row,
        to_row: to.stride,
      }));
    },
  };
  installCopyKernels("wasm", () => tools);
}
