/** Pixels, row by row, with 3 (RGB) or 4 (RGBA) bytes each. */
export interface RawPicture {
  /** Pixels across. */
  readonly width: number;
  /** Pixels down. */
  readonly height: number;
  /** width × height × 3 or × 4 bytes. */
  readonly data: Uint8Array | Uint8ClampedArray;
}

/** A picture for the report: an encoded file's bytes (PNG, JPEG, GIF) or raw pixels. */
export type Picture = Uint8Array | RawPicture;

/** The largest claim of pixels that is decoded for a thumbnail. */
const MAX_PIXELS = 64 * 1024 * 1024;

/**
 * Makes a small PNG of a picture, as a data URL.
 *
 * @param picture an encoded file or raw pixels
 * @param side the longest side of the thumbnail, in pixels
 * @returns a `data:image/png` URL; null if the picture cannot be shown
 */
export async function thumbnailUrl(picture: Picture, side = 192): Promise<string | null> {
  try {
    const { Image } = await import("imagescript");
    const image = picture instanceof Uint8Array
      ? await decode(picture)
      : new Image(picture.width, picture.height);
    if (!(picture instanceof Uint8Array)) image.bitmap.set(toRgba(picture));
    const longest = Math.max(image.width, image.height);
    if (longest > side) {
      const scale = side / longest;
      image.resize(
        Math.max(1, Math.round(image.width * scale)),
        Math.max(1, Math.round(image.height * scale)),
      );
    }
    return `data:image/png;base64,${(await image.encode(6)).toBase64()}`;
  } catch {
    // A picture must not make a report fail: the sample's text is still shown.
    return null;
  }
}

async function decode(bytes: Uint8Array) {
  const { Image } = await import("imagescript");
  if (claimedPixels(bytes) > MAX_PIXELS) throw new RangeError("Too many pixels for a thumbnail");
  return await Image.decode(bytes);
}

/** What a PNG's header claims; other formats are capped by the decoder's own memory. */
function claimedPixels(bytes: Uint8Array): number {
  if (bytes.length < 24 || bytes[0] !== 0x89 || bytes[1] !== 0x50) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return view.getUint32(16) * view.getUint32(20);
}

function toRgba({ width, height, data }: RawPicture): Uint8Array {
  const pixels = width * height;
  const channels = data.length / pixels;
  if (channels !== 3 && channels !== 4) {
    throw new RangeError(`Cannot show a picture: ${data.length} bytes for ${width} × ${height}`);
  }
  const rgba = new Uint8Array(pixels * 4);
  for (let pixel = 0; pixel < pixels; pixel++) {
    for (let c = 0; c < 3; c++) rgba[pixel * 4 + c] = data[pixel * channels + c];
    rgba[pixel * 4 + 3] = channels === 4 ? data[pixel * 4 + 3] : 255;
  }
  return rgba;
}
