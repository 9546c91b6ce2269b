/**
 * Whether the WGSL kernels run, or the composites of tfjs ops that they are measured against.
 * @module
 */

let enabled = true;

/** True but within {@linkcode withoutGpuKernels}. */
export function areGpuKernelsOn(): boolean {
  return enabled;
}

/** Runs `f` on stock tfjs alone. */
export async function withoutGpuKernels<T>(f: () => Promise<T>): Promise<T> {
  enabled = false;
  try {
    return await f();
  } finally {
    enabled = true;
  }
}
