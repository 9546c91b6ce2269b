import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { benchDims } from "../../../src/bench/bench_work.ts";
import { formatCheck } from "../../../src/bench/check/check_table.ts";
import { compareWithRecord } from "../../../src/bench/check/record.ts";
import { measureRatios } from "../../../src/bench/check/run_check.ts";
import { Yardstick } from "../../../src/bench/check/yardstick.ts";
import { wallClock } from "../../../src/bench/clock.ts";
import { initBackend } from "../../../src/device/backend.ts";
import { parseBenchArguments } from "../../../tasks/bench.ts";
import { UsageError } from "../../../tasks/usage_error.ts";

Deno.test("bench check measures every benchmark in yardsticks, and says what got worse", async () => {
  await initBackend({ backend: "wasm" });
  const { config } = benchDims("tiny");
  const small = { vit_hidden_dim: 16, vit_inter_dim: 32, vit_n_heads: 2, vit_n_blocks: 1 };
  const narrow = { lm_hidden_dim: 16, lm_inter_dim: 32, lm_n_heads: 2, lm_n_kv_heads: 1 };
  const dims = { config: { ...config, ...small, ...narrow, lm_n_blocks: 1 }, rows: 1, tokens: 12 };
  const now = await measureRatios({ model: "tiny", rounds: 1, reps: 1, clock: "wall", dims });
  for (
    const name of [
      ...["forward_s", "step_s", "adamw_s", "lora_step_s", "lora_later_step_s", "grpo_step_s"],
      ...["decode_1_tokens_per_s", "decode_8_tokens_per_s"],
    ]
  ) assert(now.ratios[name] > 0, name);
  assert(!Object.keys(now.ratios).some((name) => /mib|fastest/.test(name)));
  const halved = { ...now, ratios: { ...now.ratios, step_s: now.ratios.step_s / 2 } };
  const text = formatCheck(now, halved, compareWithRecord(now, halved, 0.1));
  assertStringIncludes(text, "worse: step_s");
  assertStringIncludes(text, "100.0 %");
  const none = formatCheck(now, null, compareWithRecord(now, null, 0.1));
  assertStringIncludes(none, "--write makes one");
  assertStringIncludes(none, "nothing got worse");
});

Deno.test("the yardstick takes time, and more of it the more often it is taken", () => {
  const yardstick = new Yardstick();
  let ticks = 0;
  assertEquals(yardstick.seconds(() => ticks++, 4), 1);
  assertEquals(ticks, 8);
  assert(yardstick.seconds(wallClock, 1) > 0);
});

Deno.test("bench check's command line", () => {
  const { what, rounds, record, write, margin } = parseBenchArguments(["check"]);
  assertEquals({ what, rounds, record, write, margin }, {
    ...{ what: "check", rounds: 3, record: "bench/record.json", write: false, margin: 0.1 },
  });
  assertThrows(
    () => parseBenchArguments(["step", "--write"]),
    UsageError,
    "wants the benchmark check",
  );
});
