/**
 * Fits the constants of the dry run's memory estimate to dry runs of small models, and prints every
 * run with its estimate before and after:
 *
 * ```sh
 * deno run -A --v8-flags=--expose-gc bench/fit_memory.ts [--write] [--only TITLE|process]
 * ```
 *
 * Each group of constants has runs in which those constants decide the peak of tensors' bytes; the last
 * two are fitted to the resident memory of whole runs. The fit minimises the sum
 * of squares of log(estimate / measured) by a pattern search and rounds to 0.05. `--write` writes
 * `src/train/dry_run/memory_constants.ts`.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { activeBackend, initBackend } from "../src/device/backend.ts";
import { formatTable } from "../src/report/terminal/console_table.ts";
import { MEMORY_CONSTANTS, type MemoryConstants } from "../src/train/dry_run/memory_constants.ts";
import { type EstimateInputs, estimateStepMemory } from "../src/train/dry_run/memory_estimate.ts";
import { dryRunSFT } from "../src/train/sft/dry_run.ts";
import { loadTrainConfig, parseTrainArguments } from "../tasks/train.ts";

type Constant = keyof MemoryConstants;

/** Constants that are fitted together, and the runs that they are fitted to. */
interface Group {
  readonly title: string;
  readonly backend: "wasm" | "webgpu" | "cpu";
  /** The part of the estimate that is compared: bytes of tensors in a pass, or of GPU buffers. */
  readonly part: "pass" | "gpu";
  readonly constants: readonly Constant[];
  /** Settings of all runs, then those of each. */
  readonly common: readonly string[];
  readonly runs: readonly (readonly string[])[];
}

/** A dry run. */
interface Measured {
  readonly settings: string;
  readonly inputs: EstimateInputs;
  readonly bytes: number;
}

const decoder = (hidden: number, inner: number, keyValueHeads = 2): string[] => [
  `model.vlm_config.lm_hidden_dim=${hidden}`,
  `model.vlm_config.lm_inter_dim=${inner}`,
  `model.vlm_config.lm_n_kv_heads=${keyValueHeads}`,
];
const vision = (hidden: number, inner: number): string[] => [
  `model.vlm_config.vit_hidden_dim=${hidden}`,
  `model.vlm_config.vit_inter_dim=${inner}`,
];
/** The decoder's blocks decide. */
const DECODER = ["training.lr_vision_backbone=0"];
const DECODERS = [
  decoder(64, 192),
  decoder(64, 512),
  decoder(128, 128, 4),
  decoder(128, 384),
  decoder(96, 96, 1),
  decoder(192, 512),
];
/** Frozen layers keep less for the backward pass. */
const ADAPTED = [decoder(64, 192), decoder(128, 384)].map((run) => [...run, "model.use_lora=true"]);
/** A vision encoder on larger pictures, beside a small decoder, decides. */
const VISION = [
  ...decoder(16, 16),
  "model.vlm_config.lm_n_blocks=1",
  "model.vlm_config.max_img_size=64",
  "model.vlm_config.vit_img_size=64",
  "model.vlm_config.mp_pixel_shuffle_factor=4",
];
const VISIONS = [vision(64, 256), vision(64, 64), vision(128, 384)];
/** Many patches and heads beside narrow layers: attention's scores decide. */
const SCORES = [[1, 4], [4, 4], [8, 4], [8, 8]].map(([heads, patch]) => [
  ...vision(32, 32),
  `model.vlm_config.vit_n_heads=${heads}`,
  `model.vlm_config.vit_patch_size=${patch}`,
  `model.vlm_config.mp_pixel_shuffle_factor=${32 / patch}`,
]);
const FROZEN = "training.lr_vision_backbone=0";
const HALF = "training.bf16=true";
const RECOMPUTED = "training.gradient_checkpointing=true";
const DEEP = ["model.vlm_config.lm_n_blocks=4", RECOMPUTED];

type Runs = Pick<Group, "title" | "constants" | "common" | "runs">;
const onWasm = (runs: Runs): Group => ({ ...runs, backend: "wasm", part: "pass" });
const ofPlainOps = ({ common, ...runs }: Runs): Group => ({
  ...runs,
  backend: "cpu",
  part: "pass",
  common: [...common, "training.per_device_train_batch_size=8"],
});
const waiting = (runs: Runs): Group => ({ ...runs, backend: "webgpu", part: "gpu" });

const GROUPS: readonly Group[] = [
  onWasm({
    title: "decoder, float32",
    constants: [
      "decoderFloat32SwigluHidden",
      "decoderFloat32SwigluInner",
      "decoderFloat32AttentionHidden",
      "decoderFloat32AttentionKeys",
    ],
    common: DECODER,
    runs: [...DECODERS, ...ADAPTED],
  }),
  onWasm({
    title: "decoder, 16 bits on a CPU",
    constants: [
      "decoderHalfSwigluHidden",
      "decoderHalfSwigluInner",
      "decoderHalfAttentionHidden",
      "decoderHalfAttentionKeys",
    ],
    common: [...DECODER, HALF],
    runs: [...DECODERS, ...ADAPTED],
  }),
  onWasm({
    title: "vision encoder, recomputed, float32",
    constants: ["visionFloat32Hidden", "visionFloat32Inner"],
    common: [...VISION, RECOMPUTED],
    runs: VISIONS,
  }),
  onWasm({
    title: "vision encoder, recomputed, 16 bits",
    constants: ["visionHalfHidden", "visionHalfInner"],
    common: [...VISION, RECOMPUTED, HALF],
    runs: VISIONS,
  }),
  onWasm({
    title: "vision encoder, frozen, float32",
    constants: ["frozenVisionFloat32Hidden", "frozenVisionFloat32Inner"],
    common: [...VISION, FROZEN],
    runs: VISIONS,
  }),
  onWasm({
    title: "vision encoder, frozen, 16 bits",
    constants: ["frozenVisionHalfHidden", "frozenVisionHalfInner"],
    common: [...VISION, FROZEN, HALF],
    runs: VISIONS,
  }),
  ofPlainOps({
    title: "plain ops, vision encoder, float32",
    constants: ["plainVisionFloat32Hidden", "plainVisionFloat32Inner", "plainScores"],
    common: VISION,
    runs: [...VISIONS, ...SCORES],
  }),
  ofPlainOps({
    title: "plain ops, decoder, float32",
    constants: ["plainDecoderFloat32Hidden", "plainDecoderFloat32Inner"],
    common: DECODER,
    runs: DECODERS.slice(0, 3),
  }),
  ofPlainOps({
    title: "plain ops, decoder, 16 bits",
    constants: ["plainDecoderHalfHidden", "plainDecoderHalfInner"],
    common: [...DECODER, HALF],
    runs: DECODERS.slice(0, 3),
  }),
  ofPlainOps({
    title: "plain ops, vision encoder, 16 bits",
    constants: ["plainVisionHalfHidden", "plainVisionHalfInner"],
    common: [...VISION, HALF],
    runs: VISIONS,
  }),
  {
    title: "decoder, 16 bits on WebGPU",
    backend: "webgpu",
    part: "pass",
    constants: [
      "decoderHalfGpuSwigluHidden",
      "decoderHalfGpuSwigluInner",
      "decoderHalfGpuAttentionHidden",
      "decoderHalfGpuAttentionKeys",
    ],
    common: [...DECODER, HALF],
    runs: DECODERS.slice(0, 5),
  },
  waiting({
    title: "waiting for the GPU, float32",
    constants: ["waitingFloat32"],
    common: [],
    runs: [[], ["model.use_lora=true"], decoder(64, 512)],
  }),
  waiting({
    title: "waiting for the GPU, 16 bits",
    constants: ["waitingHalfSoftware"],
    common: [HALF],
    runs: [[], ["model.use_lora=true"], decoder(64, 512)],
  }),
  waiting({
    title: "waiting for the GPU, recomputed, float32",
    constants: ["waitingRecomputedFloat32"],
    common: DEEP,
    runs: [[], decoder(64, 512)],
  }),
  waiting({
    title: "waiting for the GPU, recomputed, 16 bits",
    constants: ["waitingRecomputedHalf"],
    common: [...DEEP, HALF],
    runs: [[], decoder(64, 512)],
  }),
];

async function measure(group: Group, settings: readonly string[]): Promise<Measured> {
  const all = [...group.common, ...settings];
  const config = await loadTrainConfig(
    parseTrainArguments(["sft", ...all.flatMap((setting) => ["--set", setting])]),
  );
  const report = await dryRunSFT(config, { backend: group.backend });
  // The moments are not on the device in a dry run, and the estimate counts them.
  const bytes = group.part === "pass"
    ? report.measured.pass
    : report.measured.gpu + report.estimate.moments;
  // The next run counts from an empty device.
  if (group.backend === "webgpu") activeBackend()?.dispose();
  const short = settings.map((setting) => setting.replace(/^.*\./, "")).join(" ");
  return { settings: short || "as in the default", inputs: report.estimatedFrom, bytes };
}

function estimate(run: Measured, part: Group["part"], constants: MemoryConstants): number {
  const [config, dims, options, method] = run.inputs;
  return estimateStepMemory(config, dims, { ...options, constants }, method)[part];
}

function loss(group: Group, runs: readonly Measured[], constants: MemoryConstants): number {
  return runs.reduce(
    (sum, run) => sum + Math.log(estimate(run, group.part, constants) / run.bytes) ** 2,
    0,
  );
}

/** Steps along each constant as long as they help, then half as far; to 0.05. */
function fit(group: Group, runs: readonly Measured[], from: MemoryConstants): MemoryConstants {
  let best = from;
  let lowest = loss(group, runs, best);
  for (let step = 1.6; step >= 0.05; step /= 2) {
    for (let moved = true; moved;) {
      moved = false;
      for (const name of group.constants) {
        for (const direction of [step, -step]) {
          const value = Math.max(0, Math.round((best[name] + direction) * 20) / 20);
          const tried = { ...best, [name]: value };
          const found = loss(group, runs, tried);
          if (found >= lowest - 1e-9) continue;
          [best, lowest, moved] = [tried, found, true];
        }
      }
    }
  }
  return best;
}

const MAIN = new URL("../mod.ts", import.meta.url).pathname;

async function train(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", MAIN, "train", "sft", ...args],
    env: { NO_COLOR: "1" },
  }).output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** MiB that a run of the default holds beyond its estimate: the median of three. */
async function beyondEstimate(backend: string): Promise<number> {
  const found: number[] = [];
  const folder = await Deno.makeTempDir();
  const settings = ["max_steps=3", "logging_steps=1", "save_strategy=no", "eval_strategy=no"];
  for (let i = 0; i < 3; i++) {
    const lines = await train("--dry-run", "--backend", backend);
    const estimated = Number(/the whole process +([\d.]+) MiB/.exec(lines)![1]);
    await train(
      ...["--backend", backend, "--output-dir", `${folder}/${i}`],
      ...settings.flatMap((setting) => ["--set", `training.${setting}`]),
      ...["--set", `save.save_model_path=${folder}/final`],
    );
    const metrics = (await Deno.readTextFile(`${folder}/${i}/metrics.jsonl`)).trim().split("\n");
    found.push(JSON.parse(metrics.at(-1)!).peak_memory_bytes / 2 ** 20 - estimated);
  }
  await Deno.remove(folder, { recursive: true });
  console.log(`process on ${backend}: ${found.map((x) => x.toFixed(1)).join(", ")} MiB beyond it`);
  return found.toSorted((a, b) => a - b)[1];
}

async function write(constants: MemoryConstants): Promise<void> {
  const url = new URL("../src/train/dry_run/memory_constants.ts", import.meta.url);
  const text = await Deno.readTextFile(url);
  await Deno.writeTextFile(
    url,
    text.replace(
      /^ {2}(\w+): [\d.]+,$/gm,
      (line, name: string) =>
        name in constants ? `  ${name}: ${constants[name as Constant]},` : line,
    ),
  );
}

const options = parseArgs(Deno.args, { boolean: ["write"], string: ["only"] });
let constants = MEMORY_CONSTANTS;
for (const group of GROUPS) {
  if (options.only !== undefined && group.title !== options.only) continue;
  await initBackend({ backend: group.backend });
  const runs: Measured[] = [];
  for (const settings of group.runs) runs.push(await measure(group, settings));
  const before = constants;
  constants = fit(group, runs, constants);
  const ratio = (run: Measured, with_: MemoryConstants) =>
    (estimate(run, group.part, with_) / run.bytes).toFixed(3);
  console.log(`\n${group.title}; ${group.backend}, ${group.part}; ${group.common.join(" ")}`);
  for (const name of group.constants) {
    console.log(`  ${name}: ${before[name]} → ${constants[name]}`);
  }
  console.log(formatTable(
    [
      { header: "run" },
      { header: "measured MiB", align: "right" },
      { header: "estimate / measured before", align: "right" },
      { header: "after", align: "right" },
    ],
    runs.map((run) => [
      run.settings,
      (run.bytes / 2 ** 20).toFixed(2),
      ratio(run, before),
      ratio(run, constants),
    ]),
    120,
  ));
}
if (options.write) await write(constants); // The runs below read them.
if (options.only === undefined || options.only === "process") {
  const round = (value: number) => Math.max(0, Math.round(value));
  const processOnWasm = round(MEMORY_CONSTANTS.processGrowthMiB + await beyondEstimate("wasm"));
  const beyond = await beyondEstimate("webgpu");
  constants = {
    ...constants,
    processGrowthMiB: processOnWasm,
    shaderMiB: round(
      MEMORY_CONSTANTS.shaderMiB + beyond - (processOnWasm - MEMORY_CONSTANTS.processGrowthMiB),
    ),
  };
  for (const name of ["processGrowthMiB", "shaderMiB"] as const) {
    console.log(`  ${name}: ${MEMORY_CONSTANTS[name]} → ${constants[name]}`);
  }
}
if (options.write) await write(constants);
