/**
 * One GRPO step on a picture and a prompt of 128 tokens: 8 completions of 64 tokens, their
 * log-probabilities under the reference, and the training pass, by the functions that `train grpo`
 * runs. Rewards cost nothing here.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../device/read_back.ts";
import { generateFromRows } from "../generate/engine.ts";
import { grpoLoss } from "../losses/grpo.ts";
import type { ImageTiles } from "../model/batch.ts";
import { GradientAccumulator } from "../train/loop/gradients.ts";
import {
  completionBatch,
  CompletionGrid,
  policyGradients,
  policyLogProbs,
} from "../train/grpo/policy.ts";
import type { RolloutGroup } from "../train/grpo/rollout.ts";
import { type BenchDims, benchIds, benchModel, benchPixels } from "./bench_work.ts";
import { peakMebibytes, resetPeak } from "./process_memory.ts";
import { addBenchLora, benchOptimizer, type Measured } from "./step_bench.ts";
import { median, type TimingOptions } from "./timing.ts";

const GENERATIONS = 8;
const PROMPT_TOKENS = 128;
const NEW_TOKENS = 64;
const BETA = 0.1;

/** Advantages from −1 to 1, one a completion. */
const ADVANTAGES = Array.from({ length: GENERATIONS }, (_, g) => 2 * g / (GENERATIONS - 1) - 1);

/** How the step is done. */
export interface GrpoStepOptions extends TimingOptions {
  /** Read prompt and picture once for all completions. */
  readonly sharePrefix: boolean;
}

/** `generate_s`, `reference_s`, `train_s`, their sum `grpo_step_s`, and `peak_mib`. */
export async function benchGrpoStep(
  dims: BenchDims,
  { reps, clock, sharePrefix }: GrpoStepOptions,
): Promise<Measured> {
  resetPeak();
  const { config } = dims;
  const model = benchModel(dims);
  await addBenchLora(model);
  const optimizer = benchOptimizer(model);
  const [ids] = benchIds(config, 1, PROMPT_TOKENS, 1);
  const image: ImageTiles = { tiles: benchPixels(config, 1), tileCount: 1 };
  const example = { prompt: [], images: [], columns: {}, conversational: false };
  const prompt = { ids, images: [image], example, cursor: null };

  const sample = async (seed: number): Promise<RolloutGroup> => {
    const copies = sharePrefix ? 1 : GENERATIONS;
    const rows = Array.from({ length: copies }, () => ({
      // Equal objects would be encoded once.
      images: [{ ...image }],
      prompts: [ids],
    }));
    const generations = await generateFromRows(model, rows, 0, {
      temperature: 1,
      topK: 50,
      topP: 0.95,
      maxNewTokens: NEW_TOKENS,
      numReturnSequences: GENERATIONS / copies,
      stopTokenIds: [],
      seed,
    });
    return {
      prompt,
      sequences: generations.map(({ tokens, logProbs }, g) => ({
        tokens,
        truncated: false,
        advantage: ADVANTAGES[g],
        logProbs,
        refLogProbs: null,
      })),
    };
  };
  const batchOf = (group: RolloutGroup) =>
    completionBatch(model, [group], { masksTruncated: false, sharePrefix })!;
  const temperature = 1;

  const reference = async (group: RolloutGroup): Promise<Float32Array> => {
    const batch = batchOf(group);
    const options = { withoutAdapters: true };
    const tensor = policyLogProbs(model, { batch, options, features: undefined, temperature });
    const [values] = await readBack([tensor]);
    tensor.dispose();
    batch.dispose();
    return values as Float32Array;
  };

  const accumulator = new GradientAccumulator();
  const train = async (group: RolloutGroup, refLogProbs: Float32Array): Promise<void> => {
    const batch = batchOf(group);
    const grid = new CompletionGrid([group], false);
    const features = tf.tidy(() => model.imageFeatures(batch.images!));
    const done = await policyGradients(
      model,
      { batch, options: {}, features, temperature },
      optimizer.parameters,
      (logProbs) => {
        const { loss, gradLogProbs } = grpoLoss({
          logProbs: grid.scatter(logProbs),
          refLogProbs: grid.scatter(refLogProbs),
          completionMask: grid.mask,
          advantages: ADVANTAGES,
        }, { lossType: "grpo", beta: BETA });
        return { loss, gradient: grid.gather(gradLogProbs) };
      },
      null,
      accumulator,
    );
    const { gradNorm } = await optimizer.measure(accumulator.gradients, [done.loss]);
    optimizer.step(accumulator.gradients, gradNorm, 1);
    accumulator.reset();
    tf.dispose([done.loss, done.states, features]);
    batch.dispose();
  };

  const times: { generate: number; reference: number; train: number }[] = [];
  try {
    // The first one warms up if there is a second.
    for (let rep = reps > 1 ? -1 : 0; rep < reps; rep++) {
      const t0 = clock();
      const group = await sample(rep + 1);
      const t1 = clock();
      const refLogProbs = await reference(group);
      const t2 = clock();
      await train(group, refLogProbs);
      const t3 = clock();
      if (rep < 0) continue;
      times.push({ generate: t1 - t0, reference: t2 - t1, train: t3 - t2 });
    }
  } finally {
    optimizer.dispose();
    model.dispose();
  }
  const seconds = (of: (one: typeof times[number]) => number) => median(times.map(of));
  const peak = peakMebibytes();
  return {
    generate_s: seconds((one) => one.generate),
    reference_s: seconds((one) => one.reference),
    train_s: seconds((one) => one.train),
    grpo_step_s: seconds((one) => one.generate + one.reference + one.train),
    ...peak === null ? {} : { peak_mib: peak },
  };
}
