/**
 * Errors that a GPU device reports on its own: Deno drops them in silence unless someone listens.
 * @module
 */

/** An error that a device reported outside any call of ours. */
export interface GpuErrorRecord {
  /** `validation`, `out-of-memory`, `internal`, or `lost`. */
  readonly kind: string;
  readonly message: string;
}

const records: GpuErrorRecord[] = [];
const listeners = new Set<(record: GpuErrorRecord) => void>();
let dropped = 0;

/** More than this says nothing new, and a bad shader repeats its error at every dispatch. */
const MAX_RECORDS = 100;

/** Notes an error; the first {@link MAX_RECORDS} are kept, the rest counted. */
export function recordGpuError(record: GpuErrorRecord): void {
  if (records.length < MAX_RECORDS) records.push(record);
  else dropped++;
  for (const listener of listeners) listener(record);
}

/** Everything devices have reported since the last {@link clearGpuErrors}, oldest first. */
export function gpuErrors(): readonly GpuErrorRecord[] {
  return dropped === 0
    ? [...records]
    : [...records, { kind: "internal", message: `… and ${dropped} more GPU errors` }];
}

/** Empties the record. */
export function clearGpuErrors(): void {
  records.length = 0;
  dropped = 0;
}

/** Calls `listener` for each new error, and returns the function that stops that. */
export function onGpuError(listener: (record: GpuErrorRecord) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * Throws if any device has reported an error.
 *
 * @throws {Error} with the first errors in its message.
 */
export function assertNoGpuErrors(): void {
  const all = gpuErrors();
  if (all.length === 0) return;
  const shown = all.slice(0, 3).map((e) => `${e.kind}: ${e.message}`).join("\n");
  throw new Error(`The GPU device reported ${all.length} error(s):\n${shown}`);
}

function kindOf(error: GPUError): string {
  if (error instanceof GPUValidationError) return "validation";
  if (error instanceof GPUOutOfMemoryError) return "out-of-memory";
  return "internal";
}

/** Listens to a device for as long as it lives. `isWanted` tells our own `destroy()` from a loss. */
export function watchDevice(device: GPUDevice, isWanted: () => boolean): void {
  device.addEventListener("uncapturederror", (event) => {
    event.preventDefault();
    const { error } = event as GPUUncapturedErrorEvent;
    recordGpuError({ kind: kindOf(error), message: error.message });
  });
  device.lost.then((info) => {
    if (isWanted()) return;
    recordGpuError({
      kind: "lost",
      message: `the device was lost (${info.reason}): ${info.message}`,
    });
  });
}
