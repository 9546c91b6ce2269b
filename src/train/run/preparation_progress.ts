import { Progress } from "../../report/terminal/progress.ts";

/** Shows the progress of work that comes before training. */
export interface PreparationProgress {
  readonly update: (done: number, total: number) => void;
  readonly finish: () => void;
}

/**
 * The progress of work before training: a line when it begins, then a bar.
 *
 * @param label for the bar
 * @param begins the line
 */
export function preparationProgress(
  label: string,
  begins: (total: number) => string,
): PreparationProgress {
  const progress = new Progress(label);
  let begun = false;
  return {
    update(step, totalSteps) {
      if (!begun) progress.print(begins(totalSteps));
      begun = true;
      progress.update({ step, totalSteps });
    },
    finish: () => progress.finish(),
  };
}
