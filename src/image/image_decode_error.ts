/** Bytes that cannot be decoded: the row is skipped and counted. */
export class ImageDecodeError extends Error {
  override name = "ImageDecodeError";
}
