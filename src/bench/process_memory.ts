/**
 * The most memory that this process held, as the system counts it.
 *
 * @module
 */

/** Mebibytes at the highest point since the start or {@linkcode resetPeak}; null if unknown. */
export function peakMebibytes(): number | null {
  try {
    const status = Deno.readTextFileSync("/proc/self/status");
    const kibibytes = /^VmHWM:\s+(\d+) kB/m.exec(status)?.[1];
    return kibibytes === undefined ? null : Number(kibibytes) / 1024;
  } catch {
    return null; // Not Linux, or no permission to read there.
  }
}

/** Resets the highest point to what is in use now, if the system allows it. */
export function resetPeak(): void {
  try {
    Deno.writeTextFileSync("/proc/self/clear_refs", "5");
  } catch {
    // Then the peak is that of the process since its start.
  }
}
