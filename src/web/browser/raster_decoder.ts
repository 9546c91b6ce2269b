/**
 * What a browser gets in place of `src/image/decoders/raster_decoder.ts`: the WebAssembly of
 * imagescript, which its package loads from files. Pixels have the same bytes as in Deno.
 *
 * Source: `wasm/node/{png,jpeg,gif}.js` and `ImageScript.js` of imagescript 1.3.1.
 *
 * @module
 */
import { siteWasm } from "./site_wasm.ts";

/** Pixels, [height, width, 4]. */
interface Raster {
  readonly width: number;
  readonly height: number;
  readonly bitmap: Uint8Array | Uint8ClampedArray;
}

type Functions = Record<string, (...parameters: number[]) => number>;

interface Running {
  readonly call: Functions;
  /** A view of the memory, new each time because the memory may grow. */
  bytes(address: number, length: number): Uint8Array;
  /** Copies a file into the memory. */
  put(file: Uint8Array): number;
}

function start(module: WebAssembly.Module, imports: WebAssembly.Imports): Running {
  const { memory, ...rest } = new WebAssembly.Instance(module, imports).exports;
  const call = rest as unknown as Functions;
  const bytes = (address: number, length: number) =>
    new Uint8Array((memory as WebAssembly.Memory).buffer, address, length);
  return {
    call,
    bytes,
    put(file) {
      const address = call.walloc(file.length);
      bytes(address, file.length).set(file);
      return address;
    },
  };
}

function decodePng(module: WebAssembly.Module, file: Uint8Array): Raster {
  const { call, bytes, put } = start(module, { env: { emscripten_notify_memory_growth() {} } });
  const result = call.decode(put(file), file.length);
  if (result < 0) throw new Error(`Cannot decode the PNG's data (status ${result})`);
  const width = call.width(), height = call.height();
  return { width, height, bitmap: bytes(result, 4 * width * height).slice() };
}

/** Samples of one pixel as `decode_format` numbers them: grey, RGB, CMYK. */
const JPEG_GREY = 0, JPEG_RGB = 1;

function decodeJpeg(module: WebAssembly.Module, file: Uint8Array): Raster {
  const { call, bytes, put } = start(module, {});
  const result = call.decode(put(file), file.length, 0, 0);
  if (result === 0 || result === 1) throw new Error("Cannot decode the JPEG's data");
  const width = call.decode_width(result), height = call.decode_height(result);
  const format = call.decode_format(result);
  const samples = bytes(call.decode_buffer(result), call.wlen());
  // Rounds as it stores, as imagescript does.
  const bitmap = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let i = 0; i < width * height; i++) {
    for (let channel = 0; channel < 3; channel++) {
      bitmap[4 * i + channel] = format === JPEG_GREY
        ? samples[i]
        : format === JPEG_RGB
        ? samples[3 * i + channel]
        : 255 * (1 - samples[4 * i + channel] / 255) * (1 - samples[4 * i + 3] / 255);
    }
  }
  return { width, height, bitmap };
}

/** The first frame of a GIF whose screen is its frame, as `decodeGif` prepares it. */
function decodeGif(module: WebAssembly.Module, file: Uint8Array): Raster {
  const { call, bytes, put } = start(module, { env: { push_to_stream() {} } });
  const decoder = call.decoder_new(put(file), file.length, 0);
  if (decoder === 0) throw new Error("Cannot read the GIF's header");
  const width = call.decoder_width(decoder), height = call.decoder_height(decoder);
  const frame = call.decoder_frame(decoder);
  if (frame === 0 || frame === 1) throw new Error("Cannot decode the GIF's first frame");
  const left = call.decoder_frame_x(frame), top = call.decoder_frame_y(frame);
  const columns = call.decoder_frame_width(frame), rows = call.decoder_frame_height(frame);
  const pixels = bytes(call.decoder_frame_buffer(frame), call.wlen());
  const bitmap = new Uint8Array(4 * width * height);
  for (let y = 0; y < Math.min(rows, height - top); y++) {
    const row = pixels.subarray(
      4 * y * columns,
      4 * (y * columns + Math.min(columns, width - left)),
    );
    bitmap.set(row, 4 * ((y + top) * width + left));
  }
  return { width, height, bitmap };
}

/**
 * The decoder of PNG, JPEG and GIF files.
 *
 * @param load gives a file of `wasm/`
 */
export function loadRasterDecoder(
  load: typeof siteWasm = siteWasm,
): Promise<{ decode(file: Uint8Array): Promise<Raster> }> {
  return Promise.resolve({
    async decode(file) {
      if (file[0] === 0x89) return decodePng(await load("png.wasm"), file);
      if (file[0] === 0xff) return decodeJpeg(await load("jpeg.wasm"), file);
      return decodeGif(await load("gif.wasm"), file);
    },
  });
}
