/**
 * Errors that a GPU device reports asynchronously: Deno drops them silently if there is no listener.
 * @module
 */
import { allocatedGpuBytes, gpuBytes } from "./memory.ts";
import { GpuOutOfMemoryError } from "./out_of_memory.ts";

/** An error that a device reported outside any call of ours. */
export interface GpuErrorRecord {
  /** `validation`, `out-of-memory`, `internal`, or `lost`. */
  readonly kind: string;
  readonly message: string;
}

/** The device was lost, and with it every tensor on it. */
export class DeviceLostError extends Error {
  override readonly name = "DeviceLostError";

  /** @param report the driver's own words */
  constructor(report: string) {
    super(`The GPU device was lost (${report}), and everything on it`);
  }
}

/** Errors of a device other than its loss or lack of memory: a command was not executed. */
export class GpuReportedError extends Error {
  override readonly name = "GpuReportedError";
}

const records: GpuErrorRecord[] = [];
let dropped = 0;

/** Errors that are kept: a bad shader repeats its error at every dispatch. */
const MAX_RECORDS = 100;

/** Records an error; the first {@link MAX_RECORDS} are kept, the others counted. */
export function recordGpuError(record: GpuErrorRecord): void {
  if (records.length < MAX_RECORDS) records.push(record);
  else dropped++;
}

/** All errors that devices have reported since the last {@link clearGpuErrors}, oldest first. */
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

/**
 * Throws if any device has reported an error.
 *
 * @throws {DeviceLostError} if one was lost
 * @throws {GpuOutOfMemoryError} if memory was short; errors that follow from it are not named
 * @throws {GpuReportedError} with the first errors in its message
 */
export function assertNoGpuErrors(): void {
  const all = gpuErrors();
  if (all.length === 0) return;
  const lost = all.find(({ kind }) => kind === "lost");
  if (lost !== undefined) throw new DeviceLostError(lost.message);
  const short = all.find(({ kind }) => kind === "out-of-memory");
  if (short !== undefined) {
    throw new GpuOutOfMemoryError(gpuBytes(), allocatedGpuBytes(), short.message);
  }
  const shown = all.slice(0, 3).map((e) => `${e.kind}: ${e.message}`).join("\n");
  throw new GpuReportedError(`The GPU device reported ${all.length} error(s):\n${shown}`);
}

function kindOf(error: GPUError): string {
  if (error instanceof GPUValidationError) return "validation";
  if (error instanceof GPUOutOfMemoryError) return "out-of-memory";
  return "internal";
}

/** Listens to a device until its end. `isWanted` distinguishes our own `destroy()` from a loss. */
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
      message: `${info.reason}: ${info.message}`,
    });
  });
}
