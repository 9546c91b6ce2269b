/** A tiny model, some drawn shapes with questions, and SFT's method and trainer on them. */
import type * as tf from "@tensorflow/tfjs";
import type { ResolvedConfig } from "../../../src/config/types/config_types.ts";
import { EMBEDDED_CONFIGS } from "../../../src/config/embedded/embedded_configs.ts";
import { parseConfig } from "../../../src/config/load_config.ts";
import { embeddedShapes, shapesVqaRows } from "../../../src/data/embedded/embedded_shapes.ts";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import type { Row } from "../../../src/data/rows/row.ts";
import { initBackend } from "../../../src/device/backend.ts";
import { readBack } from "../../../src/device/read_back.ts";
import { Reporter } from "../../../src/report/reporter.ts";
import { RunDirectory } from "../../../src/report/files/run_directory.ts";
import { GradientAccumulator } from "../../../src/train/loop/gradients.ts";
import type { ParameterGroup } from "../../../src/train/optimizer/optimizer.ts";
import {
  type PreparedModel,
  prepareModel,
  writePreparedModel,
} from "../../../src/train/run/prepare_model.ts";
import { answerSamples } from "../../../src/train/sft/closing.ts";
import type { SFTMethod } from "../../../src/train/sft/method.ts";
import { sftGroups, sftMethod } from "../../../src/train/sft/setup.ts";
import {
  Trainer,
  type TrainerCallback,
  type TrainerOptions,
} from "../../../src/train/loop/trainer.ts";
import { fakeTerminal } from "../../report/terminal/fake_terminal.ts";

/** A config of SFT on a fresh model of one small block each. */
export function tinyConfig(overrides: readonly string[] = []): ResolvedConfig {
  return parseConfig(EMBEDDED_CONFIGS.sft.text, {
    trainingType: "sft",
    overrides: [
      "model.vlm_config.vit_n_blocks=1",
      "model.vlm_config.lm_n_blocks=1",
      "training.per_device_train_batch_size=2",
      "training.per_device_eval_batch_size=8",
      "training.eval_strategy=no",
      "training.warmup_steps=0",
      "training.warmup_ratio=0",
      "training.lr_scheduler_type=constant",
      "training.max_steps=4",
      "training.learning_rate=3e-3",
      "training.lr_mp=3e-3",
      "logging.report_to=[]",
      ...overrides,
    ],
  });
}

/** LoRA with dropout on the decoder, as overrides of a config. */
export const LORA = [
  "model.use_lora=true",
  "model.lora_config.r=4",
  "model.lora_config.lora_dropout=0.2",
  "model.lora_config.target_modules=[q_proj, v_proj, down_proj]",
  "training.lr_lora=3e-3",
];

/** Questions about drawn shapes, several of each picture; answers differ in length. */
export function shapeRows(pictures = 4): Row[] {
  return shapesVqaRows(embeddedShapes({ trainPictures: pictures }).train);
}

/** A run that is made, but not started. */
export interface TinySFT extends AsyncDisposable {
  readonly config: ResolvedConfig;
  readonly prepared: PreparedModel;
  readonly method: SFTMethod;
  readonly groups: readonly ParameterGroup[];
  readonly trainer: Trainer;
  /** What the trainer was made with. */
  readonly options: TrainerOptions;
  /** The output folder. */
  readonly folder: string;
  /** Loss and gradients of the next step, with nothing updated. */
  gradients(): Promise<{ loss: number; gradients: Map<string, Float32Array> }>;
  weights(): Promise<Map<string, Float32Array>>;
  /** Lines of metrics.jsonl. */
  metrics(): Record<string, number>[];
}

/** What else a run may be given. */
export interface TinyOptions {
  readonly rows?: Row[];
  /** Default: the training rows. */
  readonly heldOut?: Row[];
  /** Whether evaluations ask the model some held-out questions; default false. */
  readonly asks?: boolean;
  readonly backend?: "wasm" | "webgpu";
  readonly callbacks?: readonly TrainerCallback[];
  /** Default: a new one, removed at the end. */
  readonly folder?: string;
  readonly signal?: AbortSignal;
  /** Whether frozen weights stay in 16 bits if they can; default true. */
  readonly packs?: boolean;
}

/** Makes a run; held-out data are the training rows. */
export async function tinySFT(
  overrides: readonly string[] = [],
  options: TinyOptions = {},
): Promise<TinySFT> {
  await initBackend({ backend: options.backend ?? "wasm" });
  const folder = options.folder ?? await Deno.makeTempDir({ prefix: "sft " });
  const config = tinyConfig([...overrides, `training.output_dir=${JSON.stringify(folder)}`]);
  const { training, dataset } = config;
  const prepared = await prepareModel(
    config.model,
    training.seed,
    options.packs === false ? undefined : training,
  );
  const splitTurns = dataset.split_turns;
  const rows = options.rows ?? shapeRows();
  const data = await datasetFromRows(rows, { format: "vqa", name: "shapes", splitTurns });
  const heldOut = options.heldOut === undefined
    ? data
    : await datasetFromRows(options.heldOut, { format: "vqa", name: "held out", splitTurns });
  const method = sftMethod(config, {
    prepared,
    train: data,
    evaluation: training.eval_strategy === "no" ? null : heldOut,
    answerSamples: options.asks ? (signal) => answerSamples(prepared, heldOut, signal) : null,
  });
  const groups = sftGroups(prepared, config);
  const reporter = new Reporter(RunDirectory.open(folder, "resume"), fakeTerminal(false));
  const trained = groups.flatMap(({ parameters }) => [...parameters.keys()])
    .filter((name) => prepared.model.weights.has(name));
  const trainerOptions: TrainerOptions = {
    training,
    groups,
    reporter,
    callbacks: options.callbacks,
    signal: options.signal,
    weights: prepared.model.weights,
    saveModel: (path) => writePreparedModel(prepared, trained, path),
  };
  const trainer = new Trainer(method, trainerOptions);
  await reporter.onStart({
    title: "",
    label: "sft",
    totalSteps: trainer.totalSteps,
    facts: [],
    configYaml: "",
    tensorBoard: false,
  });
  const read = async (tensors: ReadonlyMap<string, tf.Tensor>) => {
    const values = await readBack([...tensors.values()]);
    return new Map([...tensors.keys()].map((name, i) => [name, values[i].slice() as Float32Array]));
  };
  return {
    config,
    prepared,
    method,
    groups,
    trainer,
    options: trainerOptions,
    folder,
    async gradients() {
      const accumulator = new GradientAccumulator();
      const { parameters } = trainer.optimizer;
      const { losses } = await method.step({ accumulator, parameters, step: 0 });
      const values = await readBack(losses);
      for (const loss of losses) loss.dispose();
      const gradients = await read(accumulator.gradients);
      accumulator.reset();
      return { loss: values.reduce((sum, [value]) => sum + value, 0), gradients };
    },
    weights: () => read(trainer.optimizer.parameters),
    metrics: () =>
      Deno.readTextFileSync(`${folder}/metrics.jsonl`).trim().split("\n").filter((line) => line)
        .map((line) => JSON.parse(line)),
    async [Symbol.asyncDispose]() {
      reporter.close();
      trainer.dispose();
      prepared.model.dispose();
      if (options.folder === undefined) await Deno.remove(folder, { recursive: true });
    },
  };
}
