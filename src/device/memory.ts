/**
 * Counts live bytes: Deno's garbage collector does not see GPU memory.
 * @module
 */
import type { BufferPool } from "./buffer_pool.ts";

let ownBytes = 0;
let pool: BufferPool | null = null;

/** Adds GPU bytes that we allocated outside tfjs; a negative number subtracts. */
export function countGpuBytes(delta: number): void {
  ownBytes += delta;
}

/** Sets the pool of the running device; null: there is no device. */
export function countGpuPool(current: BufferPool | null): void {
  pool = current;
  ownBytes = 0;
}

/** Destroys the buffers that no tensor uses; all recorded commands must have been submitted. */
export function destroyFreeGpuBuffers(): void {
  pool?.destroyFree();
}

/** GPU bytes in live buffers, tfjs's and ours; 0 on backends without a GPU. */
export function gpuBytes(): number {
  return (pool?.numBytesUsed ?? 0) + ownBytes;
}

/** GPU bytes that are allocated, free buffers included. */
export function allocatedGpuBytes(): number {
  return (pool?.numBytesAllocated ?? 0) + ownBytes;
}

/** The most GPU bytes that were in use at once since the device was created. */
export function peakGpuBytes(): number {
  return (pool?.peakBytesUsed ?? 0) + ownBytes;
}

/** The GPU memory for metrics.jsonl; empty if no GPU is used. */
export function gpuMemoryMetrics(): Record<string, number> {
  if (pool === null) return {};
  return {
    peak_gpu_memory_bytes: peakGpuBytes(),
    gpu_memory_used_bytes: gpuBytes(),
    gpu_memory_allocated_bytes: allocatedGpuBytes(),
  };
}
