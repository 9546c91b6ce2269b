/**
 * Thrown where an allocation on a device or on the wasm heap cannot be met. Callers catch it to
 * save what is safe and to name the batch.
 */
export class OutOfMemoryError extends Error {
  override readonly name = "OutOfMemoryError";

  /**
   * @param where which memory, e.g. `the wasm heap`
   * @param wantedBytes what was asked for
   * @param usedBytes what is in use there
   * @param limitBytes what there is in all
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
      } of ${formatMebibytes(limitBytes)} are in use. Lower per_device_train_batch_size, ` +
        `max_seq_length or the image size, turn on gradient_checkpointing, or train with LoRA.`,
    );
  }
}

/** Bytes as `12.3 MiB`. */
export function formatMebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
