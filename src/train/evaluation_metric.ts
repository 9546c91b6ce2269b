/**
 * A metric of an evaluation by its name.
 *
 * @param name with or without `eval_` in front
 * @throws {Error} where there is none, with the names of those there are
 */
export function metricOf(metrics: Readonly<Record<string, number>>, name: string): number {
  const value = metrics[name.startsWith("eval_") ? name : `eval_${name}`];
  if (value !== undefined) return value;
  throw new Error(
    `Cannot compare checkpoints: metric_for_best_model is ${name}, an evaluation gives ` +
      Object.keys(metrics).join(", "),
  );
}
