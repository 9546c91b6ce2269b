/** Whole runs with an environment in the sandbox. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { ResolvedConfig } from "../../../../src/config/types/config_types.ts";
import { runGRPO } from "../../../../src/train/grpo/run.ts";
import { CompletionScorer } from "../../../../src/train/grpo/scoring.ts";
import { writePreparedModel } from "../../../../src/train/run/prepare_model.ts";
import { tinyConfig } from "../tiny_grpo.ts";
import { episodeRun } from "./ending_model.ts";

const ENVIRONMENT = `
  export const reset = ({ seeds }: { seeds: number[] }) => seeds.map((seed) => ({ seed, said: 0 }));
  export function step({ states, images, answer_type, trainer_state }) {
    if (trainer_state.global_step === 1) throw new Error("no luck in step 1");
    return states.map(({ seed, said }, i) => said === 1 ? { done: true } : {
      state: { seed, said: said + 1 },
      text: answer_type[i],
      images: [{ image: 0, crop: [0, 0, images[i][0].width / 2, images[i][0].height] }],
    });
  }`;
const REWARD = `
  export const own = ({ completions, conversations, environment_states }) =>
    conversations.map((messages, i) =>
      messages.length * 100 + environment_states[i].said * 10 + (completions[i].length % 7));`;
const HOPELESS = `
  export const reset = ({ prompts }) => prompts.map(() => 0);
  let calls = 0;
  export function step({ answers }) {
    if (++calls > 3) throw new Error("never again");
    return answers.map(() => ({ text: "go on" }));
  }`;

/** A folder with a model that ends its turns, an environment and a reward. */
async function withRun(
  environment: string,
  overrides: readonly string[],
  use: (config: ResolvedConfig, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    using run = await episodeRun();
    await Deno.mkdir(`${folder}/model`);
    await writePreparedModel(run.prepared, [], `${folder}/model`);
    await Deno.writeTextFile(`${folder}/environment.ts`, environment);
    await Deno.writeTextFile(`${folder}/reward.ts`, REWARD);
    const config = tinyConfig([
      "training.per_device_train_batch_size=2",
      "training.logging_steps=1",
      "training.save_steps=100",
      "training.eval_strategy=no",
      "training.learning_rate=1e-4",
      `training.output_dir=${folder}/run`,
      `save.save_model_path=${folder}/run/final`,
      `dataset.reward_functions_fn=${folder}/reward.ts`,
      `grpo.environment=${folder}/environment.ts`,
      "grpo.max_turns=3",
      "grpo.max_completion_length=60",
      ...overrides,
    ]);
    config.model.model_name_or_path = `${folder}/model`;
    config.model.vlm_config = {};
    await use(config, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function linesOf(path: string): Promise<Record<string, unknown>[]> {
  const text = await Deno.readTextFile(path);
  return text.trim().split("\n").map((line) => JSON.parse(line));
}

Deno.test("a run plays episodes in the sandbox; rewards see conversations, failures score nothing", async () => {
  await withRun(ENVIRONMENT, ["training.max_steps=3"], async (config, folder) => {
    const { status, step } = await runGRPO(config, { backend: "wasm" });
    assertEquals([status, step], ["done", 3]);
    const metrics = await linesOf(`${folder}/run/metrics.jsonl`);
    assertEquals(metrics.slice(0, 3).map((one) => one["environment/failed_ratio"]), [0, 1, 0]);
    assert(metrics[0]["environment/turns"] as number > 1);
    const completions = await linesOf(`${folder}/run/completions.jsonl`);
    for (const { step, reward, completion } of completions) {
      const text = String(completion);
      if (step === 2) {
        assertEquals(reward, null);
        assert(text.includes("step failed: Error: no luck in step 1 (environment.ts:4"), text);
      } else if (text.includes("[user]")) {
        // A turn, a reply and a turn; one word said.
        assertEquals(Math.floor(reward as number / 10), 31);
      }
    }
    assert(completions.some(({ completion }) => String(completion).includes("[user] ")));
  });
});

Deno.test("an environment that always fails stops the run with a checkpoint", async () => {
  await withRun(HOPELESS, ["training.max_steps=20"], async (config, folder) => {
    const error = await assertRejects(() => runGRPO(config, { backend: "wasm" }), Error);
    assert(error.message.includes("failed 5 times in a row"), error.message);
    assert(error.message.includes("--resume"), error.message);
    const names = await Array.fromAsync(Deno.readDir(`${folder}/run`), ({ name }) => name);
    assert(names.some((name) => name.startsWith("checkpoint-")), names.join());
  });
});

Deno.test("a scorer gives conversational data the messages, and an episode that failed no score", async () => {
  await withRun(ENVIRONMENT, [], async (config) => {
    await using scorer = await CompletionScorer.start(config, () => {});
    const messages = [
      { role: "assistant", content: "look" },
      { role: "user", content: "here" },
      { role: "assistant", content: "ab" },
    ];
    const prompt = (conversational: boolean) => ({
      ids: [1],
      images: [],
      example: { prompt: [], images: [], columns: {}, conversational },
      cursor: null,
    });
    const completion = (failed: boolean) => ({
      ...{ tokens: [1], logProbs: [0], filteredLogProbs: [0], text: "ab" },
      finishReason: "eos" as const,
      episode: {
        ...{ chosen: [true], messages, pictures: [], state: { said: 1 }, turns: 2, note: null },
        failed,
      },
    });
    const { rewards } = await scorer.score(
      [prompt(false), prompt(true), prompt(false)],
      [completion(false), completion(false), completion(true)],
      {},
    );
    // `completions` is the last text, 2 characters, or the 3 messages.
    assertEquals(rewards, [[312], [313], [null]]);
  });
});
