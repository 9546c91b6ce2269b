/** Early stopping against Transformers' own callback, where a Python has it. */
import { assert, assertEquals } from "@std/assert";
import { EarlyStopping } from "../../../src/train/evaluation/early_stopping.ts";

/** `NANOVLM_TEST_PYTHON` names a Python with transformers; else `python3`. */
const python = Deno.env.get("NANOVLM_TEST_PYTHON") ?? "python3";

/**
 * For each case the counter and the stop after every evaluation; `best_metric` moves as in
 * `Trainer._determine_best_metric`, after the callback.
 */
const PROGRAM = `
import json, sys
from types import SimpleNamespace
from transformers import EarlyStoppingCallback

for line in sys.stdin:
    case = json.loads(line)
    args = SimpleNamespace(metric_for_best_model="loss", greater_is_better=case["greater"])
    state = SimpleNamespace(best_metric=None)
    callback = EarlyStoppingCallback(case["patience"], case["threshold"])
    rows = []
    for value in case["values"]:
        control = SimpleNamespace(should_training_stop=False)
        callback.on_evaluate(args, state, control, {"eval_loss": value})
        best = state.best_metric
        if best is None:
            best = float("-inf") if case["greater"] else float("inf")
        is_best = value > best if case["greater"] else value < best
        state.best_metric = value if is_best else best
        rows.append([callback.early_stopping_patience_counter, control.should_training_stop, is_best])
    print(json.dumps(rows))
`;

function hasTransformers(): boolean {
  try {
    return new Deno.Command(python, {
      args: ["-c", "from transformers import EarlyStoppingCallback"],
      stderr: "null",
    }).outputSync().success;
  } catch {
    return false;
  }
}
const skipped = hasTransformers() ? "" : ` (skipped: ${python} cannot import transformers)`;

/** A linear congruential generator: the same cases every time. */
function* numbers(seed: number): Generator<number> {
  for (let state = seed;;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

Deno.test({
  name: `EarlyStopping counts, stops and finds the best as Transformers' callback does${skipped}`,
  ignore: skipped !== "",
  async fn() {
    const random = numbers(7);
    const next = () => random.next().value as number;
    const cases = Array.from({ length: 60 }, (_, i) => ({
      greater: i % 2 === 0,
      patience: 1 + i % 4,
      threshold: [0, 0.05, 0.25][i % 3],
      // Few different values, so that some are equal.
      values: Array.from({ length: 15 }, () => Math.floor(next() * 12) / 8),
    }));
    const child = new Deno.Command(python, {
      args: ["-c", PROGRAM],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const writer = child.stdin.getWriter();
    const lines = cases.map((one) => JSON.stringify(one)).join("\n") + "\n";
    await writer.write(new TextEncoder().encode(lines));
    await writer.close();
    const { stdout } = await child.output();
    const wanted = new TextDecoder().decode(stdout).trim().split("\n").map((line) =>
      JSON.parse(line)
    );
    assertEquals(wanted.length, cases.length);
    let stops = 0;
    cases.forEach(({ greater, patience, threshold, values }, i) => {
      const stopping = new EarlyStopping({
        early_stopping_patience: patience,
        early_stopping_threshold: threshold,
        greater_is_better: greater,
        metric_for_best_model: "loss",
      });
      const rows = values.map((value, step) => {
        const verdict = stopping.observe(value, step + 1);
        if (verdict.stops) stops++;
        return [stopping.withoutImprovement, verdict.stops, verdict.isBest];
      });
      assertEquals(rows, wanted[i], JSON.stringify(cases[i]));
    });
    assert(stops > 50, "the cases stop often enough to say something");
  },
});
