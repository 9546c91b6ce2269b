/**
 * What 8-bit weights cost and save against the 16-bit ones of a model folder: memory, the loss on a
 * text, greedy tokens, and the speed of decoding.
 *
 * ```sh
 * deno run -A bench/eight_bits.ts MODEL [TEXT_FILE]
 * ```
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../src/device/backend.ts";
import { readBack } from "../src/device/read_back.ts";
import { loadModel } from "../src/generate/load_model.ts";
import type { VisionLanguageModel } from "../src/generate/vision_language_model.ts";
import { weightBytes } from "../src/model/model_weights.ts";
import { formatTable } from "../src/report/terminal/console_table.ts";
import { median } from "../src/bench/timing.ts";
import { EMBEDDED_CONFIGS } from "../src/config/embedded/embedded_configs.ts";
import { parseConfig } from "../src/config/load_config.ts";
import { frozenWeights, roundFrozen } from "../src/train/run/frozen_weights.ts";

const TOKENS = 256, CHUNKS = 8, NEW_TOKENS = 48, ROUNDS = 5;

const [folder, file = new URL("../docs/architecture.md", import.meta.url).pathname] = Deno.args;
if (folder === undefined) {
  console.error("usage: deno run -A bench/eight_bits.ts MODEL [TEXT_FILE]");
  Deno.exit(2);
}
const { reason } = await initBackend({ backend: "auto" });
const config = parseConfig(EMBEDDED_CONFIGS.sft.text);

async function open(eight: boolean): Promise<VisionLanguageModel> {
  const section = { ...config.model, use_lora: true, load_in_8bit: eight };
  const training = { ...config.training, lr_mp: 0, lr_vision_backbone: 0 };
  const frozen = frozenWeights(section, training);
  const { model } = await loadModel(folder, {
    keepPacked: frozen.keepPacked,
    onTheWay: (weights) => roundFrozen(weights, frozen),
  });
  return model;
}

const models = { "16 bits": await open(false), "8 bits": await open(true) };
const { tokenizer } = models["16 bits"];
const ids = tokenizer!.encode(await Deno.readTextFile(file)).slice(0, TOKENS * CHUNKS + 1);
const chunks = Array.from({ length: Math.floor((ids.length - 1) / TOKENS) }, (_, i) => ({
  inputIds: [ids.slice(i * TOKENS, (i + 1) * TOKENS)],
  labels: [ids.slice(i * TOKENS + 1, (i + 1) * TOKENS + 1)],
}));

/** Mean loss over the text, nats a token, and the likeliest next token at each place. */
async function measure(model: VisionLanguageModel): Promise<{ loss: number; best: number[] }> {
  let loss = 0;
  const best: number[] = [];
  for (const chunk of chunks) {
    const out = model.forward({ ...chunk, returnLogits: true });
    const likeliest = tf.tidy(() => out.logits!.argMax(2).flatten());
    const [value, tokens] = await readBack([out.loss!, likeliest]);
    loss += value[0] / chunks.length;
    best.push(...tokens);
    tf.dispose([out.loss!, out.logits!, likeliest]);
  }
  return { loss, best };
}

async function tokensPerSecond(model: VisionLanguageModel): Promise<number> {
  const prompt = { inputIds: [ids.slice(0, 64)] };
  const seconds = async (maxNewTokens: number): Promise<number> => {
    const start = performance.now();
    await model.generate(prompt, { greedy: true, maxNewTokens, stopTokenIds: [] });
    return (performance.now() - start) / 1000;
  };
  const first = await seconds(1);
  return NEW_TOKENS / Math.max(await seconds(1 + NEW_TOKENS) - first, 1e-6);
}

const found = new Map<string, { loss: number; best: number[] }>();
for (const [name, model] of Object.entries(models)) found.set(name, await measure(model));
const speeds: Record<string, number[]> = { "16 bits": [], "8 bits": [] };
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, model] of Object.entries(models)) {
    speeds[name].push(await tokensPerSecond(model));
  }
}
const { best } = found.get("16 bits")!;
console.log(`backend ${reason}`);
console.log(`${chunks.length * TOKENS} tokens of text; decoding in turns, median of ${ROUNDS}\n`);
const right = (header: string) => ({ header, align: "right" as const });
console.log(formatTable(
  [
    { header: "frozen linear layers" },
    ...["weights, MiB", "loss, nats a token", "same likeliest token, %", "decoding, tokens/s"]
      .map(right),
  ],
  Object.entries(models).map(([name, model]) => {
    const { loss, best: own } = found.get(name)!;
    const same = own.filter((token, i) => token === best[i]).length / own.length;
    return [
      name,
      (weightBytes(model) / 2 ** 20).toFixed(0),
      loss.toFixed(4),
      (100 * same).toFixed(1),
      median(speeds[name]).toFixed(1),
    ];
  }),
));
const ratios = speeds["8 bits"].map((speed, i) => speed / speeds["16 bits"][i]);
console.log(`\ndecoding, 8 bits over 16 bits: ${median(ratios).toFixed(2)}`);
