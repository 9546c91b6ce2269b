/**
 * Switches the WGSL kernels off, to compare with the composites of tfjs ops.
 * @module
 */

let enabled = true;

/** False inside {@linkcode withoutGpuKernels}. */
export function areGpuKernelsOn(): boolean {
  return enabled;
}

/** Runs `f` with tfjs's own kernels only. */
export async function withoutGpuKernels<T>(f: () => Promise<T>): Promise<T> {
  enabled = false;
  try {
    return await f();
  } finally {
    enabled = true;
  }
}
