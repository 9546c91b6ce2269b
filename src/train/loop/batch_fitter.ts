/**
 * `training.auto_find_batch_size`: if memory runs out in a step, the step is done again in smaller
 * micro-batches. The batch of the step keeps its rows, so that loss and gradient stay the same; what
 * grows is the accumulation. accelerate's `find_executable_batch_size` begins the training again with
 * a smaller batch.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { TrainingSection } from "../../config/types/config_types.ts";
import { activeBackend } from "../../device/backend.ts";
import { assertNoGpuErrors, clearGpuErrors } from "../../device/gpu_errors.ts";
import { destroyFreeGpuBuffers } from "../../device/memory.ts";
import { MemoryError } from "../../device/out_of_memory.ts";
import { type Ranks, sumNumbers } from "../../distributed/ranks.ts";
import type { TfjsWebgpuBackend } from "../../ops/webgpu/runtime/tfjs_backend.ts";
import { describeSize, deviceFailure } from "./step_failure.ts";
import {
  StepAborted,
  type StepContext,
  type StepOutcome,
  type TrainingMethod,
} from "./training_method.ts";

/** What a fitter needs of the trainer. */
export interface BatchFitterOptions {
  readonly training: TrainingSection;
  readonly method: TrainingMethod;
  readonly ranks: Ranks;
  /** Tells the user. */
  readonly warn: (text: string) => void;
}

/** Memory ran out on another rank than this one. */
class OtherRankMemoryError extends MemoryError {
  override readonly name = "OtherRankMemoryError";

  constructor() {
    super("Memory ran out on another rank");
  }
}

/** What ran out of memory, if that is where `error` comes from. */
async function lackOfMemory(error: unknown): Promise<MemoryError | null> {
  const cause = await deviceFailure(error);
  return cause instanceof MemoryError ? cause : null;
}

/** The part of tfjs's WebGPU backend that submits what was recorded. */
type CommandRecorder = Pick<
  TfjsWebgpuBackend,
  "ensureCommandEncoderReady" | "endComputePassEncoder" | "submitQueue"
>;

/** Waits until the GPU has done what was recorded. @returns whether there is a GPU */
async function settled(): Promise<boolean> {
  const backend = activeBackend();
  if (backend?.name !== "webgpu") return false;
  const recorder = tf.backend() as unknown as CommandRecorder;
  recorder.ensureCommandEncoderReady(); // the last submission may have left none
  recorder.endComputePassEncoder();
  recorder.submitQueue();
  await backend.device?.queue.onSubmittedWorkDone();
  return true;
}

/** Brings a device whose memory ran out back to where it works: its tensors are freed already. */
async function recoverDevice(): Promise<void> {
  if (!await settled()) return;
  destroyFreeGpuBuffers();
  clearGpuErrors();
}

/** Waits until the device has done what it was given. @throws {MemoryError} if its memory ran out */
async function settleDevice(): Promise<void> {
  if (await settled()) assertNoGpuErrors();
}

/** Finds micro-batches that fit into memory, one of a run. */
export class BatchFitter {
  readonly #options: BatchFitterOptions;
  /** What `together()` threw last, on all ranks. */
  #lack: MemoryError | null = null;

  constructor(options: BatchFitterOptions) {
    this.#options = options;
  }

  get #enabled(): boolean {
    return this.#options.training.auto_find_batch_size;
  }

  /**
   * For the part of a step that each rank computes on its own: if memory runs out on one of them, it
   * ends on all of them.
   *
   * @throws {MemoryError} on every rank, if memory ran out on one
   */
  readonly together = async <T>(compute: () => Promise<T>): Promise<T> => {
    const { ranks } = this.#options;
    if (!this.#enabled) return await compute();
    const done = await Promise.resolve().then(compute).then(async (result) => {
      await settleDevice();
      return { result };
    }).catch(async (error) => {
      const lack = await lackOfMemory(error);
      if (lack === null) throw error;
      return { error: lack };
    });
    const own = "error" in done ? 1 : 0;
    const [short] = await sumNumbers(ranks, [own], "the memory of a step");
    if (short === 0 && !("error" in done)) return done.result;
    this.#lack = "error" in done ? done.error : new OtherRankMemoryError();
    throw this.#lack;
  };

  /**
   * Does a step, in smaller micro-batches if memory runs out, until it fits or a micro-batch has one
   * row.
   *
   * @returns what it did, or that it was aborted
   * @throws {MemoryError} if a micro-batch of one row does not fit
   */
  async step(context: StepContext): Promise<StepOutcome | StepAborted> {
    const { method, warn } = this.#options;
    const { accumulator, step } = context;
    const before = this.#enabled ? method.state() : {};
    for (;;) {
      try {
        return await method.step({ ...context, together: this.together });
      } catch (error) {
        if (error instanceof StepAborted) return error;
        const lack = await this.#commonLack(error);
        if (lack === null) throw error;
        const size = method.lastBatchSize;
        const what = size ? describeSize(size) : "a micro-batch";
        const found = method.shrinkMicroBatches?.() ?? null;
        if (found === null) throw error;
        accumulator.reset();
        await recoverDevice();
        method.restore({ ...before, microBatchSize: found.rows });
        warn(this.#message({ number: step + 1, what, error: lack, ...found }));
      }
    }
  }

  /** What ran out of memory, if all ranks know of it. */
  async #commonLack(error: unknown): Promise<MemoryError | null> {
    if (!this.#enabled) return null;
    if (this.#options.ranks.size === 1) return await lackOfMemory(error);
    return error === this.#lack ? this.#lack : null;
  }

  #message({ number, what, error, rows, before }: {
    readonly number: number;
    readonly what: string;
    readonly error: MemoryError;
    readonly rows: number;
    readonly before: number;
  }): string {
    const { training, ranks } = this.#options;
    const whole = training.per_device_train_batch_size * training.gradient_accumulation_steps;
    const accumulation = Math.ceil(whole / rows / ranks.size);
    const [reason] = error.message.split(/\. |\n/);
    return `auto_find_batch_size: memory ran out in step ${number} at a micro-batch of ${what} ` +
      `(${reason}). Micro-batches have ${rows} row${rows > 1 ? "s" : ""} from here on, not ` +
      `${before}; the step is done again, with all of its ${whole} rows, and nothing is lost. To ` +
      `begin with that: training.per_device_train_batch_size=${rows} and ` +
      `training.gradient_accumulation_steps=${accumulation}`;
  }

  /**
   * Waits for an update, so that a lack of memory in it is not taken for one of the next step.
   *
   * @throws {MemoryError} if memory ran out in the update: weights may be wrong, and the run ends
   */
  async settleUpdate(): Promise<void> {
    if (this.#enabled) await settleDevice();
  }
}
