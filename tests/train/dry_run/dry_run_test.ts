import { assert, assertEquals } from "@std/assert";
import { parquetWriteBuffer } from "hyparquet-writer";
import { requestGpu } from "../../../src/device/adapter.ts";
import { activeBackend, initBackend } from "../../../src/device/backend.ts";
import { defaultVLMConfig } from "../../../src/vlm_config.ts";
import { VisionLanguageModel } from "../../../src/generate/vision_language_model.ts";
import { embeddedTokenizerFiles } from "../../../src/text/embedded_tokenizer.ts";
import { Tokenizer } from "../../../src/text/tokenizer.ts";
import { dryRunLines } from "../../../src/train/dry_run/report.ts";
import { dryRunSFT } from "../../../src/train/sft/dry_run.ts";
import { GradientAccumulator } from "../../../src/train/loop/gradients.ts";
import { prepareData } from "../../../src/train/batches/prepare_data.ts";
import { prepareModel } from "../../../src/train/run/prepare_model.ts";
import { sftGroups, sftMethod } from "../../../src/train/sft/setup.ts";
import { loadTrainConfig, parseTrainArguments } from "../../../tasks/train.ts";
import { LAB_SFT } from "../../config/lab_configs.ts";
import { RED_PIXEL } from "../../data/sources/parquet_fixture.ts";
import { gpuTest } from "../../gpu_adapter.ts";
import { startFakeHub } from "../../hub/fake_hub.ts";

const MODEL = "lusxvr/nanoVLM-230M-8k";
const LANGUAGE_MODEL = "HuggingFaceTB/SmolLM2-360M-Instruct";
const DATA = "lmms-lab/multimodal-open-r1-8k-verified";

/** A tiny nanoVLM as its repository holds one: weights and config, the tokenizer elsewhere. */
async function writeModel(folder: string): Promise<void> {
  await initBackend({ backend: "cpu" });
  const base = Tokenizer.fromJson(embeddedTokenizerFiles());
  const defaults = defaultVLMConfig();
  const tokenizer = base.withExtraTokens(defaults.vlm_extra_tokens, defaults.lm_chat_template);
  const model = VisionLanguageModel.fromConfig({
    ...defaults,
    vit_hidden_dim: 32,
    vit_inter_dim: 64,
    vit_patch_size: 8,
    vit_img_size: 32,
    vit_n_heads: 2,
    vit_n_blocks: 1,
    lm_hidden_dim: 32,
    lm_inter_dim: 64,
    lm_n_heads: 4,
    lm_n_kv_heads: 2,
    lm_n_blocks: 1,
    lm_base_vocab_size: tokenizer.imageTokenId,
    lm_vocab_size: tokenizer.vocabSize,
    lm_max_length: 512,
    lm_tokenizer: LANGUAGE_MODEL,
    max_img_size: 64,
    mp_pixel_shuffle_factor: 2,
    mp_image_token_length: 4,
  });
  await model.savePretrained(folder);
  model.dispose();
  await base.save(`${folder}/tokenizer`);
}

function parquet(rows: number): Uint8Array {
  const numbers = Array.from({ length: rows }, (_, i) => i);
  return new Uint8Array(parquetWriteBuffer({
    schema: [
      { name: "root", num_children: 3 },
      { name: "image", num_children: 2, repetition_type: "OPTIONAL" },
      { name: "bytes", type: "BYTE_ARRAY", repetition_type: "OPTIONAL" },
      { name: "path", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
      { name: "problem", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
      { name: "solution", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
    ],
    columnData: [
      { name: "image", data: numbers.map((i) => ({ bytes: RED_PIXEL, path: `${i}.png` })) },
      { name: "problem", data: numbers.map((i) => `How much is ${i} and ${i}?`) },
      { name: "solution", data: numbers.map((i) => `<answer> ${"!".repeat(i)}${2 * i} </answer>`) },
    ],
  }));
}

Deno.test("NanoVLM-Lab's SFT config resolves from the Hub in a dry run that writes nothing", async () => {
  const temporary = await Deno.makeTempDir();
  await writeModel(`${temporary}/model`);
  const file = async (name: string) => await Deno.readFile(`${temporary}/model/${name}`);
  await using hub = {
    ...startFakeHub({
      models: {
        [MODEL]: {
          "config.json": await file("config.json"),
          "model.safetensors": await file("model.safetensors"),
        },
        [LANGUAGE_MODEL]: {
          "tokenizer.json": await file("tokenizer/tokenizer.json"),
          "tokenizer_config.json": await file("tokenizer/tokenizer_config.json"),
        },
      },
      datasets: { [DATA]: { "data/train-00000-of-00001.parquet": parquet(200) } },
    }),
    async [Symbol.asyncDispose]() {
      await this.close();
    },
  };
  const work = `${temporary}/work`;
  await Deno.mkdir(work);
  const config = LAB_SFT.replace("someone/nanoVLM-230M", MODEL).replace("someone/vqa", DATA);
  assert(config.includes(MODEL) && config.includes(DATA));
  await Deno.writeTextFile(`${work}/sft_config.yaml`, config);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      new URL("../../../mod.ts", import.meta.url).href,
      ..."train sft --dry-run --backend wasm --config sft_config.yaml --set".split(" "),
      "dataset.preprocessing_fn=builtin:dataset_preprocessing_sft",
    ],
    cwd: work,
    env: { HF_ENDPOINT: hub.endpoint, HF_HOME: `${temporary}/hf`, HF_TOKEN: "", NO_COLOR: "1" },
  }).output();
  const out = new TextDecoder().decode(stdout);
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  assert(out.includes(`model: ${MODEL}, `), out);
  // 5 % of 200 rows, four fifths of them to train on.
  assert(out.includes("data: 8 examples to train on, 2 held out"), out);
  assert(out.includes("nothing was trained and nothing written"), out);
  assertEquals([...Deno.readDirSync(work)].map(({ name }) => name), ["sft_config.yaml"]);
  await Deno.remove(temporary, { recursive: true });
});

const CASES = [
  [],
  ["model.use_lora=true"],
  [
    "training.per_device_train_batch_size=16",
    "training.lr_vision_backbone=0",
  ],
  ["training.gradient_checkpointing=true"],
  [
    "training.gradient_checkpointing=true",
    "model.use_lora=true",
    "model.vlm_config.lm_n_blocks=4",
  ],
  ["model.vlm_config.lm_inter_dim=768", "training.gradient_accumulation_steps=2"],
];

function assertWithin(share: number, estimated: number, seen: number, what: string): void {
  const ratio = estimated / seen;
  assert(ratio > 1 - share && ratio < 1 + share, `${what}: ${estimated} / ${seen} = ${ratio}`);
}

const SHAPES_SFT = new URL("../../../configs/shapes_sft.yaml", import.meta.url).pathname;

async function dryRunOf(sets: readonly string[], backend: "wasm" | "webgpu") {
  const config = await loadTrainConfig(
    parseTrainArguments([
      ...["sft", "--config", SHAPES_SFT],
      ...sets.flatMap((set) => ["--set", set]),
    ]),
  );
  return await dryRunSFT(config, { backend });
}

Deno.test("a dry run's estimate is within 15 % of what tensors really hold", async () => {
  for (const sets of CASES) {
    const report = await dryRunOf(sets, "wasm");
    const { estimate, measured } = report;
    assertEquals(measured.weights, estimate.weights);
    assertEquals(measured.gradients, estimate.gradients);
    // A dry run's step has one micro-batch.
    if (!sets.includes("training.gradient_accumulation_steps=2")) {
      assertWithin(0.15, estimate.pass, measured.pass, `${sets}`);
    }
    assert(Number.isFinite(report.loss) && report.gradNorm > 0);
    assert(dryRunLines(report).some((line) => line.includes("in all")));
  }
});

Deno.test("a dry run's longest batch is packed as training's are, and none of those is larger", async () => {
  const config = await loadTrainConfig(parseTrainArguments(["sft", "--config", SHAPES_SFT]));
  const { batch } = await dryRunSFT(config, { backend: "wasm" });
  const prepared = await prepareModel(config.model, config.training.seed, config.training);
  const { train } = await prepareData(config, "vqa");
  const method = sftMethod(config, { prepared, train, evaluation: null });
  const parameters = new Map(
    sftGroups(prepared, config).flatMap(({ parameters }) => [...parameters]),
  );
  const accumulator = new GradientAccumulator();
  const { per_device_train_batch_size: examples } = config.training;
  for (let step = 0; step < 4; step++) {
    const { losses } = await method.step({ accumulator, parameters, step });
    for (const loss of losses) loss.dispose();
    const { rows, tokens, tiles } = method.lastBatchSize!;
    assert(tokens <= batch.tokens && tokens > 0.7 * batch.tokens, `${tokens} of ${batch.tokens}`);
    assert(rows < examples / 2 && tiles === rows, "several questions a picture, encoded once");
  }
  accumulator.reset();
  await method.release();
  prepared.model.dispose();
});

gpuTest("a dry run's estimate is within 15 % of the most that a GPU's buffers hold", async () => {
  for (const sets of CASES.slice(0, 5)) {
    const { estimate, measured } = await dryRunOf(sets, "webgpu");
    activeBackend()?.dispose();
    // Nothing is updated in a dry run: the moments are not on the device.
    assertWithin(0.15, estimate.gpu, measured.gpu + estimate.moments, `${sets}`);
  }
});

/** The command's standard output. */
async function train(...args: string[]): Promise<string> {
  const main = new URL("../../../mod.ts", import.meta.url).pathname;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", main, "train", "sft", ...args],
    env: { NO_COLOR: "1" },
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** Estimate over report of the small drawings, each in a process of its own. */
async function processRatio(backend: string): Promise<number> {
  const folder = await Deno.makeTempDir();
  const lines = await train("--config", SHAPES_SFT, "--dry-run", "--backend", backend);
  const [, mebibytes] = /the whole process +([\d.]+) MiB/.exec(lines)!;
  const sets = ["max_steps=3", "logging_steps=1", "save_strategy=no", "eval_strategy=no"];
  await train(
    ...["--config", SHAPES_SFT, "--backend", backend, "--output-dir", `${folder}/run`],
    ...sets.flatMap((set) => ["--set", `training.${set}`]),
    ...["--set", `save.save_model_path=${folder}/final`],
  );
  const metrics = await Deno.readTextFile(`${folder}/run/metrics.jsonl`);
  const last = JSON.parse(metrics.trim().split("\n").at(-1)!);
  if (backend === "webgpu") {
    const { gpu_memory_used_bytes: used, gpu_memory_allocated_bytes: allocated } = last;
    assert(used > 0 && allocated > used && last.peak_gpu_memory_bytes > used);
  }
  await Deno.remove(folder, { recursive: true });
  return Number(mebibytes) * 2 ** 20 / last.peak_memory_bytes;
}

/** The median of three: of so small a process a good part is garbage, collected now or then. */
async function assertProcessEstimate(backend: string): Promise<void> {
  const ratios: number[] = [];
  for (let i = 0; i < 3; i++) ratios.push(await processRatio(backend));
  const [, median] = ratios.toSorted((a, b) => a - b);
  assertWithin(0.15, median, 1, `the process, of ${ratios}`);
}

Deno.test("on wasm a dry run's estimate is within 15 % of what metrics.jsonl reports", async () => {
  await assertProcessEstimate("wasm");
});

gpuTest("on webgpu a dry run's estimate is within 15 % of what metrics.jsonl reports", async () => {
  const gpu = await requestGpu();
  const software = "device" in gpu && gpu.info.software;
  if ("device" in gpu) gpu.destroy();
  if (software) await assertProcessEstimate("webgpu"); // Else the driver's own memory counts too.
});

Deno.test("a dry run fails if nothing trains", async () => {
  const config = await loadTrainConfig(parseTrainArguments(["sft"]));
  // A file that says so is turned down before.
  Object.assign(config.training, { lr_mp: 0, lr_vision_backbone: 0, lr_language_backbone: 0 });
  let message = "";
  await dryRunSFT(config, { backend: "wasm" }).catch((error) => message = String(error));
  assert(message.includes("every learning rate is 0"), message);
});
