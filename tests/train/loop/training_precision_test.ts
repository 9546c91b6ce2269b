import { assert, assertEquals } from "@std/assert";
import type { GpuAdapterInfo } from "../../../src/device/adapter.ts";
import { precisionNote } from "../../../src/train/loop/training_precision.ts";

/** An adapter that a note may be about. */
function adapter(isFallback: boolean, features: readonly string[]): GpuAdapterInfo {
  return {
    description: "an adapter",
    vendor: "",
    architecture: "",
    software: isFallback,
    isFallback,
    features,
    limits: {},
  };
}

Deno.test("precisionNote() says float32 arithmetic unless a device multiplies in float16", () => {
  const f16 = ["shader-f16"];
  const webgpu = (info: GpuAdapterInfo) => ({ name: "webgpu", adapterInfo: info }) as const;
  const wasm = { name: "wasm", adapterInfo: null } as const;
  assertEquals(precisionNote("float32", wasm), null);
  for (
    const [precision, backend, isNarrow] of [
      ["fp16", webgpu(adapter(false, f16)), true],
      ["fp16", webgpu(adapter(false, [])), false],
      ["fp16", webgpu(adapter(true, f16)), false],
      ["bf16", webgpu(adapter(false, f16)), false],
      ["fp16", wasm, false],
    ] as const
  ) {
    const note = precisionNote(precision, backend)!;
    assertEquals(note.includes("shader-f16"), isNarrow, note);
    assertEquals(note.includes("takes longer than float32"), !isNarrow, note);
    assert(note.startsWith(`training.${precision}: values are rounded to `));
  }
});
