/**
 * A picture's file as changed pixels.
 *
 * @module
 */
import { decodeImage } from "../decode_image.ts";
import type { RgbImage } from "../rgb_image.ts";
import { augment } from "./augment.ts";
import { jpegRoundTrip } from "./jpeg_round_trip.ts";
import type { AugmentationPlan } from "./plan.ts";

/**
 * Decodes a picture and changes it as planned.
 *
 * @throws {ImageDecodeError} if the file cannot be decoded
 */
export async function augmentedPicture(
  bytes: Uint8Array,
  plan: AugmentationPlan,
  options: { readonly maxPixels?: number } = {},
): Promise<RgbImage> {
  return await augment(await decodeImage(bytes, options), plan, jpegRoundTrip);
}
