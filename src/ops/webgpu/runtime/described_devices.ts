/**
 * What is known of a device's adapter beside its limits.
 * @module
 */

/**
 * Buffers that a shader binds, at most: some adapters offer a million, and a shader that chooses
 * among them grows with each.
 */
const MOST_BUFFERS = 64;

const described = new WeakMap<GPUDevice, readonly [isFallback: boolean, buffers: number]>();

/**
 * Describes a device's adapter; without it, the adapter counts as hardware.
 *
 * @param isFallback whether the adapter is software
 * @param buffers the most that a shader may bind, if the device offers them
 */
export function describeDevice(
  device: GPUDevice,
  isFallback: boolean,
  buffers = MOST_BUFFERS,
): void {
  described.set(device, [isFallback, buffers]);
}

/** Whether the adapter of a device is software, and the most buffers that a shader may bind there. */
export function descriptionOf(device: GPUDevice): readonly [isFallback: boolean, buffers: number] {
  return described.get(device) ?? [false, MOST_BUFFERS];
}
