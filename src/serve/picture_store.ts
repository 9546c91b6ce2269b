/**
 * Pictures of requests, processed once: the same file gives the same object, so that requests about
 * one picture share its encoding and their prompts' beginning.
 *
 * @module
 */
import type { PromptImage } from "../generate/generate_text.ts";
import { ImageDecodeError } from "../image/image_header.ts";
import type { ImageProcessor } from "../image/image_processor.ts";
import { ApiError } from "./api_error.ts";

/** Tiles that are kept, 256 MiB. */
const MOST_BYTES = 256 * 2 ** 20;

/** The pictures seen last. */
export class PictureStore {
  readonly #processor: ImageProcessor;
  /** By the hash of the file, the one used last at the end. */
  readonly #kept = new Map<string, Promise<PromptImage>>();
  readonly #bytesOf = new Map<string, number>();
  #bytes = 0;

  /** @param processor of the model */
  constructor(processor: ImageProcessor) {
    this.#processor = processor;
  }

  /**
   * The tiles of a file.
   *
   * @throws {ApiError} with status 400 if it is not a picture, is damaged or is too large
   */
  async get(file: Uint8Array): Promise<PromptImage> {
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(file)))
      .toHex();
    let made = this.#kept.get(hash);
    if (made === undefined) made = this.#process(file);
    else this.#kept.delete(hash);
    this.#kept.set(hash, made);
    try {
      const picture = await made;
      if (!this.#bytesOf.has(hash)) this.#count(hash, picture.tiles.byteLength);
      return picture;
    } catch (error) {
      this.#kept.delete(hash);
      if (!(error instanceof ImageDecodeError)) throw error;
      throw new ApiError(400, error.message, { code: "invalid_image", param: "messages" });
    }
  }

  async #process(file: Uint8Array): Promise<PromptImage> {
    return await this.#processor.process(file);
  }

  #count(hash: string, bytes: number): void {
    this.#bytesOf.set(hash, bytes);
    this.#bytes += bytes;
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= MOST_BYTES || oldest === hash) break;
      this.#bytes -= this.#bytesOf.get(oldest) ?? 0;
      this.#bytesOf.delete(oldest);
      this.#kept.delete(oldest);
    }
  }
}
