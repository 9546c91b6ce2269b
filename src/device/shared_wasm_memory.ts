/**
 * Makes a WebAssembly module's memory one that threads may share. Two bits beside the memory's size in
 * the binary decide that: tfjs's single-threaded build and our kernels run on such a memory without
 * other changes.
 * @module
 */

/** 4 GiB: the range of a 32-bit address. A shared memory must declare its largest size. */
const MOST_PAGES = 65536;

const IMPORT_SECTION = 2;
const MEMORY_SECTION = 5;
const HAS_MAXIMUM = 1;
const SHARED = 2;

/** Reads a binary from an offset on. */
class Reader {
  constructor(readonly bytes: Uint8Array, public offset: number) {}

  /** An unsigned LEB128 number. */
  number(): number {
    let value = 0;
    for (let scale = 1;; scale *= 128) {
      const byte = this.bytes[this.offset++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  /** Skips the limits of a memory or table. */
  limits(): { flags: number; initial: number } {
    const flags = this.number();
    const initial = this.number();
    if ((flags & HAS_MAXIMUM) !== 0) this.number();
    return { flags, initial };
  }

  /** Skips a name. */
  name(): void {
    const length = this.number();
    this.offset += length;
  }
}

function leb128(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push(value % 128 + 128);
  return [...bytes, value];
}

/** The offsets of the limits of a module's only memory. */
function memoryLimits(section: number, reader: Reader): { start: number; end: number } | null {
  const count = reader.number();
  for (let i = 0; i < count; i++) {
    let kind = 2;
    if (section === IMPORT_SECTION) {
      reader.name();
      reader.name();
      kind = reader.number();
    }
    if (kind === 2) {
      const start = reader.offset;
      reader.limits();
      return { start, end: reader.offset };
    }
    if (kind === 0) reader.number(); // The function's type.
    else if (kind === 1) {
      reader.number(); // The table's type.
      reader.limits();
    } else reader.offset += 2; // A global's type and whether it changes.
  }
  return null;
}

/**
 * The module with its memory, its own or an imported one, declared shared and up to 4 GiB large.
 *
 * @returns null if the bytes are not a module, or the module has no memory
 */
export function withSharedMemory(bytes: Uint8Array): Uint8Array<ArrayBuffer> | null {
  if (
    bytes.length < 8 || new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) !== 0x0061736d
  ) {
    return null;
  }
  const reader = new Reader(bytes, 8);
  while (reader.offset < bytes.length) {
    const header = reader.offset;
    const id = bytes[reader.offset++];
    const size = reader.number();
    const body = reader.offset;
    const found = id === IMPORT_SECTION || id === MEMORY_SECTION
      ? memoryLimits(id, new Reader(bytes, body))
      : null;
    if (found !== null) {
      const { initial } = new Reader(bytes, found.start).limits();
      const section = [
        ...bytes.subarray(body, found.start),
        HAS_MAXIMUM | SHARED,
        ...leb128(initial),
        ...leb128(MOST_PAGES),
        ...bytes.subarray(found.end, body + size),
      ];
      const before = bytes.subarray(0, header);
      const middle = [id, ...leb128(section.length), ...section];
      const after = bytes.subarray(body + size);
      const shared = new Uint8Array(before.length + middle.length + after.length);
      shared.set(before);
      shared.set(middle, before.length);
      shared.set(after, before.length + middle.length);
      return shared;
    }
    reader.offset = body + size;
  }
  return null;
}
