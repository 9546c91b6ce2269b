import { assertEquals } from "@std/assert";
import { EMBEDDED_CONFIGS } from "../../../src/config/embedded/embedded_configs.ts";
import { parseConfig } from "../../../src/config/load_config.ts";
import {
  decidingSettings,
  identityDifferences,
  type RunIdentity,
} from "../../../src/train/checkpoint/run_identity.ts";

const settingsOf = (...overrides: string[]) =>
  decidingSettings(
    parseConfig(EMBEDDED_CONFIGS.grpo.text, { trainingType: "grpo", overrides }),
    "grpo",
  );

function identity(changes: Partial<RunIdentity> = {}): RunIdentity {
  return {
    data: { name: "a.jsonl", fingerprint: "aaaaaaaaaa", examples: 4 },
    backend: "wasm",
    device: null,
    settings: settingsOf(),
    ...changes,
  };
}

Deno.test("decidingSettings() has the method's own section and leaves out folders, logging and evaluation", () => {
  const keys = Object.keys(settingsOf());
  for (const key of ["training.seed", "grpo.beta", "model.lora_config.r", "dataset.streaming"]) {
    assertEquals(keys.includes(key), true, key);
  }
  const wrong = keys.filter((key) =>
    /^(dpo|save|logging)\.|output_dir|eval_steps|logging_steps|train_data_path/.test(key)
  );
  assertEquals(wrong, []);
});

Deno.test("identityDifferences() finds nothing between equal runs, wherever their data lies", () => {
  const moved = identity({ data: { ...identity().data, name: "elsewhere/a.jsonl" } });
  assertEquals(identityDifferences(identity(), moved), { decisive: [], minor: [] });
});

Deno.test("identityDifferences() tells data, backend and batch from what may change within a run", () => {
  const now = identity({
    data: { name: "b.jsonl", fingerprint: "bbbbbbbbbb", examples: 5 },
    backend: "webgpu",
    settings: settingsOf("training.learning_rate=1e-4", "grpo.num_generations=6"),
  });
  const { decisive, minor } = identityDifferences(identity(), now);
  assertEquals(decisive.slice(0, 2), [
    "the data was a.jsonl (4 examples, aaaaaaaa) and is b.jsonl (5 examples, bbbbbbbb)",
    "the backend was wasm and is webgpu",
  ]);
  assertEquals(decisive.some((text) => text.startsWith("grpo.num_generations was ")), true);
  assertEquals(minor.some((text) => text.startsWith("training.learning_rate was ")), true);
});

Deno.test("identityDifferences() compares names and sizes of data without a fingerprint", () => {
  const data = (name: string, examples: number | null) =>
    identity({ data: { name, fingerprint: "", examples } });
  const count = (then: RunIdentity, now: RunIdentity) =>
    identityDifferences(then, now).decisive.length;
  assertEquals(count(data("rows", 3), data("rows", 3)), 0);
  assertEquals(count(data("rows", 3), data("rows", 4)), 1);
  assertEquals(count(data("rows", 3), data("others", 3)), 1);
  assertEquals(count(data("stream", null), data("stream", null)), 0);
});

Deno.test("identityDifferences() ignores a key that is newer than the checkpoint", () => {
  const { ["training.seed"]: _, ...older } = settingsOf();
  assertEquals(identityDifferences(identity({ settings: older }), identity()), {
    decisive: [],
    minor: [],
  });
});

Deno.test("identityDifferences() tells another library of matrix products, and takes an unknown shape as it was", () => {
  const products = { first: "blis", choices: { "nn 1 2 3": "onednn", "nt 4 5 6": "blis" } };
  const then = identity({ products });
  const same = identity({ products: { first: "blis", choices: { "nn 1 2 3": "onednn" } } });
  assertEquals(identityDifferences(then, same).decisive, []);
  assertEquals(identityDifferences(identity(), then).decisive, []);
  const other = identity({ products: { first: null, choices: { "nn 1 2 3": "blis" } } });
  assertEquals(identityDifferences(then, other).decisive, [
    "matrix products were by blis and are by wasm",
    "1 shapes of matrix products have another library (nn 1 2 3: onednn, now blis)",
  ]);
});
