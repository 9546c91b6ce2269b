/**
 * What a browser gets in place of `src/image/decoders/webp_decoder.ts`: the same WebAssembly, fetched
 * from beside the page.
 *
 * Source: `index.js` of @cwasm/webp 0.1.5.
 *
 * @module
 */
import type { DecodedWebp } from "../../image/decoders/webp_decoder.ts";
import { siteWasm } from "./site_wasm.ts";

type Functions = Record<string, (...parameters: number[]) => number>;

/**
 * Loads the decoder of a WebP file of one frame, which throws if the file is corrupt.
 *
 * @param load gives a file of `wasm/`
 */
export async function loadWebpDecoder(
  load: typeof siteWasm = siteWasm,
): Promise<(file: Uint8Array) => DecodedWebp> {
  const module = await load("webp.wasm");
  return (file) => {
    const stop = () => {
      throw new Error("Cannot decode a WebP: its decoder asked for a file");
    };
    const { memory, ...rest } = new WebAssembly.Instance(module, {
      wasi_snapshot_preview1: { fd_close: stop, fd_seek: stop, fd_write: stop },
    }).exports;
    const { malloc, WebPDecodeRGBA } = rest as unknown as Functions;
    const input = malloc(file.length), size = malloc(8);
    const { buffer } = memory as WebAssembly.Memory;
    new Uint8Array(buffer, input, file.length).set(file);
    const output = WebPDecodeRGBA(input, file.length, size, size + 4);
    if (output === 0) throw new Error("Cannot decode the WebP's data");
    // The memory may have grown, which gives it another buffer.
    const grown = (memory as WebAssembly.Memory).buffer;
    const [width, height] = new Uint32Array(grown, size, 2);
    return { width, height, data: new Uint8Array(grown, output, 4 * width * height).slice() };
  };
}
