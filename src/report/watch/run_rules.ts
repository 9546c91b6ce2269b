/**
 * When a run goes wrong. A rule must be quiet in a healthy run, noise included, and is no longer met
 * once the run recovers.
 *
 * @module
 */
import type { MetricsRecord } from "../files/metrics_record.ts";
import type { Concern, RunHistory } from "./concern.ts";

/** Records whose mean is compared, so that a single batch does not decide. */
const WINDOW = 3;

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

const variance = (values: readonly number[]): number => {
  const middle = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - middle) ** 2, 0);
  return values.length < 2 ? 0 : squares / (values.length - 1);
};

const show = (value: number): string => String(Number(value.toPrecision(3)));

/** Values of a metric, records without it left out. */
function valuesOf(records: readonly MetricsRecord[], name: string): number[] {
  return records.map(({ [name]: value }) => value).filter((value) => typeof value === "number");
}

/** Losses of SFT and DPO: GRPO's loss is about 0 whatever the policy does. */
function lossesOf({ logs }: RunHistory): number[] {
  return valuesOf(logs.filter((record) => !("reward" in record)), "loss");
}

/** The last two losses are far above the first one. */
export function explodingLoss(history: RunHistory): Concern | null {
  const losses = lossesOf(history);
  const [first] = losses;
  const last = losses.slice(-2);
  const limit = first + 0.5 * Math.abs(first) + 0.1;
  if (losses.length < 3 || !last.every((loss) => loss > limit)) return null;
  return {
    name: "loss_exploding",
    text: `The loss explodes: it was ${show(first)} at first and is ${show(last[1])} now; lower ` +
      "training.learning_rate (by 10), raise training.warmup_steps, or set " +
      "training.max_grad_norm to 1",
  };
}

/** The mean of the last losses is well above the lowest one. */
export function risingLoss(history: RunHistory): Concern | null {
  const losses = lossesOf(history);
  if (losses.length < 2 * WINDOW || explodingLoss(history) !== null) return null;
  const means = losses.slice(WINDOW - 1)
    .map((_, i) => mean(losses.slice(i, i + WINDOW)));
  const last = means.at(-1)!;
  const lowest = Math.min(...means.slice(0, -WINDOW));
  const rise = Math.max(0.25 * Math.abs(lowest), 0.05 * Math.abs(losses[0]));
  if (last <= lowest + rise) return null;
  return {
    name: "loss_rising",
    text: `The loss rises: its mean over ${WINDOW} logs was ${show(lowest)} and is ${show(last)} ` +
      "now; lower training.learning_rate, or choose a schedule that decays " +
      "(training.lr_scheduler_type: cosine)",
  };
}

/**
 * A tenth of the run or later, the second half of the logs is less than 2 % below the first one, and
 * the difference is within the noise.
 */
export function nothingLearnt(history: RunHistory): Concern | null {
  const losses = lossesOf(history);
  const step = history.logs.at(-1)?.step ?? 0;
  if (losses.length < 4 || step < history.totalSteps / 10) return null;
  const half = Math.floor(losses.length / 2);
  const before = mean(losses.slice(0, half)), after = mean(losses.slice(-half));
  // A run that begins where another ended has nothing left to learn.
  if (Math.abs(before) < 0.01) return null;
  const noise = Math.sqrt((variance(losses.slice(0, half)) + variance(losses.slice(-half))) / half);
  const fall = before - after;
  if (fall >= 0.02 * Math.abs(before)) return null;
  if (fall >= Math.max(noise, 1e-4 * Math.abs(before))) return null;
  if (explodingLoss(history) !== null || risingLoss(history) !== null) return null;
  return {
    name: "nothing_learnt",
    text:
      `Nothing is learnt: the loss was ${show(before)} and is ${show(after)} after ${step} of ` +
      `${history.totalSteps} steps; raise training.learning_rate (by 10), shorten the warmup, or ` +
      "look at the rows with --dry-run",
  };
}

/** The last two logs say that the gradient is 0. */
export function zeroGradient({ logs }: RunHistory): Concern | null {
  // GRPO's gradient is 0 if no group has a spread, of which the reward watch warns.
  const norms = valuesOf(logs.filter((record) => !("reward" in record)), "grad_norm").slice(-2);
  if (norms.length < 2 || norms.some((norm) => norm !== 0)) return null;
  return {
    name: "gradient_zero",
    text: "Every gradient is 0, so that nothing changes: what trains has no part in the answers. " +
      "Do the rows have pictures if only the projector or the vision encoder trains? Set " +
      "training.lr_language_backbone, or model.use_lora with training.lr_lora, above 0",
  };
}

/** The last two logs say that every learning rate is 0; a warmup begins with one such step. */
export function zeroLearningRate({ logs }: RunHistory): Concern | null {
  const last = logs.slice(-2);
  const isZero = (record: MetricsRecord) => {
    const rates = Object.entries(record).filter(([name]) => /^learning_rate(\/|$)/.test(name));
    return rates.length > 0 && rates.every(([, rate]) => rate === 0);
  };
  if (last.length < 2 || !last.every(isZero)) return null;
  return {
    name: "learning_rate_zero",
    text: `The learning rate is 0 since step ${last[0].step}, so that nothing changes: let the ` +
      "schedule reach to the last step (training.lr_scheduler_kwargs, training.warmup_steps), or " +
      "give it a minimum",
  };
}

/** The held-out loss is above its lowest value in two evaluations after that one. */
export function risingHeldOutLoss({ evaluations }: RunHistory): Concern | null {
  const measured = evaluations.filter(({ eval_loss }) => Number.isFinite(eval_loss));
  const losses = valuesOf(measured, "eval_loss");
  const lowest = Math.min(...losses);
  const best = losses.indexOf(lowest);
  const [before, last] = losses.slice(-2);
  const margin = (share: number) => lowest + Math.max(share * Math.abs(lowest), 0.005);
  if (losses.length < 3 || best > losses.length - 3) return null;
  if (before <= margin(0.02) || last <= margin(0.05)) return null;
  return {
    name: "held_out_loss_rising",
    text: `The held-out loss rises: ${show(lowest)} at step ${measured[best].step}, ` +
      `${show(last)} now; the model learns the training rows by heart. Stop earlier ` +
      "(training.load_best_model_at_end), take more rows, or lower the learning rate",
  };
}

/** Every sample has the same answer, though different ones are expected. */
export function answersAlike({ evaluations, samples, totalSteps }: RunHistory): Concern | null {
  const step = evaluations.at(-1)?.step ?? 0;
  // The answers of a pair are those of the data, not of the model.
  const written = samples.filter(({ expected, pair }) => expected !== null && pair === undefined);
  if (written.length < 4 || step < totalSteps / 10) return null;
  const answers = new Set(written.map(({ answer }) => answer.trim()));
  const expected = new Set(written.map(({ expected }) => expected?.trim()));
  if (answers.size > 1 || expected.size < 2) return null;
  const [answer] = answers;
  return {
    name: "answers_alike",
    text: `All sample answers are the same, ${JSON.stringify(answer.slice(0, 60))}, though ` +
      `${expected.size} different ones are expected: train longer, try a learning rate 10 times ` +
      "lower or higher, or balance the answers of the rows",
  };
}
