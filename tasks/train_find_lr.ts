/**
 * `train … --find-lr`: a learning-rate range test in place of a run.
 *
 * @module
 */
import { dirname } from "node:path";
import type { ResolvedConfig, TrainingType } from "../src/config/types/config_types.ts";
import { writeTextAtomically } from "../src/atomic_write.ts";
import type { FindRateOptions } from "../src/train/lr_finder/find_learning_rate.ts";
import { UsageError } from "./usage_error.ts";

/** Steps of `--find-lr` without a number. */
const DEFAULT_STEPS = 100;

/** With fewer the curve has no shape. */
const LEAST_STEPS = 20;

/**
 * The steps of the test; undefined: it is not asked for.
 *
 * @param given the value of `--find-lr`
 * @param excluded whether options were given that do not go with it, by their names
 * @throws {UsageError} if it is no number of steps, or does not go with what was given beside it
 */
export function findRateStepsOf(
  given: string | true | undefined,
  trainer: TrainingType,
  excluded: Readonly<Record<string, boolean>>,
): number | undefined {
  if (given === undefined) return undefined;
  const steps = given === true ? DEFAULT_STEPS : Number(given);
  if (!Number.isInteger(steps) || steps < LEAST_STEPS) {
    throw new UsageError(
      `--find-lr is ${JSON.stringify(given)}; want a number of steps from ${LEAST_STEPS} on, or ` +
        `nothing for ${DEFAULT_STEPS}`,
    );
  }
  for (const [option, isGiven] of Object.entries(excluded)) {
    if (isGiven) throw new UsageError(`--find-lr trains nothing and excludes --${option}`);
  }
  if (trainer === "grpo") {
    throw new UsageError(
      "--find-lr is for sft, dpo and gkd: the loss of GRPO does not say how well it learns; rates " +
        "from 1e-6 to 1e-5 are usual for whole models of some hundred million weights",
    );
  }
  return steps;
}

/** What a test needs. */
type TestOptions = Required<Pick<FindRateOptions, "backend" | "steps" | "signal">>;

/** The config with a model and teacher that exist: they lie beside the output folder, for runs. */
async function withModels(
  config: ResolvedConfig,
  { backend, signal }: TestOptions,
): Promise<ResolvedConfig> {
  const options = { backend, signal, announced: true };
  switch (config.training_type) {
    case "dpo":
      return await (await import("../src/train/dpo/run.ts")).withDPOStarter(config, options);
    case "gkd":
      return await (await import("../src/train/gkd/starter.ts")).withTeacher(config, options);
    default:
      return config;
  }
}

/** What makes the method of a config. */
async function setUpOf(config: ResolvedConfig, signal: AbortSignal): Promise<
  FindRateOptions["setUp"]
> {
  switch (config.training_type) {
    case "dpo": {
      const { setUpPreferences } = await import("../src/train/dpo/run.ts");
      return (prepared) => setUpPreferences(config, prepared, signal);
    }
    case "gkd": {
      const { setUpGKD } = await import("../src/train/gkd/run.ts");
      return (prepared) => setUpGKD(config, prepared, signal);
    }
    default: {
      const { setUpSFT } = await import("../src/train/sft/run.ts");
      return (prepared) => setUpSFT(config, prepared, signal);
    }
  }
}

/** The test, with a folder for what a method keeps beside its run, such as DPO's reference. */
async function findIn(folder: string, given: ResolvedConfig, options: TestOptions) {
  const { findLearningRate } = await import("../src/train/lr_finder/find_learning_rate.ts");
  const whole = await withModels(given, options);
  const { steps, signal } = options;
  const training = { ...whole.training, output_dir: folder, max_steps: steps };
  const config = { ...whole, training: { ...training, eval_strategy: "no" as const } };
  return await findLearningRate(config, {
    ...options,
    setUp: await setUpOf(config, signal),
    onProgress: (text) => console.error(text),
  });
}

/**
 * Tries growing learning rates on a model that is dropped after that, prints the losses and what it
 * suggests, and writes a page beside the output folder.
 *
 * @returns the exit code
 */
export async function findRate(config: ResolvedConfig, options: TestOptions): Promise<number> {
  const folder = await Deno.makeTempDir({ prefix: "lr_finder_" });
  options.signal.addEventListener("abort", () => {
    console.error("a range test has nothing to save");
    Deno.removeSync(folder, { recursive: true });
    Deno.exit(130);
  });
  const { foundRateLines, foundRatePage } = await import(
    "../src/train/lr_finder/found_rate_texts.ts"
  );
  const found = await findIn(folder, config, options)
    .finally(() => Deno.remove(folder, { recursive: true }));
  for (const line of foundRateLines(found)) console.log(line);
  const { training, dataset, training_type } = config;
  const page = `${training.output_dir.replace(/\/+$/, "")}_lr_finder.html`;
  await Deno.mkdir(dirname(page), { recursive: true });
  const title = `Learning-rate range test of ${training_type} on ${dataset.train_data_path}`;
  await writeTextAtomically(page, foundRatePage(title, found));
  console.error(`page: ${page}`);
  return 0;
}
