/**
 * The textures from which products read their operands on a software adapter.
 * @module
 */
import { countGpuBytes } from "../../../device/memory.ts";
import { TEXTURE_WIDTH } from "./program.ts";

/** Bytes of an rgba32float texture. */
function bytesOf({ width, height }: GPUTexture): number {
  return width * height * 16;
}

/** A texture for each slot, which grows when needed. */
export class OperandTextures {
  readonly #textures = new Map<string, GPUTexture>();

  /**
   * @param device of the textures
   * @param retire takes a texture that has been replaced; recorded commands may still read it
   */
  constructor(readonly device: GPUDevice, readonly retire: (texture: GPUTexture) => void) {}

  /**
   * The texture of a slot, with at least `rows` rows.
   *
   * @throws {RangeError} if the adapter allows none that large; the slot keeps its texture
   */
  take(slot: string, rows: number): GPUTexture {
    const before = this.#textures.get(slot);
    if (before !== undefined && before.height >= rows) return before;
    const most = this.device.limits.maxTextureDimension2D;
    if (rows > most) {
      throw new RangeError(
        `Cannot multiply: an operand of ${
          rows * TEXTURE_WIDTH * 4
        } values does not fit a texture ` +
          `of this adapter, which holds ${most * TEXTURE_WIDTH * 4}. Lower the batch size`,
      );
    }
    const height = Math.min(most, 2 ** Math.ceil(Math.log2(rows)));
    const texture = this.device.createTexture({
      size: [TEXTURE_WIDTH, height],
      format: "rgba32float",
      usage: GPUTextureUsage.STORAGE_BINDING | GPUTextureUsage.COPY_DST,
    });
    countGpuBytes(bytesOf(texture));
    this.#textures.set(slot, texture);
    if (before !== undefined) {
      this.retire(before);
      countGpuBytes(-bytesOf(before));
    }
    return texture;
  }
}
