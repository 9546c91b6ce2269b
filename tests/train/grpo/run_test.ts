import { assert, assertEquals } from "@std/assert";
import { rewardTable, runGRPO } from "../../../src/train/grpo/run.ts";
import { tinyConfig, tinyRun } from "./tiny_grpo.ts";

/** Lines of a JSON-lines file without what depends on the clock. */
async function lines(path: string): Promise<Record<string, unknown>[]> {
  const text = await Deno.readTextFile(path);
  return text.trim().split("\n").map((line) => {
    const entries = Object.entries(JSON.parse(line));
    const lasting = ([name]: [string, unknown]) =>
      !/^time\/|^image_features\/|\/ms$|per_second|runtime|memory/.test(name);
    return Object.fromEntries(entries.filter(lasting));
  });
}

for (
  const [what, own, file] of [
    ["a whole model", [], "model.safetensors"],
    [
      "adapters with a KL term and a trained projector",
      [
        "model.use_lora=true",
        "model.lora_config.target_modules=[q_proj,v_proj]",
        "training.lr_lora=1e-2",
        "training.lr_mp=1e-3",
        "grpo.beta=0.1",
        "grpo.disable_dropout=false",
      ],
      "adapter_model.safetensors",
    ],
  ] as const
) {
  Deno.test(`train grpo of ${what}: stopped within a round and resumed, it ends in the same bits`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      const reward = `${folder}/reward.ts`;
      await Deno.writeTextFile(
        reward,
        "export const length = ({ completions }) => completions.map((text) => text.length % 5);",
      );
      const config = (name: string) => {
        const { save, model, ...rest } = tinyConfig([
          "training.max_steps=4",
          "training.per_device_train_batch_size=2",
          "training.logging_steps=1",
          "training.save_strategy=steps",
          "training.save_steps=10",
          "training.eval_strategy=no",
          "grpo.steps_per_generation=2",
          "grpo.num_iterations=2",
          `training.output_dir=${folder}/${name}`,
          `dataset.reward_functions_fn=${reward}`,
          ...own,
        ]);
        const useLora = own.some((override) => override === "model.use_lora=true");
        return {
          ...rest,
          model: {
            ...model,
            use_lora: useLora,
            lora_config: {
              ...model.lora_config,
              target_modules: ["q_proj", "v_proj"],
              lora_dropout: 0.2,
            },
          },
          save: { ...save, save_model_path: `${folder}/${name}/final` },
        };
      };
      await runGRPO(config("straight"), { backend: "wasm" });
      const stopAfter = (last: number) => ({
        onStepEnd: ({ step }: { step: number }) => step === last ? "stop" as const : undefined,
      });
      await runGRPO(config("resumed"), { backend: "wasm", callbacks: [stopAfter(3)] });
      const { step } = await runGRPO(config("resumed"), { backend: "wasm", resume: "auto" });
      assertEquals(step, 4);
      const logged = await lines(`${folder}/straight/metrics.jsonl`);
      assert(
        logged.every(({ grad_norm }) => Number(grad_norm) > 0),
        "every step teaches something",
      );
      const bytes = (name: string) => Deno.readFile(`${folder}/${name}/final/${file}`);
      assertEquals(await bytes("resumed"), await bytes("straight"));
      for (const file of ["metrics.jsonl", "completions.jsonl"]) {
        assertEquals(
          await lines(`${folder}/resumed/${file}`),
          await lines(`${folder}/straight/${file}`),
          file,
        );
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

Deno.test("an evaluation gives the mean reward of greedy answers, and samples with pictures", async () => {
  using run = await tinyRun(tinyConfig());
  const first = await run.method.evaluate();
  assert(await run.method.evaluate() === first, "the same policy is evaluated once");
  const { metrics } = first!;
  assert(metrics.eval_reward > 0);
  assert("eval_rewards/ids/mean" in metrics && "eval_completions/mean_length" in metrics);
  assertEquals([first!.samples.length, first!.all?.length], [12, 12]);
  for (const { id, pictures, reward } of first!.samples) {
    assertEquals([pictures?.length, typeof reward], [1, "number"]);
    assert(first!.all!.some((one) => one.id === id && !("pictures" in one)), id);
  }
  await run.update(0);
  assert(await run.method.evaluate() !== first, "another one anew");
});

Deno.test("rewardTable() sets every reward before beside after", () => {
  const table = rewardTable(
    { eval_reward: 0.25, "eval_rewards/accuracy/mean": 0.1, eval_runtime: 1 },
    { eval_reward: 0.5, "eval_rewards/accuracy/mean": 0.41239, eval_runtime: 1 },
  );
  assertEquals(table.rows, [["reward", 0.25, 0.5], ["accuracy", 0.1, 0.4124]]);
});
