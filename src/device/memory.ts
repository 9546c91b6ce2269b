/**
 * Live bytes, counted by us: Deno's garbage collector does not see GPU memory.
 * @module
 */
import type { BufferPool } from "./buffer_pool.ts";

let ownBytes = 0;
let pool: BufferPool | null = null;

/** Adds (or with a negative number takes away) GPU bytes that we allocated past tfjs. */
export function countGpuBytes(delta: number): void {
  ownBytes += delta;
}

/** Names the pool of the device that runs; null: there is none, and nothing of ours is on it. */
export function countGpuPool(current: BufferPool | null): void {
  pool = current;
  ownBytes = 0;
}

/** GPU bytes in live buffers, tfjs's and ours; 0 on backends without a GPU. */
export function gpuBytes(): number {
  return (pool?.numBytesUsed ?? 0) + ownBytes;
}

/** GPU bytes that are allocated, buffers that wait to be used again included. */
export function allocatedGpuBytes(): number {
  return (pool?.numBytesAllocated ?? 0) + ownBytes;
}

/** The most GPU bytes that were in use at once since {@linkcode resetPeakGpuBytes}. */
export function peakGpuBytes(): number {
  return (pool?.peakBytesUsed ?? 0) + ownBytes;
}

/** Starts {@linkcode peakGpuBytes} anew. */
export function resetPeakGpuBytes(): void {
  pool?.resetPeak();
}

/** What metrics.jsonl says of the GPU's memory; nothing where no GPU computes. */
export function gpuMemoryMetrics(): Record<string, number> {
  if (pool === null) return {};
  return {
    peak_gpu_memory_bytes: peakGpuBytes(),
    gpu_memory_used_bytes: gpuBytes(),
    gpu_memory_allocated_bytes: allocatedGpuBytes(),
  };
}
