import type { TrainingMethod } from "../../src/train/loop/training_method.ts";

/** A method some of whose functions are others. */
export function methodWith(
  method: TrainingMethod,
  others: Partial<TrainingMethod>,
): TrainingMethod {
  return {
    name: method.name,
    data: method.data,
    stepsPerEpoch: method.stepsPerEpoch,
    step: (context) => method.step(context),
    evaluate: (signal) => method.evaluate(signal),
    describeLastBatch: () => method.describeLastBatch(),
    state: () => method.state(),
    restore: (state, exact) => method.restore(state, exact),
    skippedRows: () => method.skippedRows(),
    release: () => method.release(),
    ...others,
  };
}
