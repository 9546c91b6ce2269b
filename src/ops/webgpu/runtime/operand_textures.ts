/**
 * The textures through which products read their operands where a CPU plays the GPU.
 * @module
 */
import { countGpuBytes } from "../../../device/memory.ts";
import { TEXTURE_WIDTH } from "./program.ts";

/** Bytes of an rgba32float texture. */
function bytesOf({ width, height }: GPUTexture): number {
  return width * height * 16;
}

/** A texture for each slot, which grows to what it is asked to hold. */
export class OperandTextures {
  readonly #textures = new Map<string, GPUTexture>();

  /**
   * @param device on which they are
   * @param retire takes a texture that has been replaced, which commands that wait may still read
   */
  constructor(readonly device: GPUDevice, readonly retire: (texture: GPUTexture) => void) {}

  /**
   * The texture of a slot, with so many rows at least.
   *
   * @throws {RangeError} where the adapter has none that large; the slot keeps what it had
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
