/** A tiny model, some drawn shapes, and GRPO's method on them. */
import type { ResolvedConfig } from "../../../src/config/types/config_types.ts";
import { parseConfig } from "../../../src/config/load_config.ts";
import { EMBEDDED_CONFIGS } from "../../../src/config/embedded/embedded_configs.ts";
import { embeddedShapes, shapesGrpoRows } from "../../../src/data/embedded/embedded_shapes.ts";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import type { Environment } from "../../../src/rewards/environment/environment_sandbox.ts";
import type { Row } from "../../../src/data/rows/row.ts";
import { type BackendChoice, initBackend } from "../../../src/device/backend.ts";
import { GradientAccumulator } from "../../../src/train/loop/gradients.ts";
import type { GRPOMethod } from "../../../src/train/grpo/method.ts";
import type { Scorer } from "../../../src/train/grpo/scoring.ts";
import { grpoGroups, grpoMethod } from "../../../src/train/grpo/setup.ts";
import { Optimizer } from "../../../src/train/optimizer/optimizer.ts";
import { type PreparedModel, prepareModel } from "../../../src/train/run/prepare_model.ts";
import type { StepOutcome } from "../../../src/train/loop/training_method.ts";
import { readBack } from "../../../src/device/read_back.ts";
import type { ReportedCompletion } from "../../../src/report/files/report_file.ts";

export { largestDifference } from "../largest_difference.ts";

/** A config of GRPO on a fresh model of two small blocks. */
export function tinyConfig(overrides: readonly string[] = []): ResolvedConfig {
  const sft = parseConfig(EMBEDDED_CONFIGS.sft.text);
  const config = parseConfig(EMBEDDED_CONFIGS.grpo.text, {
    trainingType: "grpo",
    overrides: [
      "training.per_device_train_batch_size=4",
      "training.gradient_accumulation_steps=1",
      "training.per_device_eval_batch_size=8",
      "training.learning_rate=1e-2",
      "training.warmup_steps=0",
      "grpo.num_generations=3",
      "grpo.max_completion_length=5",
      "grpo.mask_truncated_completions=false",
      "grpo.beta=0",
      "grpo.scale_rewards=group",
      "grpo.log_completions=false",
      ...overrides,
    ],
  });
  const vlm = { ...sft.model.vlm_config, vit_n_blocks: 1, lm_n_blocks: 1 };
  return { ...config, model: { ...sft.model, vlm_config: vlm } };
}

/** Rows about drawn shapes. */
export function shapeRows(pictures = 4): Row[] {
  return shapesGrpoRows(embeddedShapes({ trainPictures: pictures, testPictures: 1 }).train);
}

/** A score that depends on the tokens alone, between 0 and 1. */
export const idScorer: Scorer = {
  names: ["ids", "length"],
  weights: [1, 0.25],
  score: (_prompts, completions) =>
    Promise.resolve({
      rewards: completions.map(({ tokens }) => [
        tokens.reduce((sum, id) => (sum * 31 + id) % 97, 7) / 97,
        tokens.length,
      ]),
      functions: [],
      seconds: 0,
    }),
};

/** A run that is stepped by hand. */
export interface TinyRun extends Disposable {
  readonly prepared: PreparedModel;
  readonly method: GRPOMethod;
  readonly optimizer: Optimizer;
  readonly completions: ReportedCompletion[];
  /** The gradients of one step, by parameter; nothing is updated. */
  gradients(step: number): Promise<{ gradients: Map<string, Float32Array>; outcome: StepOutcome }>;
  /** One step with an update. */
  update(step: number): Promise<StepOutcome>;
  weights(): Promise<Map<string, Float32Array>>;
}

/** Makes a run, on the wasm backend unless another is named. */
export async function tinyRun(
  config: ResolvedConfig,
  { rows = shapeRows(), scorer = idScorer, backend = "wasm", environment = null }: {
    rows?: Row[];
    environment?: Environment | null;
    scorer?: Scorer;
    backend?: BackendChoice;
  } = {},
): Promise<TinyRun> {
  await initBackend({ backend });
  const prepared = await prepareModel(config.model, config.training.seed, config.training);
  const train = await datasetFromRows(rows, { format: "grpo", name: "shapes" });
  const groups = grpoGroups(prepared, config);
  const completions: ReportedCompletion[] = [];
  const { method, dispose } = grpoMethod(config, {
    prepared,
    train,
    evaluation: train,
    scorer,
    environment,
    groups,
    onCompletions: (more) => completions.push(...more),
  });
  const optimizer = new Optimizer(groups, {
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    maxGradNorm: 1,
  });
  const read = async (tensors: Map<string, Parameters<typeof readBack>[0][number]>) => {
    const values = await readBack([...tensors.values()]);
    return new Map([...tensors.keys()].map((name, i) => [name, values[i] as Float32Array]));
  };
  const run = async (step: number, update: boolean) => {
    const accumulator = new GradientAccumulator();
    const outcome = await method.step({ accumulator, parameters: optimizer.parameters, step });
    const gradients = await read(new Map(accumulator.gradients));
    if (update) {
      const { gradNorm } = await optimizer.measure(accumulator.gradients, []);
      optimizer.step(accumulator.gradients, gradNorm, 1);
    }
    accumulator.reset();
    return { gradients, outcome };
  };
  return {
    prepared,
    method,
    optimizer,
    completions,
    gradients: (step) => run(step, false),
    update: async (step) => (await run(step, true)).outcome,
    weights: () => read(optimizer.parameters),
    [Symbol.dispose]() {
      dispose();
      optimizer.dispose();
      prepared.model.dispose();
    },
  };
}
