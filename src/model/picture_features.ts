/**
 * What a frozen vision encoder gives for a picture, kept: it is the same in every epoch, every
 * rollout and every pass of the reference.
 *
 * @module
 */
import { createHash } from "node:crypto";
import * as tf from "@tensorflow/tfjs";
import { elementCount } from "../element_count.ts";
import { imagesToTensor, type ImageTiles } from "./batch.ts";
import { SpillFile } from "./spill_file.ts";

// N tiles, P patches of a tile, L image tokens of a tile, C channels

/** How {@linkcode PictureFeatures} are made and kept. */
export interface PictureFeaturesOptions {
  /** The frozen part of the model, [N, 3, S, S] → [N, P, C] or [N·L, C]. */
  readonly encode: (images: tf.Tensor4D) => tf.Tensor;
  /** S, pixels. */
  readonly side: number;
  /** Bytes that are kept in memory at most. */
  readonly memoryBytes: number;
  /** Bytes that are kept on disk at most, once the memory is full; default 0. */
  readonly diskBytes?: number;
  /** Folder of the file on disk; the system's folder for temporary files by default. */
  readonly folder?: string;
}

/** How much of the work was saved. */
export interface PictureFeatureCounts {
  /** Pictures that were kept, each time that they were asked for. */
  readonly reused: number;
  /** Pictures that the encoder computed. */
  readonly computed: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

/** Where the values of a picture are. */
type Kept =
  & { readonly shape: number[] }
  & (
    | { readonly values: Float32Array }
    | { readonly offset: number }
  );

/**
 * Features of pictures, by what the pictures show.
 *
 * Each picture goes through the encoder alone, so that its values do not depend on its neighbours in
 * a batch, and the same picture has the same bits whether it was kept or is computed again. What was
 * kept first stays: data that is read in order, again and again, would otherwise push out each
 * picture just before it is needed.
 */
export class PictureFeatures {
  readonly #options: PictureFeaturesOptions;
  readonly #digests = new WeakMap<ImageTiles, string>();
  readonly #kept = new Map<string, Kept>();
  /** Pictures whose values a GPU has not given yet. */
  readonly #arriving = new Set<string>();
  #spill: SpillFile | null = null;
  /** The disk is full, or cannot be written. */
  #spillFailed = false;
  #reused = 0;
  #computed = 0;
  #memoryBytes = 0;
  #diskBytes = 0;
  #disposed = false;

  constructor(options: PictureFeaturesOptions) {
    this.#options = options;
  }

  /** Since the start. */
  get counts(): PictureFeatureCounts {
    return {
      reused: this.#reused,
      computed: this.#computed,
      memoryBytes: this.#memoryBytes,
      diskBytes: this.#diskBytes,
    };
  }

  /**
   * The features of pictures, one behind the other.
   *
   * @param pictures at least one
   * @returns [N, P, C] or [N·L, C], the caller's to free
   */
  of(pictures: readonly ImageTiles[]): tf.Tensor {
    return tf.tidy(() => {
      const distinct = new Map<string, tf.Tensor>();
      const parts = pictures.map((picture) => {
        const digest = this.#digest(picture);
        const known = distinct.get(digest);
        if (known !== undefined) return known;
        const made = this.#read(digest) ?? this.#compute(picture, digest);
        distinct.set(digest, made);
        return made;
      });
      return parts.length === 1 ? parts[0].clone() : tf.concat(parts);
    });
  }

  #digest(picture: ImageTiles): string {
    const known = this.#digests.get(picture);
    if (known !== undefined) return known;
    const { buffer, byteOffset, byteLength } = picture.tiles;
    const hash = createHash("sha256").update(`${picture.tileCount}:`);
    const digest = hash.update(new Uint8Array(buffer, byteOffset, byteLength)).digest("hex");
    this.#digests.set(picture, digest);
    return digest;
  }

  #read(digest: string): tf.Tensor | null {
    const kept = this.#kept.get(digest);
    if (kept === undefined) return null;
    const { shape } = kept;
    const values = "values" in kept
      ? kept.values
      : this.#spill!.read(kept.offset, elementCount(shape));
    if (values === null) { // The file was damaged from outside: compute it again.
      this.#kept.delete(digest);
      return null;
    }
    this.#reused++;
    return tf.tensor(values, shape);
  }

  #compute(picture: ImageTiles, digest: string): tf.Tensor {
    this.#computed++;
    const { encode, side } = this.#options;
    const features = tf.tidy(() => encode(imagesToTensor([picture], side)!));
    if (!this.#fits(features.size * 4) || this.#arriving.has(digest)) return features;
    if (tf.getBackend() !== "webgpu") {
      this.#keep(digest, features.shape, Float32Array.from(features.dataSync()));
      return features;
    }
    // The values of a GPU arrive later; until then the picture is computed again.
    const read = tf.keep(features.clone());
    this.#arriving.add(digest);
    void read.data()
      .then((values) => {
        if (!this.#disposed) this.#keep(digest, features.shape, Float32Array.from(values));
      })
      .catch(() => {}) // A lost device is told by the step that needs it.
      .finally(() => {
        this.#arriving.delete(digest);
        read.dispose();
      });
    return features;
  }

  #fitsInMemory(bytes: number): boolean {
    return this.#memoryBytes + bytes <= this.#options.memoryBytes;
  }

  #fits(bytes: number): boolean {
    const onDisk = !this.#spillFailed &&
      this.#diskBytes + bytes <= (this.#options.diskBytes ?? 0);
    return this.#fitsInMemory(bytes) || onDisk;
  }

  #keep(digest: string, shape: readonly number[], values: Float32Array): void {
    if (!this.#fits(values.byteLength)) return; // Others arrived in between.
    if (this.#fitsInMemory(values.byteLength)) {
      this.#kept.set(digest, { shape: [...shape], values });
      this.#memoryBytes += values.byteLength;
      return;
    }
    this.#spill ??= SpillFile.create(this.#options.folder);
    const offset = this.#spill?.append(values) ?? null;
    if (offset === null) {
      this.#spillFailed = true;
      return;
    }
    this.#kept.set(digest, { shape: [...shape], offset });
    this.#diskBytes += values.byteLength;
  }

  /** Forgets all pictures and removes the file. */
  dispose(): void {
    this.#disposed = true;
    this.#kept.clear();
    this.#spill?.close();
    this.#spill = null;
    this.#spillFailed = true;
  }
}
