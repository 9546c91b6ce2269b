/**
 * The library that decodes PNG, JPEG and GIF. The page of `export web` has another module in place of
 * this one (`src/web/browser/raster_decoder.ts`), which runs the same library's WebAssembly.
 *
 * @module
 */
import type * as ImageScript from "imagescript";

/** Decodes a PNG or JPEG to an image, a GIF to its frames. */
export type RasterDecoder = Pick<typeof ImageScript, "decode">;

let decoder: Promise<RasterDecoder> | null = null;

/**
 * Loads imagescript on first use: that takes 40 ms and a native library.
 *
 * @throws {Error} if it cannot be loaded
 */
export function loadRasterDecoder(): Promise<RasterDecoder> {
  decoder ??= import("imagescript").catch((error) => {
    decoder = null;
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      `Cannot load the image decoder (imagescript): ${reason}; ` +
        `it needs --allow-read, --allow-env and --allow-ffi`,
    );
  });
  return decoder;
}
