/**
 * Eight streams of a server together against one stream, and against `bench decode`'s batch of eight:
 * what serving costs beside decoding. The model has random weights; its answers do not end early.
 *
 * deno run -A bench/serve_streams.ts [--model 230m|tiny] [--tokens 32] [--reps 3] [--backend B]
 *
 * The log goes to docs/runs/. It fails if eight streams give less than four times the
 * tokens of one, or less than 90 % of `bench decode`'s eight rows.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import * as tf from "@tensorflow/tfjs";
import { benchDims, type BenchModelName, parameterCount } from "../src/bench/bench_work.ts";
import { clockNamed } from "../src/bench/clock.ts";
import { tokensPerSecond } from "../src/bench/decode_bench.ts";
import { deviceFacts, loadAverage } from "../src/bench/device_facts.ts";
import { median } from "../src/bench/timing.ts";
import type { BackendChoice } from "../src/config/schema/device_backend.ts";
import { embeddedShapes } from "../src/data/embedded/embedded_shapes.ts";
import { encodePng } from "../src/data/embedded/embedded_shapes_png.ts";
import { initBackend } from "../src/device/backend.ts";
import { VisionLanguageModel } from "../src/generate/vision_language_model.ts";
import { ImageProcessor } from "../src/image/image_processor.ts";
import { answerEnds } from "../src/text/answer_end.ts";
import { embeddedTokenizerFiles } from "../src/text/embedded_tokenizer.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { DEFAULT_CHAT_TEMPLATE, defaultExtraTokens } from "../src/vlm_config.ts";
import { ServerProcess } from "./serving/server_process.ts";
import { streamRate } from "./serving/stream_rate.ts";

const STREAMS = 8;
/** Words before the question, so that a prompt has about 128 tokens, as `bench decode`'s. */
const WORDS = 40;

/** A model of these dims that can be served: with our tokenizer, and no answer that ends. */
function servedModel(name: BenchModelName): VisionLanguageModel {
  const dims = benchDims(name);
  const tokenizer = Tokenizer.fromJson(embeddedTokenizerFiles())
    .withExtraTokens(defaultExtraTokens(), DEFAULT_CHAT_TEMPLATE);
  const config = {
    ...dims.config,
    // The other rows of the vocabulary have no token and are never chosen.
    lm_base_vocab_size: tokenizer.imageTokenId,
    lm_vocab_size: Math.max(dims.config.lm_vocab_size, tokenizer.vocabSize),
    max_img_size: dims.config.vit_img_size,
  };
  const model = VisionLanguageModel.fromConfig(config, {
    seed: 0,
    initPositionEmbedding: "normal",
  });
  const ends = answerEnds(tokenizer).stops;
  const heads = ["decoder.token_embedding.weight", "decoder.head.weight"];
  for (const [weight, tensor] of model.weights) {
    if (!heads.includes(weight)) continue;
    tf.tidy(() => {
      const kept = tf.tensor1d(
        Array.from({ length: config.lm_vocab_size }, (_, id) => ends.includes(id) ? 0 : 1),
      );
      tensor.assign(tensor.mul(kept.expandDims(1)));
    });
  }
  model.tokenizer = tokenizer;
  model.imageProcessor = ImageProcessor.fromConfig(config);
  return model;
}

/** Different pictures, so that no stream has the prompt of another. */
function bodies(count: number): Record<string, unknown>[] {
  const pictures = embeddedShapes({ seed: 5 }).test;
  return Array.from({ length: count }, (_, i) => ({
    temperature: 0,
    messages: [{
      role: "user",
      content: [
        {
          type: "image_url",
          image_url: { url: `data:image/png;base64,${encodePng(pictures[i].image).toBase64()}` },
        },
        { type: "text", text: `${"circle ".repeat(WORDS)}${i}?` },
      ],
    }],
  }));
}

if (import.meta.main) {
  const flags = parseArgs(Deno.args, {
    string: ["model", "tokens", "reps", "backend"],
    default: { model: "230m", tokens: "32", reps: "3" },
  });
  const name: BenchModelName = flags.model === "tiny" ? "tiny" : "230m";
  const backend = flags.backend as BackendChoice | undefined;
  const tokens = Number(flags.tokens), reps = Number(flags.reps);
  const started = await initBackend({ backend });
  const { reason, cores, cpu, deno } = deviceFacts();
  console.log(`backend ${reason}; ${cpu}, ${cores} cores; Deno ${deno}; load ${loadAverage()}`);
  const folder = await Deno.makeTempDir({ prefix: "serve streams " });
  const model = servedModel(name);
  const rates = new Map<string, number[]>();
  const add = (what: string, rate: number | null) => {
    if (rate !== null) rates.set(what, [...rates.get(what) ?? [], rate]);
  };
  try {
    await model.savePretrained(`${folder}/model`);
    await using server = await ServerProcess.start([
      ...["--model", `${folder}/model`],
      ...(backend === undefined ? [] : ["--backend", backend]),
    ]);
    const parameters = parameterCount({ ...benchDims(name), config: model.config });
    const warm = await streamRate(server, { bodies: bodies(STREAMS), tokens: 2 });
    console.log(
      `${name}: ${(parameters / 1e6).toFixed(1)} M parameters; prompts of ${warm.promptTokens} ` +
        `tokens, ${tokens} tokens after the first, ${reps} rounds; processor seconds of all threads`,
    );
    for (let round = 0; round < reps; round++) {
      for (const rows of [1, STREAMS]) {
        const timing = { reps: 1, tokens };
        const wall = await tokensPerSecond(model, rows, { ...timing, clock: clockNamed("wall") });
        add(`bench decode, ${rows} rows: tokens/s`, wall);
        const cpuRate = await tokensPerSecond(model, rows, { ...timing, clock: clockNamed("cpu") });
        add(`bench decode, ${rows} rows: tokens/processor s`, cpuRate);
        const streamed = await streamRate(server, { bodies: bodies(rows), tokens });
        add(`${rows} streams: tokens/s`, streamed.perSecond);
        add(`${rows} streams: tokens/processor s`, streamed.perProcessorSecond);
      }
    }
  } finally {
    model.dispose();
    await Deno.remove(folder, { recursive: true });
    started.dispose();
  }
  const middle = (what: string) => median(rates.get(what) ?? [NaN]);
  for (const [what, values] of [...rates].sort(([a], [b]) => a < b ? -1 : 1)) {
    const shown = values.map((value) => value.toFixed(2)).join(", ");
    console.log(`${middle(what).toFixed(2).padStart(10)}  ${what} (${shown})`);
  }
  let passed = true;
  for (const unit of ["tokens/s", "tokens/processor s"]) {
    const eight = middle(`${STREAMS} streams: ${unit}`);
    const overOne = eight / middle(`1 streams: ${unit}`);
    const overDecode = eight / middle(`bench decode, ${STREAMS} rows: ${unit}`);
    console.log(
      `by ${unit}: eight streams / one stream ${overOne.toFixed(2)} (want 4), ` +
        `eight streams / bench decode's eight rows ${overDecode.toFixed(3)} (want 0.9)`,
    );
    if (unit === "tokens/s") passed = overOne >= 4 && overDecode >= 0.9;
  }
  console.log(passed ? "passed" : "NOT PASSED");
  if (!passed) Deno.exit(1);
}
