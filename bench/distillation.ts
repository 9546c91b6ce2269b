/**
 * What a small student gains from a teacher: the embedded student trained by SFT and by GKD in as many
 * steps, and the exact match of held-out questions.
 *
 *     deno run -A bench/distillation.ts [SEED…]
 *
 * @module
 */
import { EMBEDDED_CONFIGS } from "../src/config/embedded/embedded_configs.ts";
import { parseConfig } from "../src/config/load_config.ts";
import type { ResolvedConfig } from "../src/config/types/config_types.ts";
import { embeddedDataset } from "../src/data/embedded/embedded_dataset.ts";
import { initBackend } from "../src/device/backend.ts";
import { evaluateVqa } from "../src/evaluate/evaluate_vqa.ts";
import { loadModel } from "../src/generate/load_model.ts";
import { runGKD } from "../src/train/gkd/run.ts";
import { TEACHER_STEPS } from "../src/train/gkd/starter.ts";
import { runSFT } from "../src/train/sft/run.ts";

const VARIANTS: readonly (readonly [name: string, overrides: readonly string[] | null])[] = [
  ["SFT on the data's answers", null],
  ["lmbda 0, beta 0", ["gkd.lmbda=0", "gkd.beta=0"]],
  ["lmbda 0.25, beta 0 (the default)", []],
  ["lmbda 0.5, beta 0", ["gkd.lmbda=0.5"]],
  ["lmbda 0.5, beta 0.5 (TRL's)", ["gkd.lmbda=0.5", "gkd.beta=0.5"]],
];

/** The held-out questions that a folder's model answers as they should be. */
async function exactMatch(folder: string): Promise<string> {
  const test = await embeddedDataset("test", { format: "vqa", splitTurns: true });
  const loaded = await loadModel(folder);
  const { exactMatch } = await evaluateVqa(loaded, test, { batchSize: 128, maxNewTokens: 16 });
  loaded.model.dispose();
  return `${(100 * exactMatch).toFixed(1)} %`;
}

if (import.meta.main) {
  const seeds = Deno.args.length > 0 ? Deno.args.map(Number) : [42];
  await initBackend({ backend: "wasm" });
  const folder = await Deno.makeTempDir();
  const { text, file } = EMBEDDED_CONFIGS.gkd;
  try {
    for (const seed of seeds) {
      for (const [name, overrides] of VARIANTS) {
        const output = `${folder}/run`;
        const config = parseConfig(text, {
          file,
          trainingType: "gkd",
          overrides: [
            ...overrides ?? [],
            `training.seed=${seed}`,
            `training.output_dir=${output}`,
            `save.save_model_path=${output}/final`,
            "training.eval_strategy=no",
            "training.save_strategy=no",
          ],
        });
        const started = performance.now();
        const sft: ResolvedConfig = { ...config, training_type: "sft" };
        await (overrides === null ? runSFT(sft, { backend: "wasm" }) : runGKD(config, {
          backend: "wasm",
        }));
        const seconds = Math.round((performance.now() - started) / 1000);
        console.log(
          `seed ${seed}  ${name.padEnd(34)} ${await exactMatch(`${output}/final`)}  ${seconds} s`,
        );
        await Deno.remove(output, { recursive: true });
      }
    }
    const teacher = `${folder}/shapes_starter_${TEACHER_STEPS}_42`;
    console.log(`the teacher, ${TEACHER_STEPS} steps of SFT: ${await exactMatch(teacher)}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
