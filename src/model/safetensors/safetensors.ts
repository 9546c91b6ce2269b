/**
 * safetensors, the weights format of Hugging Face: reading, writing, shards.
 *
 * @example A file comes back as it was written
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readSafetensors, writeSafetensors } from "./safetensors.ts";
 *
 * const path = await Deno.makeTempFile({ suffix: ".safetensors" });
 * await writeSafetensors(path, [
 *   { name: "w", shape: [2, 2], data: new Float32Array([1, 2, 3, 4]) },
 * ], { dtype: "BF16" });
 * const tensors = await readSafetensors(path);
 * assertEquals(tensors.get("w")?.data, new Float32Array([1, 2, 3, 4]));
 * await Deno.remove(path);
 * ```
 *
 * @module
 */

export {
  BYTES_PER_ELEMENT,
  type SafetensorsDtype,
  SafetensorsError,
  type SafetensorsHeader,
  type TensorEntry,
} from "./header.ts";
export {
  type FloatTensor,
  type HostData,
  type HostTensor,
  readSafetensors,
  readSafetensorsHeader,
  SafetensorsFile,
} from "./reader.ts";
export { type SafetensorsWriteOptions, type TensorToWrite, writeSafetensors } from "./writer.ts";
