/**
 * Checks that a wasm module may share another module's heap.
 * @module
 */

const FORBIDDEN: Record<number, string> = {
  5: "a memory of its own",
  8: "a start function",
  9: "table elements",
  11: "a data section, which instantiation would copy to a fixed address",
};

/**
 * The parts of a module that could touch memory that it was not given: sections that write at
 * instantiation, and imports other than `env.memory` and `env.large_gemm`. Empty if there are none.
 */
export function foreignSections(bytes: Uint8Array): string[] {
  const found: string[] = [];
  let offset = 8;
  const readLeb = (): number => {
    let value = 0;
    for (let shift = 0;; shift += 7) {
      const byte = bytes[offset++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  while (offset < bytes.length) {
    const id = bytes[offset++];
    const size = readLeb();
    if (id in FORBIDDEN) found.push(FORBIDDEN[id]);
    offset += size;
  }
  for (const item of WebAssembly.Module.imports(new WebAssembly.Module(bytes.slice()))) {
    if (item.kind !== "memory" && item.name !== "large_gemm") {
      found.push(`an import of ${item.module}.${item.name}`);
    }
  }
  return found;
}
