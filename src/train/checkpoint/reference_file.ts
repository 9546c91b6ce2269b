/**
 * `reference.safetensors` of a checkpoint: the reference policy of a run in which it follows the
 * policy.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../device/read_back.ts";
import { readSafetensors, writeSafetensors } from "../../model/safetensors/safetensors.ts";
import type { Parameters } from "../loop/gradients.ts";
import { CheckpointError } from "./checkpoint_error.ts";

/** Name of the file. */
export const REFERENCE_FILE = "reference.safetensors";

/**
 * Writes the reference into a checkpoint's folder.
 *
 * @param reference tensors by the names of the model's; empty: there is nothing to write
 */
export async function saveReference(folder: string, reference: Parameters): Promise<void> {
  if (reference.size === 0) return;
  const entries = [];
  for (const [name, tensor] of reference) {
    const [data] = await readBack([tensor]) as [Float32Array];
    entries.push({ name, shape: tensor.shape, data: data.slice() });
  }
  await writeSafetensors(`${folder}/${REFERENCE_FILE}`, entries, { dtype: "F32" });
}

/**
 * Assigns the reference of a checkpoint.
 *
 * @param reference what the resumed run keeps; empty: nothing happens
 * @param exact false: a checkpoint without a reference leaves the run's own, the model that it
 *   started from
 * @throws {CheckpointError} if the checkpoint has no reference that fits
 */
export async function loadReference(
  folder: string,
  reference: Parameters,
  exact: boolean,
): Promise<void> {
  if (reference.size === 0) return;
  const path = `${folder}/${REFERENCE_FILE}`;
  if (!await Deno.stat(path).then(() => true, () => false)) {
    if (!exact) return;
    throw new CheckpointError(
      `Cannot resume from ${folder}: it has no ${REFERENCE_FILE}, and the reference follows the ` +
        "policy (sync_ref_model); resume with the run's own config, or set sync_ref_model to false",
    );
  }
  const found = await readSafetensors(path);
  for (const [name, variable] of reference) {
    const data = found.get(name)?.data;
    if (!(data instanceof Float32Array) || data.length !== variable.size) {
      throw new CheckpointError(
        `Cannot resume from ${folder}: its ${REFERENCE_FILE} has ` +
          `${data === undefined ? "no" : `${data.length} numbers of`} ${name}, want ` +
          `[${variable.shape}] in float32; was it written by another config?`,
      );
    }
  }
  for (const [name, variable] of reference) {
    const data = found.get(name)!.data as Float32Array;
    tf.tidy(() => variable.assign(tf.tensor(data, variable.shape)));
  }
}
