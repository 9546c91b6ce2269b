import { assert, assertEquals } from "@std/assert";
import { foreignSections } from "../../../kernels/check_module.ts";
import { kernelSourceHash } from "../../../kernels/source_hash.ts";
import { initBackend } from "../../../src/device/backend.ts";
import { wasmHeap } from "../../../src/device/wasm_heap.ts";
import {
  KERNEL_SOURCE_HASH,
  PLAIN_KERNELS,
  RELAXED_KERNELS,
} from "../../../src/ops/wasm/runtime/kernels_binary.ts";
import { loadKernelModule } from "../../../src/ops/wasm/runtime/module.ts";

function decode(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

Deno.test("the checked-in kernels were built from the checked-in sources", async () => {
  assertEquals(
    KERNEL_SOURCE_HASH,
    await kernelSourceHash(),
    "kernels/ has changed: run `deno task build-kernels`",
  );
});

Deno.test("every kernel of the module is called by something", async () => {
  const folder = new URL("../../../src/ops/wasm/", import.meta.url);
  const sources: string[] = [];
  const visit = async (folder: URL): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(folder)) {
      if (isDirectory) await visit(new URL(`${name}/`, folder));
      else if (name !== "kernels_binary.ts") {
        sources.push(await Deno.readTextFile(new URL(name, folder)));
      }
    }
  };
  await visit(folder);
  const module = new WebAssembly.Module(decode(PLAIN_KERNELS));
  const kernels = WebAssembly.Module.exports(module).map(({ name }) => name)
    .filter((name) => name.startsWith("nano_"));
  assert(kernels.length > 30, `${kernels}`);
  const uncalled = kernels.filter((name) => !sources.some((text) => text.includes(`"${name}"`)));
  assertEquals(uncalled, []);
});

Deno.test("the kernels write nothing to a heap that they were not given", () => {
  for (const binary of [RELAXED_KERNELS, PLAIN_KERNELS]) {
    assertEquals(foreignSections(decode(binary)), []);
  }
});

Deno.test("foreignSections() finds a data section, a start function and imports", () => {
  const header = [0, 97, 115, 109, 1, 0, 0, 0];
  // (import "env" "f" (func)) (import "env" "memory" (memory 1)) (start 0) (data (i32.const 0) "x")
  const bytes = new Uint8Array([
    ...header,
    ...[1, 4, 1, 0x60, 0, 0],
    ...[2, 22, 2, 3, 101, 110, 118, 1, 102, 0, 0, 3, 101, 110, 118, 6],
    ...[109, 101, 109, 111, 114, 121, 2, 0, 1].slice(0, 9),
    ...[8, 1, 0],
    ...[11, 7, 1, 0, 0x41, 0, 0x0b, 1, 120],
  ]);
  bytes[15] = bytes.slice(16).indexOf(8, 20) > 0 ? bytes[15] : bytes[15];
  bytes[15] = 23;
  const found = foreignSections(bytes);
  assert(found.some((text) => text.includes("start function")), found.join());
  assert(found.some((text) => text.includes("data section")), found.join());
  assert(found.some((text) => text.includes("env.f")), found.join());
});

Deno.test("loading the kernels changes no byte of the heap but their own blocks", async () => {
  await initBackend({ backend: "wasm" });
  const heap = wasmHeap();
  assert(heap !== null);
  const before = new Uint8Array(heap.memory.buffer).slice(0, 1 << 20);
  loadKernelModule({ ...heap, malloc: () => heap.memory.buffer.byteLength - (1 << 17) });
  assertEquals(new Uint8Array(heap.memory.buffer).slice(0, 1 << 20), before);
});
