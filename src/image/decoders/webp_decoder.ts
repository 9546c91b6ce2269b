/**
 * libwebp, as WebAssembly. The page of `export web` has another module in place of this one
 * (`src/web/browser/webp_decoder.ts`), which fetches the same WebAssembly.
 *
 * @module
 */

/** Pixels as the library gives them, [height, width, 4]. */
export interface DecodedWebp {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array | Uint8ClampedArray;
}

/** Loads the decoder of a WebP file of one frame, which throws if the file is corrupt. */
export async function loadWebpDecoder(): Promise<(file: Uint8Array) => DecodedWebp> {
  return (await import("@cwasm/webp")).decode;
}
