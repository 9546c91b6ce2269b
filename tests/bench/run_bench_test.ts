import { assert, assertEquals, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { formatBenchReport } from "../../src/bench/bench_table.ts";
import {
  benchBatch,
  type BenchDims,
  benchDims,
  benchModel,
  parameterCount,
} from "../../src/bench/bench_work.ts";
import { benchDecode } from "../../src/bench/decode_bench.ts";
import { benchGrpoStep } from "../../src/bench/grpo_step_bench.ts";
import { benchMemory } from "../../src/bench/memory_bench.ts";
import { opCases } from "../../src/bench/op_cases.ts";
import { benchOps, machineRates } from "../../src/bench/ops_bench.ts";
import { BENCHMARKS as RUN_BENCHMARKS, type BenchReport } from "../../src/bench/run_bench.ts";
import { benchLoraStep, StepWork } from "../../src/bench/step_bench.ts";
import { wallClock } from "../../src/bench/clock.ts";
import { initBackend } from "../../src/device/backend.ts";
import { readBack } from "../../src/device/read_back.ts";
import { BENCHMARKS, parseBenchArguments } from "../../tasks/bench.ts";
import { UsageError } from "../../tasks/usage_error.ts";

const once = { reps: 1, clock: wallClock };

/** Dims that cost nothing. */
const SMALL: BenchDims = {
  config: {
    ...benchDims("tiny").config,
    vit_hidden_dim: 16,
    vit_inter_dim: 32,
    vit_n_heads: 2,
    vit_n_blocks: 1,
    lm_hidden_dim: 16,
    lm_inter_dim: 32,
    lm_n_heads: 2,
    lm_n_kv_heads: 1,
    lm_n_blocks: 1,
  },
  rows: 2,
  tokens: 12,
};

/** Runs `bench` as a user does. */
async function bench(...args: string[]): Promise<{ out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL("../../mod.ts", import.meta.url).href, "bench", ...args],
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  const err = text.decode(stderr);
  assertEquals(code, 0, err);
  return { out: text.decode(stdout), err };
}

Deno.test("bench step --json prints device, times and ratios, and nothing else on stdout", async () => {
  const theirs = `console.log(JSON.stringify({ model: "tiny", step_s: 1, forward_s: 1 }))`;
  const { out } = await bench(
    ..."step --model tiny --backend wasm --reps 1 --rounds 2 --lora --json --against".split(" "),
    `${Deno.execPath()} eval '${theirs}'`,
  );
  const report: BenchReport = JSON.parse(out);
  const { device, step } = report;
  assertEquals([device.backend, report.model, report.parameters], ["wasm", "tiny", 1_952_768]);
  assert(device.reason.length > 0 && device.cores > 0 && device.threads > 0);
  assert(device.blas !== null || device.blas_missing !== null);
  for (const name of ["forward_s", "step_s", "adamw_s", "lora_step_s", "lora_later_step_s"]) {
    assert(step!.ours[name] > 0, name);
  }
  assertEquals(step!.ratios.map(({ name }) => name), ["forward_s", "step_s"]);
  const [first, second] = step!.rounds.map(({ ours }) => ours);
  assert(first.lora_step_s !== second.lora_step_s, "each round has a LoRA step of its own");
  assertEquals(first.lora_peak_mib, second.lora_peak_mib);
  assertEquals(step!.ratios[1].ratio, step!.ours.step_s);
  assert(formatBenchReport(report).includes("ours/theirs"));
});

Deno.test("the benchmark models have the sizes of the PyTorch yardstick's", () => {
  assertEquals(parameterCount(benchDims("tiny")), 1_952_768);
  assertEquals(Math.round(parameterCount(benchDims("230m")) / 1e6), 228);
  // SmolVLM-256M has 256,484,928 weights.
  assertEquals(parameterCount(benchDims("256m")), 256_484_928);
  const { config, rows, tokens } = benchDims("230m");
  assertEquals([config.lm_vocab_size, rows, tokens], [49218, 1, 256]);
});

Deno.test("what the step benchmark times is training: the loss falls, and nothing stays behind", async () => {
  await initBackend({ backend: "wasm" });
  const before = tf.memory().numTensors;
  const model = benchModel(SMALL);
  const work = new StepWork(model, SMALL);
  const losses: number[] = [];
  for (let i = 0; i < 5; i++) {
    const loss = await work.step();
    losses.push((await readBack([loss]))[0][0]);
    loss.dispose();
  }
  const held = tf.memory().numTensors;
  (await work.step()).dispose();
  assertEquals(tf.memory().numTensors, held);
  work.dispose();
  model.dispose();
  assert(losses[4] < losses[0], String(losses));
  assertEquals(tf.memory().numTensors, before);
});

Deno.test("every token of the batch but those of pictures is a label", async () => {
  await initBackend({ backend: "wasm" });
  const batch = benchBatch(SMALL);
  const labels = Array.from(batch.labels!);
  const pictures = SMALL.config.mp_image_token_length;
  assertEquals(labels.filter((label) => label === -100).length, SMALL.rows * pictures);
  assert(!labels.includes(SMALL.config.lm_base_vocab_size));
  batch.dispose();
});

Deno.test("LoRA, decoding and GRPO are timed and leave no tensor", async () => {
  await initBackend({ backend: "wasm" });
  const before = tf.memory().numTensors;
  assert((await benchLoraStep(SMALL, once)).lora_step_s > 0);
  const model = benchModel(SMALL);
  const decode = await benchDecode(model, once);
  model.dispose();
  assertEquals(Object.keys(decode), ["decode_1_tokens_per_s", "decode_8_tokens_per_s"]);
  for (const sharePrefix of [true, false]) {
    const grpo = await benchGrpoStep(SMALL, { ...once, sharePrefix });
    const parts = grpo.generate_s + grpo.reference_s + grpo.train_s;
    assert(Math.abs(grpo.grpo_step_s - parts) < 1e-9);
  }
  assertEquals(tf.memory().numTensors, before);
});

Deno.test("every op benchmark compares two implementations with the same numbers", async () => {
  await initBackend({ backend: "wasm" });
  const cases = opCases(SMALL);
  for (
    const name of ["linear, packed", "patches", "dropout", "replaceRows", "bf16"]
  ) {
    assert(cases.some((op) => op.name.includes(name)), name);
  }
  for (const op of cases) {
    const inputs = op.inputs();
    const [fused, composite] = await readBack([op.fused(inputs), op.composite(inputs)]);
    assertEquals(fused.length, composite.length, op.name);
    const largest = Math.max(...Array.from(composite, Math.abs));
    const apart = Math.max(...Array.from(fused, (value, i) => Math.abs(value - composite[i])));
    // Sums in another order may be rounded to another of the 16-bit numbers.
    const tolerance = op.name.includes("bf16") ? 2 ** -7 : 1e-4;
    assert(apart <= tolerance * largest, `${op.name}: ${apart}`);
    assert(op.flops !== null || op.bytes! > 0, op.name);
    op.dispose?.();
  }
});

Deno.test("op benchmarks report the share of the machine's own rates, and leave no tensor", async () => {
  await initBackend({ backend: "wasm" });
  const before = tf.memory().numTensors;
  const products = [{ size: "", gflops: 50, gflops_backward: 1 }];
  const rates = await machineRates(products, once);
  assertEquals(rates.gflops, 50);
  assert(rates.copy_bytes_per_s > 1e8 && rates.copy_bytes_per_s < 1e13);
  for (const { op, share, gflops } of await benchOps(SMALL, rates, once)) {
    assert(share !== null && share > 0, op);
    if (gflops !== null) assert(Math.abs(share - gflops / 50) < 1e-9, op);
  }
  assertEquals(tf.memory().numTensors, before);
});

Deno.test("memory grows with the tokens, and with the vocabulary by the table's gradients alone", async () => {
  await initBackend({ backend: "wasm" });
  const rows = await benchMemory(SMALL, { factors: [1, 2, 3], vocabularies: [600, 6000] });
  const [one, two, three] = rows.filter(({ over }) => over === "tokens")
    .map(({ activations_mib }) => activations_mib);
  assert(one < two && two < three, `${one} ${two} ${three}`);
  const [few, many] = rows.filter(({ over }) => over === "vocabulary");
  const ownGradient = many.gradients_mib - few.gradients_mib;
  // Those of the head and of the embedding, which share the table, and their sum.
  assert(many.step_mib - few.step_mib <= 3.1 * ownGradient, JSON.stringify([few, many]));
});

Deno.test("bench's command line: the same benchmarks, and --against if there is a yardstick", () => {
  assertEquals(BENCHMARKS, RUN_BENCHMARKS);
  const options = parseBenchArguments(["step", "--clock", "cpu", "--rounds", "3"]);
  assertEquals([options.clock, options.rounds, options.reps], ["cpu", 3, 5]);
  assertThrows(() => parseBenchArguments(["ops", "--against", "x"]), UsageError, "--against");
  assertThrows(() => parseBenchArguments(["--against", "x"]), UsageError, "--against");
  const { stock, bandwidth } = parseBenchArguments(["step", "--stock", "--bandwidth", "1008.5"]);
  assertEquals([stock, bandwidth], [true, 1008.5]);
  assertThrows(() => parseBenchArguments(["decode", "--stock"]), UsageError, "--stock");
  assertThrows(() => parseBenchArguments(["step", "--stock", "--against", "x"]), UsageError, "one");
});
