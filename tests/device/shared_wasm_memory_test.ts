import { assert, assertEquals } from "@std/assert";
import { withSharedMemory } from "../../src/device/shared_wasm_memory.ts";

const HEADER = [0, 97, 115, 109, 1, 0, 0, 0];
/** (type (func (param i32) (result i32))), exported as "load": loads a word at its argument. */
const TYPES = [1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f];
const FUNCTIONS = [3, 2, 1, 0];
const EXPORTS = [7, 8, 1, 4, 108, 111, 97, 100, 0, 0];
const CODE = [10, 9, 1, 7, 0, 0x20, 0, 0x28, 2, 0, 0x0b];

type Load = (address: number) => number;

Deno.test("withSharedMemory() makes an imported memory shared, and the module reads it", () => {
  // (import "e" "g" (global i32)) (import "e" "m" (memory 1))
  const imports = [2, 13, 2, 1, 101, 1, 103, 3, 0x7f, 0, 1, 101, 1, 109, 2, 0, 1];
  imports[1] = imports.length - 2;
  const bytes = new Uint8Array([
    ...HEADER,
    ...TYPES,
    ...imports,
    ...FUNCTIONS,
    ...EXPORTS,
    ...CODE,
  ]);
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  const shared = withSharedMemory(bytes);
  assert(shared !== null);
  const instance = new WebAssembly.Instance(new WebAssembly.Module(shared), {
    e: { g: new WebAssembly.Global({ value: "i32", mutable: false }, 3), m: memory },
  });
  new Int32Array(memory.buffer)[5] = 77;
  assertEquals((instance.exports.load as Load)(20), 77);
});

Deno.test("withSharedMemory() makes a module's own memory shared, with and without a maximum", () => {
  for (const limits of [[0, 2], [1, 2, 128, 128, 4]]) {
    const memory = [5, 1 + limits.length, 1, ...limits];
    const exports = [7, 8, 1, 4, 109, 101, 109, 48, 2, 0];
    const shared = withSharedMemory(new Uint8Array([...HEADER, ...memory, ...exports]));
    assert(shared !== null);
    const instance = new WebAssembly.Instance(new WebAssembly.Module(shared));
    assert(instance.exports.mem0 instanceof WebAssembly.Memory);
    assert(instance.exports.mem0.buffer instanceof SharedArrayBuffer);
    assertEquals(instance.exports.mem0.buffer.byteLength, 2 * 65536);
  }
});

Deno.test("withSharedMemory() refuses what is no module, or has no memory", () => {
  assertEquals(withSharedMemory(new Uint8Array(HEADER)), null);
  assertEquals(withSharedMemory(new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8, 9])), null);
  assertEquals(withSharedMemory(new Uint8Array(3)), null);
  assertEquals(withSharedMemory(new Uint8Array([...HEADER, ...TYPES, ...FUNCTIONS])), null);
});
