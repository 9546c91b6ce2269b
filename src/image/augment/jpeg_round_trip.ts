/**
 * A picture written as a JPEG file and read again, by imagescript.
 *
 * @module
 */
import { decodeImage } from "../decode_image.ts";
import type { RgbImage } from "../rgb_image.ts";

/**
 * @param image pixels
 * @param quality 1 to 100
 */
export async function jpegRoundTrip(image: RgbImage, quality: number): Promise<RgbImage> {
  const { Image } = await import("imagescript");
  const opaque = new Image(image.width, image.height);
  for (let from = 0, to = 0; from < image.data.length; from += 3, to += 4) {
    opaque.bitmap.set(image.data.subarray(from, from + 3), to);
    opaque.bitmap[to + 3] = 255;
  }
  const file = await opaque.encodeJPEG(quality as Parameters<typeof opaque.encodeJPEG>[0]);
  return await decodeImage(file);
}
