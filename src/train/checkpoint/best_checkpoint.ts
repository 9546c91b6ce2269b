/**
 * Which checkpoint did best in its evaluation.
 *
 * @module
 */
import type { TrainingSection } from "../../config/types/config_types.ts";
import type { Parameters } from "../loop/gradients.ts";
import { loadWeights } from "./checkpoint.ts";
import type { TrainerState } from "./transformers_state.ts";

/** The best checkpoint of a run so far. */
export class BestCheckpoint {
  #metric: number | null = null;
  #folder: string | null = null;

  /** @param training the metric to compare, and where the checkpoints are */
  constructor(readonly training: TrainingSection) {}

  /** Null before a checkpoint was evaluated. */
  get folder(): string | null {
    return this.#folder;
  }

  /**
   * Keeps a checkpoint as the best if it is better than the one so far.
   *
   * @param folder the checkpoint
   * @param evaluation metrics of its weights
   */
  offer(folder: string, evaluation: Readonly<Record<string, number>>): void {
    const { metric_for_best_model, greater_is_better } = this.training;
    const metric = metricOf(evaluation, metric_for_best_model);
    const better = this.#metric === null ||
      (greater_is_better ? metric > this.#metric : metric < this.#metric);
    if (!better) return;
    this.#metric = metric;
    this.#folder = folder;
  }

  /**
   * Loads the best checkpoint's weights.
   *
   * @returns false if no checkpoint was evaluated
   */
  async load(parameters: Parameters): Promise<boolean> {
    // The folder may have been moved since the checkpoint was written.
    const name = this.#folder?.split(/[/\\]/).at(-1);
    if (name === undefined) return false;
    await loadWeights(`${this.training.output_dir}/${name}`, parameters);
    return true;
  }

  /** For a checkpoint. */
  state(): Pick<TrainerState, "best_metric" | "best_model_checkpoint"> {
    return { best_metric: this.#metric, best_model_checkpoint: this.#folder };
  }

  /** From a checkpoint. */
  restore(state: Pick<TrainerState, "best_metric" | "best_model_checkpoint">): void {
    this.#metric = state.best_metric;
    this.#folder = state.best_model_checkpoint;
  }
}

/**
 * A metric of an evaluation by its name.
 *
 * @param name with or without `eval_` in front
 * @throws {Error} if there is none, with the names of those there are
 */
export function metricOf(metrics: Readonly<Record<string, number>>, name: string): number {
  const value = metrics[name.startsWith("eval_") ? name : `eval_${name}`];
  if (value !== undefined) return value;
  throw new Error(
    `Cannot compare checkpoints: metric_for_best_model is ${name}, an evaluation gives ` +
      Object.keys(metrics).join(", "),
  );
}
