/**
 * Errors of memory that cannot be allocated. Callers catch {@linkcode MemoryError} to name the batch.
 * @module
 */

const LESS = "Lower per_device_train_batch_size, max_seq_length or the image size, turn on " +
  "gradient_checkpointing, or train with LoRA.";

/** Memory of a device or of the wasm heap cannot be allocated. */
export class MemoryError extends Error {}

/** An allocation on the wasm heap has failed. */
export class OutOfMemoryError extends MemoryError {
  override readonly name = "OutOfMemoryError";

  /**
   * @param where which memory, e.g. `the wasm heap`
   * @param wantedBytes requested
   * @param usedBytes in use
   * @param limitBytes in all
   */
  constructor(
    readonly where: string,
    readonly wantedBytes: number,
    readonly usedBytes: number,
    readonly limitBytes: number,
  ) {
    super(
      `Cannot allocate ${formatMebibytes(wantedBytes)} on ${where}: ${
        formatMebibytes(usedBytes)
      } of ${formatMebibytes(limitBytes)} are in use. ${LESS}`,
    );
  }
}

/** What a GPU device reported, some time after the allocation that failed. */
export class GpuOutOfMemoryError extends MemoryError {
  override readonly name = "GpuOutOfMemoryError";

  /**
   * @param usedBytes in live buffers
   * @param allocatedBytes in all buffers
   * @param report the device's own words
   */
  constructor(readonly usedBytes: number, readonly allocatedBytes: number, report: string) {
    super(
      `The GPU is out of memory: ${formatMebibytes(usedBytes)} are in use and ${
        formatMebibytes(allocatedBytes)
      } allocated (${report}). ${LESS}`,
    );
  }
}

/** A tensor is larger than the largest buffer or binding of the adapter. */
export class TensorTooLargeError extends MemoryError {
  override readonly name = "TensorTooLargeError";

  /**
   * @param shape of the tensor
   * @param bytes it takes
   * @param limit WebGPU's name of the limit
   * @param limitBytes its value on this adapter
   */
  constructor(
    readonly shape: readonly number[],
    readonly bytes: number,
    readonly limit: string,
    readonly limitBytes: number,
  ) {
    super(
      `Cannot put a tensor [${shape.join(", ")}] of ${formatMebibytes(bytes)} on this GPU: its ` +
        `adapter takes at most ${formatMebibytes(limitBytes)} in one piece (${limit}). Lower ` +
        "per_device_train_batch_size, max_seq_length or the image size; where the tensor is a " +
        "weight, use --backend wasm or another GPU.",
    );
  }
}

/** Bytes as `12.3 MiB`. */
export function formatMebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
