/**
 * The GPU buffers of tfjs's WebGPU backend: reused by size, and bounded.
 * @module
 */

/** Free buffers of one size and usage: those from `first` on, the last released at the end. */
interface FreeList {
  buffers: GPUBuffer[];
  first: number;
}

/** Free bytes that are always allowed on top of the peak in use. */
const SLACK_BYTES = 16 * 2 ** 20;

/** The same as a share of that peak. */
const SLACK_SHARE = 0.25;

/** Acquisitions after which an older peak does not count; a training step has some thousands. */
const WINDOW = 16384;

/** Usages are less than this. */
const USAGES = 1024;

/**
 * Replaces tfjs's BufferManager, which keeps every freed buffer by its exact size: each new sequence
 * length would add to the memory for ever.
 *
 * A step frees its activations and the next step needs the same sizes again. So free buffers stay as
 * long as all buffers together take little more than the recent peak in use. Beyond that, those that
 * have been free the longest are destroyed, by {@linkcode trim}, which must be called when every
 * recorded command has been submitted.
 */
export class BufferPool {
  /** Bytes of buffers in use. */
  numBytesUsed = 0;
  /** Bytes of all buffers, the free ones included. */
  numBytesAllocated = 0;
  /** The most bytes that were in use at once. */
  peakBytesUsed = 0;
  readonly #device: GPUDevice;
  /** Buffers in use, with their keys. */
  readonly #used = new Map<GPUBuffer, number>();
  readonly #free = new Map<number, FreeList>();
  /** Free buffers with their keys, in the order of their release. */
  readonly #released = new Map<GPUBuffer, number>();
  #acquisitions = 0;
  #peak = 0;
  #peakBefore = 0;
  #disposed = false;

  /** @param device that allocates the buffers */
  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /**
   * A buffer of exactly that size and usage.
   *
   * @param size bytes
   * @param mappedAtCreation of a new buffer; a reused one is not mapped, see its `mapState`
   * @param reuse whether a free one may be taken
   */
  acquireBuffer(size: number, usage: number, mappedAtCreation = false, reuse = true): GPUBuffer {
    const key = size * USAGES + usage;
    const list = reuse ? this.#free.get(key) : undefined;
    let buffer = list?.buffers.pop();
    if (buffer === undefined) {
      buffer = this.#device.createBuffer({ size, usage, mappedAtCreation });
      this.numBytesAllocated += size;
    } else {
      this.#released.delete(buffer);
      this.#tidy(key);
    }
    this.#used.set(buffer, key);
    this.numBytesUsed += size;
    this.peakBytesUsed = Math.max(this.peakBytesUsed, this.numBytesUsed);
    this.#peak = Math.max(this.#peak, this.numBytesUsed);
    if (++this.#acquisitions % WINDOW === 0) {
      this.#peakBefore = this.#peak;
      this.#peak = this.numBytesUsed;
    }
    return buffer;
  }

  /**
   * Takes a buffer back.
   *
   * @param reuse false: it is destroyed at once; no recorded command may use it then
   * @throws {Error} if it is not in use
   */
  releaseBuffer(buffer: GPUBuffer, reuse = true): void {
    if (this.#disposed) return;
    const key = this.#used.get(buffer);
    if (key === undefined) throw new Error("Cannot release a buffer: it is not in use");
    const size = Math.floor(key / USAGES);
    this.#used.delete(buffer);
    this.numBytesUsed -= size;
    if (!reuse) {
      buffer.destroy();
      this.numBytesAllocated -= size;
      return;
    }
    const list = this.#free.get(key);
    if (list === undefined) this.#free.set(key, { buffers: [buffer], first: 0 });
    else list.buffers.push(buffer);
    this.#released.set(buffer, key);
  }

  /** Bytes that all buffers may take together before free ones are destroyed. */
  get boundBytes(): number {
    const peak = Math.max(this.#peak, this.#peakBefore);
    return peak + Math.max(SLACK_BYTES, peak * SLACK_SHARE);
  }

  /**
   * Destroys the free buffers beyond the bound. All recorded commands must have been submitted. Buffers
   * that the last submission released stay: with those in use they are at most the peak.
   */
  trim(): void {
    const bound = this.boundBytes;
    if (this.numBytesAllocated <= bound) return;
    for (const [buffer, key] of this.#released) {
      if (this.numBytesAllocated <= bound) return;
      this.#released.delete(buffer);
      const list = this.#free.get(key)!;
      list.first++; // The oldest of all is the oldest of its size.
      this.#tidy(key);
      buffer.destroy();
      this.numBytesAllocated -= Math.floor(key / USAGES);
    }
  }

  /**
   * Destroys all free buffers: after a lack of memory some of them may never have been allocated.
   * All recorded commands must have been submitted.
   */
  destroyFree(): void {
    for (const [buffer, key] of this.#released) {
      buffer.destroy();
      this.numBytesAllocated -= Math.floor(key / USAGES);
    }
    this.#released.clear();
    this.#free.clear();
  }

  /** The number of buffers in use. */
  getNumUsedBuffers(): number {
    return this.#used.size;
  }

  /** The number of free buffers. */
  getNumFreeBuffers(): number {
    return this.#released.size;
  }

  /** Destroys all buffers; later releases are ignored. */
  dispose(): void {
    this.#disposed = true;
    for (const buffer of [...this.#used.keys(), ...this.#released.keys()]) buffer.destroy();
    this.#used.clear();
    this.#free.clear();
    this.#released.clear();
    this.numBytesUsed = 0;
    this.numBytesAllocated = 0;
  }

  /** Removes destroyed buffers from the front of a list, and empty lists. */
  #tidy(key: number): void {
    const list = this.#free.get(key);
    if (list === undefined) return;
    if (list.first >= list.buffers.length) this.#free.delete(key);
    else if (list.first > 32 && list.first * 2 > list.buffers.length) {
      list.buffers.splice(0, list.first);
      list.first = 0;
    }
  }
}
