/**
 * Writes the checkpoints of a run.
 *
 * @module
 */
import { assertNoGpuErrors } from "../../device/gpu_errors.ts";
import { onRankZero, type Ranks } from "../../distributed/ranks.ts";
import { saveCheckpoint } from "./checkpoint.ts";
import { listCheckpoints, rotateCheckpoints } from "./checkpoint_folder.ts";
import { holdsModelAlone } from "./model_alone.ts";
import type { BestCheckpoint } from "./best_checkpoint.ts";
import { saveReference } from "./reference_file.ts";
import type { CheckpointState } from "./run_state.ts";
import type { Optimizer } from "../optimizer/optimizer.ts";
import type { Parameters } from "../loop/gradients.ts";
import { checkSameWeights } from "../loop/same_weights.ts";
import type { SaveOptions, TrainerOptions } from "../loop/trainer_options.ts";

/** What checkpoints are made of. */
export interface CheckpointParts {
  readonly options: TrainerOptions;
  readonly ranks: Ranks;
  readonly optimizer: Optimizer;
  /** The reference's tensors, if they change while training. */
  readonly reference: Parameters;
  /** Is offered each checkpoint whose step was evaluated. */
  readonly best: BestCheckpoint;
  /** Metrics of the step's evaluation; null: it was not evaluated. */
  readonly evaluation: () => Readonly<Record<string, number>> | null;
  /** The state of the run; called once the best checkpoint is known. */
  readonly state: (modelAlone: boolean) => CheckpointState;
  /** @throws {NonFiniteError} if the last update made a weight that is not finite */
  readonly checkWeights: () => Promise<void>;
}

/** Writes checkpoints, and removes old ones. */
export class CheckpointSaver {
  readonly #parts: CheckpointParts;

  constructor(parts: CheckpointParts) {
    this.#parts = parts;
  }

  /**
   * Writes a checkpoint now. Of several ranks, all call it and rank 0 writes, once it is certain
   * that all hold the same weights.
   *
   * @param step optimizer steps done
   * @returns its folder
   */
  async save(step: number, options: SaveOptions = {}): Promise<string> {
    if (options.together === false) return await this.#save(step, options);
    const { ranks, optimizer } = this.#parts;
    await checkSameWeights(ranks, optimizer.parameters, `at step ${step}`);
    const save = () => this.#save(step, options);
    return await onRankZero(ranks, `the checkpoint of step ${step}`, save);
  }

  async #save(step: number, { anew = false, whole = false }: SaveOptions): Promise<string> {
    const { options, optimizer, best } = this.#parts;
    const { training, reporter, callbacks, saveModel } = options;
    const { output_dir, save_total_limit } = training;
    const folder = `${output_dir}/checkpoint-${step}`;
    const there = (await listCheckpoints(output_dir)).some((one) => one.step === step);
    if (there && !anew && !(whole && await holdsModelAlone(folder))) return folder;
    await this.#parts.checkWeights();
    assertNoGpuErrors();
    const evaluation = this.#parts.evaluation();
    if (evaluation !== null) best.offer(folder, evaluation);
    const modelAlone = training.save_only_model && !whole;
    await reporter.apart(async () => {
      const save = async (folder: string) => {
        await optimizer.withAverages(() => saveModel(folder));
        if (!modelAlone) await saveReference(folder, this.#parts.reference);
        assertNoGpuErrors(); // What was read after an error may be anything.
      };
      const state = this.#parts.state(modelAlone);
      await saveCheckpoint(output_dir, save, optimizer, state);
      await rotateCheckpoints(output_dir, save_total_limit, best.folder);
    });
    for (const callback of callbacks ?? []) await callback.onSave?.(folder);
    return folder;
  }
}
