import { assert, assertEquals } from "@std/assert";
import type { ResolvedConfig } from "../../../src/config/types/config_types.ts";
import { runDPO } from "../../../src/train/dpo/run.ts";
import { runGRPO } from "../../../src/train/grpo/run.ts";
import type { RunOptions } from "../../../src/train/run/run.ts";
import { runSFT } from "../../../src/train/sft/run.ts";
import * as dpo from "../dpo/tiny_dpo.ts";
import * as grpo from "../grpo/tiny_grpo.ts";
import * as sft from "../sft/tiny_sft.ts";

interface Outcome {
  readonly adapter: Uint8Array;
  /** `image_features/reused_share` of each step. */
  readonly reused: readonly (number | undefined)[];
}

/** Runs a config in a folder of its own. */
async function outcome(
  config: (overrides: readonly string[]) => ResolvedConfig,
  run: (config: ResolvedConfig, options: RunOptions) => Promise<unknown>,
  overrides: readonly string[],
): Promise<Outcome> {
  const folder = await Deno.makeTempDir();
  try {
    const saved = `${folder}/model`;
    const { save, ...rest } = config([
      "dataset.max_samples=4",
      "training.max_steps=6",
      "training.logging_steps=1",
      "training.save_strategy=no",
      "training.eval_strategy=no",
      "training.lr_vision_backbone=0",
      "training.lr_lora=1e-2",
      `training.output_dir=${folder}/run`,
      ...overrides,
    ]);
    await run({ ...rest, save: { ...save, save_model_path: saved } }, { backend: "wasm" });
    const metrics = (await Deno.readTextFile(`${folder}/run/metrics.jsonl`)).trim().split("\n");
    return {
      adapter: await Deno.readFile(`${saved}/adapter_model.safetensors`),
      reused: metrics.map((line) => JSON.parse(line))
        .filter((record) => "loss" in record)
        .map((record) => record["image_features/reused_share"]),
    };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** GRPO with adapters: the tiny config has a model section of its own. */
function adaptedGRPO(overrides: readonly string[]): ResolvedConfig {
  const config = grpo.tinyConfig(overrides);
  const target_modules = ["q_proj", "v_proj"];
  const lora_config = { ...config.model.lora_config, target_modules };
  return { ...config, model: { ...config.model, use_lora: true, lora_config } };
}

const reward = "export const length = ({ completions }) => completions.map((t) => t.length % 5);";

for (
  const [name, config, run, own] of [
    ["SFT", sft.tinyConfig, runSFT, sft.LORA],
    ["DPO", dpo.tinyConfig, runDPO, [...dpo.LORA, "training.gradient_accumulation_steps=1"]],
    ["GRPO with a KL term", adaptedGRPO, runGRPO, ["grpo.beta=0.1"]],
  ] as const
) {
  for (const projector of ["frozen", "trained"]) {
    Deno.test(`${name}, projector ${projector}: kept features change no bit of the adapter`, async () => {
      const folder = await Deno.makeTempDir();
      try {
        await Deno.writeTextFile(`${folder}/reward.ts`, reward);
        const overrides = [
          ...own,
          `training.lr_mp=${projector === "frozen" ? 0 : 1e-2}`,
          ...(name.startsWith("GRPO") ? [`dataset.reward_functions_fn=${folder}/reward.ts`] : []),
        ];
        const kept = await outcome(config, run, overrides);
        const anew = await outcome(config, run, [
          ...overrides,
          "training.image_feature_cache_mb=0",
          "training.image_feature_disk_mb=0",
        ]);
        assertEquals(kept.adapter, anew.adapter);
        assertEquals(kept.reused.at(-1), 1, `${kept.reused}`);
        assert((kept.reused[0] ?? 0) < 1);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    });
  }
}

Deno.test("a vision encoder that trains keeps nothing", async () => {
  const { reused } = await outcome(sft.tinyConfig, runSFT, [
    ...sft.LORA,
    "training.lr_vision_backbone=1e-3",
  ]);
  assertEquals(new Set(reused), new Set([undefined]));
});
