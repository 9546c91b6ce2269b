/**
 * The error of a run whose step could not be done: memory ran out, the device was lost, or it
 * reported an error. What a run can continue from is on disk.
 *
 * @module
 */
import { writeTextAtomically } from "../../atomic_write.ts";
import { activeBackend } from "../../device/backend.ts";
import { assertNoGpuErrors, DeviceLostError, GpuReportedError } from "../../device/gpu_errors.ts";
import { MemoryError } from "../../device/out_of_memory.ts";
import { newestWithState } from "../checkpoint/model_alone.ts";
import type { BatchSize, TrainingMethod } from "./training_method.ts";

/** A device reports a loss or an error some time after the operation that failed. */
const REPORT_MS = 50;

/** A run that ended in the middle; `cause` is what happened. */
export class StepFailedError extends Error {
  override readonly name = "StepFailedError";
}

/** Where it happened. */
export interface FailedStep {
  readonly outputDir: string;
  /** The step that failed, from 1. */
  readonly step: number;
  readonly method: Pick<TrainingMethod, "describeLastBatch" | "lastBatchSize">;
}

/** What went wrong on the device, if that is what `error` comes from. */
export async function deviceFailure(error: unknown): Promise<Error | null> {
  if (error instanceof MemoryError || error instanceof DeviceLostError) return error;
  if (activeBackend()?.name !== "webgpu") return null;
  await new Promise((resolve) => setTimeout(resolve, REPORT_MS));
  try {
    assertNoGpuErrors();
    return null;
  } catch (reported) {
    return reported instanceof Error ? reported : null;
  }
}

/** The size of a batch in words: `4 rows with 310 tokens and 4 tiles`. */
export function describeSize({ rows, tokens, tiles }: BatchSize): string {
  const pictures = tiles > 0 ? ` and ${tiles} tile${tiles > 1 ? "s" : ""}` : "";
  return `${rows} row${rows > 1 ? "s" : ""} with ${tokens} tokens${pictures}`;
}

/** Keeps the batch in a file, and says where and how large it is. */
async function batchWords({ outputDir, step, method }: FailedStep): Promise<string> {
  const size = method.lastBatchSize;
  if (!size || size.rows === 0) return "It happened before the step's batch was complete.";
  const file = `${outputDir}/failed-step-${step}.json`;
  const text = JSON.stringify({ step, size, batch: method.describeLastBatch() }, null, 1);
  const kept = await writeTextAtomically(file, text)
    .then(() => `it is in ${file}`, (fault) => `it could not be kept: ${fault}`);
  return `A micro-batch of the step has ${describeSize(size)}; ${kept}.`;
}

/** What is on disk, and how to continue from it. */
async function remains(outputDir: string): Promise<string> {
  const newest = await newestWithState(outputDir);
  return newest === null
    ? "There is no checkpoint yet that a run can go on from: start again"
    : `Everything up to step ${newest.step} is whole in ${newest.path}: go on with the same ` +
      `command and --resume ${newest.path}`;
}

/**
 * Says at which step and on which batch memory ran out or the device failed, and what is saved.
 *
 * @param error what was thrown
 * @returns to be thrown: a {@linkcode StepFailedError}, or `error` if it has another reason
 */
export async function explainFailure(error: unknown, failed: FailedStep): Promise<unknown> {
  const cause = await deviceFailure(error);
  if (cause === null) return error;
  const { step, outputDir } = failed;
  const batch = cause instanceof MemoryError || cause instanceof GpuReportedError
    ? ` ${await batchWords(failed)}`
    : "";
  const message = cause.message.replace(/\.?$/, ".");
  return new StepFailedError(
    `Training stopped at step ${step}: ${message}${batch} ${await remains(outputDir)}`,
    { cause },
  );
}
