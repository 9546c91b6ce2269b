/**
 * Scratch memory on the wasm heap that is kept from one kernel to the next.
 * @module
 */
import type { WasmHeap } from "../../../device/wasm_heap.ts";

/** A block on the heap that grows when needed; its content is lost then. */
export class GrowingBlock {
  #address = 0;
  #floats = 0;

  constructor(readonly heap: WasmHeap) {}

  /** Its address, 16-byte aligned, with room for at least `floats` floats. */
  address(floats: number): number {
    if (floats > this.#floats) {
      if (this.#address !== 0) this.heap.free(this.#address);
      this.#address = 0;
      this.#floats = 0;
      this.#address = this.heap.malloc(floats * 4 + 16);
      this.#floats = floats;
    }
    return Math.ceil(this.#address / 16) * 16;
  }
}
