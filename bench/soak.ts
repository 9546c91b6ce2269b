/**
 * A long training run of a small model with batches of many shapes, and the memory it holds: every
 * 100 steps the resident memory of the process, JavaScript's heap and array buffers after a
 * collection, the wasm heap, tfjs's tensors, and the GPU's bytes in use and allocated. It fails if
 * one of them still grows after the first steps.
 *
 * deno run -A --v8-flags=--expose-gc bench/soak.ts [--backend wasm|webgpu] [--steps 2000]
 *
 * docs/runs/soak.log is made of two runs: --backend wasm, and --backend webgpu.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import * as tf from "@tensorflow/tfjs";
import { clockNamed } from "../src/bench/clock.ts";
import { deviceFacts } from "../src/bench/device_facts.ts";
import { parseConfig } from "../src/config/load_config.ts";
import { EMBEDDED_CONFIGS } from "../src/config/embedded/embedded_configs.ts";
import { embeddedShapes, shapesVqaRows } from "../src/data/embedded/embedded_shapes.ts";
import { datasetFromRows } from "../src/data/load_dataset.ts";
import { initBackend } from "../src/device/backend.ts";
import { assertNoGpuErrors } from "../src/device/gpu_errors.ts";
import { allocatedGpuBytes, gpuBytes } from "../src/device/memory.ts";
import { wasmHeap } from "../src/device/wasm_heap.ts";
import { RandomStream } from "../src/random.ts";
import { prepareModel } from "../src/train/run/prepare_model.ts";
import { SFTTrainer } from "../src/train/sft/trainer.ts";

const EVERY = 100;
/** Steps that may grow: shapes that were not seen yet. */
const GROWING = 300;
/** What a level may differ by after that: pages of a garbage-collected process come and go. */
const SLACK_BYTES = 24 * 2 ** 20;

/** The smallest model that has every part. */
const MODEL = [
  "vit_hidden_dim=16",
  "vit_inter_dim=32",
  "vit_n_heads=2",
  "vit_n_blocks=1",
  "lm_hidden_dim=16",
  "lm_inter_dim=32",
  "lm_n_heads=2",
  "lm_n_kv_heads=1",
  "lm_n_blocks=1",
  "lm_max_length=128",
];

interface Level {
  readonly step: number;
  readonly resident: number;
  readonly heap: number;
  /** Array buffers: tiles of pictures that were decoded, among others. */
  readonly arrays: number;
  readonly wasmHeap: number;
  readonly tensors: number;
  readonly gpuUsed: number;
  readonly gpuAllocated: number;
}

/** Questions of 1 to 60 more words, and one to three of them to a picture. */
function variedRows(): ReturnType<typeof shapesVqaRows> {
  const random = new RandomStream(7, "soak rows");
  return shapesVqaRows(embeddedShapes({ trainPictures: 600 }).train).map((row) => {
    const words = Array.from({ length: 1 + random.nextInt(60) }, () => "circle").join(" ");
    const texts = row.texts as { user: string; assistant: string }[];
    const turns = texts.slice(0, 1 + random.nextInt(texts.length));
    return { ...row, texts: turns.map((turn) => ({ ...turn, user: `${turn.user} ${words}` })) };
  });
}

function level(step: number): Level {
  (globalThis as { gc?: () => void }).gc?.();
  const { rss, heapUsed, external } = Deno.memoryUsage();
  return {
    step,
    resident: rss,
    heap: heapUsed,
    arrays: external,
    wasmHeap: wasmHeap()?.memory.buffer.byteLength ?? 0,
    tensors: tf.memory().numTensors,
    gpuUsed: gpuBytes(),
    gpuAllocated: allocatedGpuBytes(),
  };
}

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

/** What is still growing at the end; empty if nothing is. */
function growing(levels: readonly Level[]): string[] {
  const late = levels.filter(({ step }) => step >= GROWING);
  const third = Math.ceil(late.length / 3);
  const found: string[] = [];
  for (
    const name of ["resident", "heap", "wasmHeap", "gpuUsed", "gpuAllocated", "tensors"] as const
  ) {
    const most = (of: readonly Level[]) => Math.max(...of.map((one) => one[name]));
    const first = most(late.slice(0, third)), last = most(late.slice(-third));
    if (last > first + (name === "tensors" ? 0 : SLACK_BYTES)) found.push(name);
  }
  return found;
}

if (import.meta.main) {
  const flags = parseArgs(Deno.args, {
    string: ["backend", "steps"],
    default: { backend: "wasm", steps: "2000" },
  });
  const steps = Number(flags.steps);
  await initBackend({ backend: flags.backend === "webgpu" ? "webgpu" : "wasm" });
  const { reason, cores, deno } = deviceFacts();
  console.log(`backend ${reason}; ${cores} cores; Deno ${deno}`);
  const config = parseConfig(EMBEDDED_CONFIGS.sft.text, {
    trainingType: "sft",
    overrides: MODEL.map((setting) => `model.vlm_config.${setting}`),
  });
  const { model, tokenizer, imageProcessor } = await prepareModel(config.model, 42);
  Object.assign(model, { tokenizer, imageProcessor });
  const data = await datasetFromRows(variedRows(), { format: "vqa", name: "shapes" });
  const folder = await Deno.makeTempDir({ prefix: "soak " });
  const columns = [
    "step",
    "resident",
    "js heap",
    "arrays",
    "wasm heap",
    "tensors",
    "gpu used",
    "allocated",
  ];
  const line = (cells: readonly (string | number)[]) =>
    console.log(cells.map((cell) => String(cell).padStart(10)).join(" "));
  const levels: Level[] = [];
  const clock = clockNamed("cpu");
  const began = clock();
  try {
    await using trainer = new SFTTrainer({
      model,
      trainDataset: data,
      training: {
        output_dir: folder,
        max_steps: steps,
        per_device_train_batch_size: 2,
        learning_rate: 1e-3,
        save_strategy: "no",
        eval_strategy: "no",
        logging_steps: EVERY,
      },
      callbacks: [{
        onStepEnd({ step }) {
          if (step % EVERY !== 0) return;
          const now = level(step);
          levels.push(now);
          line([
            step,
            mebibytes(now.resident),
            mebibytes(now.heap),
            mebibytes(now.arrays),
            mebibytes(now.wasmHeap),
            now.tensors,
            mebibytes(now.gpuUsed),
            mebibytes(now.gpuAllocated),
          ]);
        },
      }],
    });
    line(columns);
    await trainer.train();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  assertNoGpuErrors();
  console.log(
    `${steps} steps, ${(clock() - began).toFixed(0)} processor seconds; memory in MiB`,
  );
  const still = growing(levels);
  if (still.length > 0) throw new Error(`Memory is not level: ${still.join(", ")} still grows`);
  console.log(
    `level: between steps ${GROWING} and ${steps} nothing grew by ${mebibytes(SLACK_BYTES)} MiB`,
  );
}
