/** Makes PNG files for tests, of any bit depth and colour type. */

/** What a test PNG holds. */
export interface PngContent {
  width: number;
  height: number;
  /** Bits a sample. */
  depth: number;
  /** 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA. */
  colorType: number;
  /** Packed samples of each row, without the filter byte. */
  rows: Uint8Array[];
  /** Chunks between header and pixels. */
  chunks?: [type: string, data: Uint8Array][];
}

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function concat(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function bigEndian(value: number): Uint8Array {
  return new Uint8Array([value >>> 24, value >>> 16, value >>> 8, value]);
}

function chunk(type: string, data: Uint8Array): Uint8Array {
  const body = concat([new TextEncoder().encode(type), data]);
  return concat([bigEndian(data.length), body, bigEndian(crc32(body))]);
}

/** The bytes of a PNG file. `rows` may be fewer than the height claims. */
export async function pngFile(content: PngContent): Promise<Uint8Array> {
  const raw = concat(content.rows.flatMap((row) => [new Uint8Array(1), row]));
  const deflated = new Blob([raw]).stream().pipeThrough(new CompressionStream("deflate"));
  const header = concat([
    bigEndian(content.width),
    bigEndian(content.height),
    new Uint8Array([content.depth, content.colorType, 0, 0, 0]),
  ]);
  return concat([
    new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk("IHDR", header),
    ...(content.chunks ?? []).map(([type, data]) => chunk(type, data)),
    chunk("IDAT", new Uint8Array(await new Response(deflated).arrayBuffer())),
    chunk("IEND", new Uint8Array()),
  ]);
}
