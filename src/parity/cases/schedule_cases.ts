/**
 * Replays `train/schedulers.json`: the multipliers of Transformers' schedulers.
 *
 * @module
 */
import {
  createSchedule,
  type ScheduleArguments,
  type ScheduleName,
} from "../../train/optimizer/schedules.ts";
import { compareNumbers, readRecorded, type RecordedNumber } from "../compare_numbers.ts";
import type { ParityResult } from "../result.ts";

interface SchedulersFile {
  base_lr: number;
  cases: {
    name: ScheduleName;
    num_warmup_steps: number;
    num_training_steps: number;
    kwargs: ScheduleArguments;
    multipliers: RecordedNumber[];
  }[];
  nanovlm_train_py_get_lr?: {
    max_lr: number;
    max_steps: number;
    warmup_ratio: number;
    values: RecordedNumber[];
  };
}

/**
 * Replays every recorded schedule.
 *
 * @param directory the fixtures folder
 * @returns one result a case, multipliers compared with an absolute tolerance of 1e-9
 */
export async function replayScheduleCases(directory: string): Promise<ParityResult[]> {
  const file: SchedulersFile = JSON.parse(
    await Deno.readTextFile(`${directory}/train/schedulers.json`),
  );
  const results = file.cases.map((recorded) => {
    const schedule = createSchedule({
      name: recorded.name,
      warmupSteps: recorded.num_warmup_steps,
      totalSteps: recorded.num_training_steps,
      baseLearningRate: file.base_lr,
      arguments: recorded.kwargs,
    });
    const settings = { steps: recorded.num_training_steps, warmup: recorded.num_warmup_steps };
    return compareNumbers(
      `schedulers/${recorded.name} ${JSON.stringify({ ...settings, ...recorded.kwargs })}`,
      "multipliers",
      recorded.multipliers.map((_, step) => schedule.multiplier(step)),
      recorded.multipliers.map(readRecorded),
      { absolute: 1e-9 },
    );
  });
  const own = file.nanovlm_train_py_get_lr;
  if (own !== undefined) {
    const schedule = createSchedule({
      name: "nanovlm_cosine",
      warmupSteps: Math.floor(own.max_steps * own.warmup_ratio), // train.py rounds down
      totalSteps: own.max_steps,
      baseLearningRate: own.max_lr,
    });
    results.push(compareNumbers(
      "schedulers/nanovlm_cosine",
      "multipliers",
      own.values.map((_, step) => own.max_lr * schedule.multiplier(step)),
      own.values.map(readRecorded),
      { absolute: 1e-9 },
    ));
  }
  return results;
}
