/**
 * The error of a run whose loss, gradients or weights stopped being numbers.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { writeTextAtomically } from "../../atomic_write.ts";
import { newestCheckpoint } from "../checkpoint/checkpoint_folder.ts";
import { firstBadValue } from "../optimizer/first_bad_tensor.ts";
import { NonFiniteError } from "../optimizer/optimizer.ts";

/** Where and on what it happened. */
export interface Divergence {
  readonly outputDir: string;
  /** The step that failed, from 1. */
  readonly step: number;
  /** What the step was computed on, as JSON. */
  readonly batch: unknown;
  /** Every weight, in the order in which the model uses them. */
  readonly weights: ReadonlyMap<string, tf.Tensor>;
  /** Whether this process has changed the weights since it loaded them. */
  readonly updated: boolean;
  /** Whether products were rounded to float16, whose range is small. */
  readonly inFloat16?: boolean;
}

/**
 * Finds the first bad weight, keeps the batch in `nonfinite-step-N.json` of the output folder, and
 * says both, with the checkpoint to return to.
 *
 * @param error what was noticed
 * @returns to be thrown
 */
export async function divergedError(
  error: NonFiniteError,
  { outputDir, step, batch, weights, updated, inFloat16 }: Divergence,
): Promise<NonFiniteError> {
  const newest = await newestCheckpoint(outputDir);
  const file = `${outputDir}/nonfinite-step-${step}.json`;
  const kept = await writeTextAtomically(file, JSON.stringify({ step, batch }, null, 1))
    .then(() => `The batch is in ${file}`, (fault) => `The batch could not be kept: ${fault}`);
  const bad = await firstBadValue(weights);
  const what = bad === null
    ? error.message
    : `the weight ${bad.name} is ${bad.value} at element ${bad.index} (${error.message})`;
  return new NonFiniteError(
    `Training stopped at step ${step}: ${what}. ${kept}; ` +
      (newest ? `the last good checkpoint is ${newest.path}. ` : "there is no checkpoint yet. ") +
      (bad !== null && !updated
        ? "The weights were so before the first step: get the model again."
        : inFloat16
        ? "Nothing above 65,504 is finite in fp16: set training.bf16=true instead, which has the " +
          "range of float32, or lower the learning rate."
        : "Lower the learning rate, or raise warmup_steps."),
    bad?.name ?? error.tensor,
  );
}
