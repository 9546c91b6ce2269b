/**
 * One line of metrics.jsonl: the optimizer step and whatever was measured at it, under the names
 * that Transformers' Trainer and TRL use (`loss`, `eval_loss`, `rewards/NAME/mean`, …).
 *
 * Numbers that are not finite are written as null, because JSON cannot express them.
 */
export interface MetricsRecord {
  /** Optimizer steps done when this was measured; 0 is before the first. */
  step: number;
  [metric: string]: number | string | null;
}

/**
 * The metrics of a record that can be drawn: its finite numbers, without the step.
 *
 * @param record one measured record
 * @returns name and value, in the record's order
 */
export function numericMetrics(record: MetricsRecord): [string, number][] {
  return Object.entries(record).filter((entry): entry is [string, number] =>
    entry[0] !== "step" && typeof entry[1] === "number" && Number.isFinite(entry[1])
  );
}
