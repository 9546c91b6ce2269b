/**
 * What `train --dry-run` found, and how it is told.
 *
 * @module
 */
import { type PlannedRun, plannedRunLines } from "./planned_run.ts";
import type { EstimateInputs, StepMemory } from "./memory_estimate.ts";

/** What a dry run found. */
export interface DryRunReport {
  /** How long the run will be. */
  readonly plan: PlannedRun;
  readonly backend: string;
  /** Where the weights came from. */
  readonly model: string;
  readonly parameters: number;
  readonly trained: number;
  /** Examples to train on and held out; null: not known, or none. */
  readonly examples: { readonly train: number | null; readonly evaluation: number | null };
  /** How many rows have pictures, in words. */
  readonly pictures: string;
  readonly skipped: number;
  /** Why, with places: a line for each reason. */
  readonly skippedReasons: string;
  /** Examples among which the longest were looked for. */
  readonly looked: number;
  /** The longest batch. */
  readonly batch: { readonly rows: number; readonly tokens: number; readonly tiles: number };
  readonly estimate: StepMemory;
  /** What the estimate was computed from. */
  readonly estimatedFrom: EstimateInputs;
  /** Bytes of live tensors; `pass`: the most during forward and backward, gradients included. */
  readonly measured: {
    readonly weights: number;
    readonly gradients: number;
    readonly pass: number;
    /** Of buffers in use on the GPU, at the peak, without moments; 0 if there is none. */
    readonly gpu: number;
    /** Of the whole process, as the system sees it. */
    readonly process: number;
  };
  readonly loss: number;
  readonly gradNorm: number;
  readonly seconds: number;
  readonly warnings: readonly string[];
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** The report as lines for the terminal. */
export function dryRunLines(report: DryRunReport): string[] {
  const { estimate, measured, batch, examples } = report;
  const { weights, gradients, moments, reference, activations } = estimate;
  const { logits, generation, entropies } = estimate;
  const lasting = moments + reference;
  const row = (part: string, estimated: number, seen?: number) =>
    `  ${part.padEnd(36)} ${mebibytes(estimated).padStart(12)} ${
      (seen === undefined ? "" : mebibytes(seen)).padStart(12)
    }`;
  const optional = (part: string, estimated: number) => estimated > 0 ? [row(part, estimated)] : [];
  return [
    `model: ${report.model}, ${report.parameters} parameters, ${report.trained} of them train`,
    `data: ${examples.train ?? "unknown"} examples to train on, ${
      examples.evaluation ?? "none"
    } held out, ${report.skipped} skipped; with pictures: ${report.pictures}`,
    ...(report.skippedReasons === "" ? [] : [`skipped:\n${report.skippedReasons}`]),
    ...plannedRunLines(report.plan, report.seconds),
    `longest batch of ${report.looked} examples: ${batch.rows} rows with ${batch.tokens} tokens, ` +
    `${batch.tiles} tiles; loss ${report.loss.toFixed(4)}, gradient norm ${
      report.gradNorm.toFixed(4)
    }, ${report.seconds.toFixed(1)} s`,
    `  ${"memory".padEnd(36)} ${"estimated".padStart(12)} ${"measured".padStart(12)}`,
    row("weights", weights, measured.weights),
    row("optimizer's state", moments),
    ...optional("a reference or a teacher", reference),
    row("gradients", gradients, measured.gradients),
    row("activations of the longest batch", activations),
    ...optional("logits of a chunk", logits),
    ...optional("keys and values while sampling", generation),
    ...optional("logits for entropies", entropies),
    row("forward and backward, at the peak", estimate.pass, measured.pass),
    ...optional("waiting for the GPU, textures", estimate.waiting),
    ...(estimate.gpu > 0
      ? [row("in all, on the GPU", estimate.gpu, measured.gpu > 0 ? measured.gpu + moments : 0)]
      : [
        row(
          "in all",
          weights + lasting + estimate.pass,
          measured.weights + lasting + measured.pass,
        ),
      ]),
    row("the whole process", estimate.process, measured.process),
    "nothing was trained and nothing written",
  ];
}
