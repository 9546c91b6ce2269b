/**
 * Completions → the scores of the reward functions, in their sandbox.
 *
 * @module
 */
import { rewardPrompt } from "../../data/rows/grpo_format.ts";
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { rewardOptions } from "../../config/load_config.ts";
import type { Cell } from "../../data/rows/row.ts";
import { RewardSandbox } from "../../rewards/reward_sandbox.ts";
import type { FunctionScores, RewardModuleSpec } from "../../rewards/types.ts";
import type { GRPOPrompt } from "./prompts.ts";
import type { Completion } from "./sampling.ts";

/** Column names that NanoVLM-Lab takes for the answer too. */
const ANSWER_ALIASES = ["original_answer", "expected_answer"];

/** Scores of a batch of completions. */
export interface Scored {
  /** [N][functions]; null if a function does not apply or failed. */
  readonly rewards: readonly (readonly (number | null)[])[];
  /** One a function. */
  readonly functions: readonly Pick<FunctionScores, "name" | "error" | "timedOut" | "ms">[];
  readonly seconds: number;
}

/** Scores completions. */
export interface Scorer {
  /** Metric names of the functions. */
  readonly names: readonly string[];
  /** Whether each is one of this library's own. Only those judge answers in samples. */
  readonly builtin?: readonly boolean[];
  /** One a function. */
  readonly weights: readonly number[];
  /**
   * Scores completions.
   *
   * @param prompts one a completion
   * @param state what the functions get as `trainer_state`
   * @throws {RewardFailureError} if a function failed several times in a row
   */
  score(
    prompts: readonly GRPOPrompt[],
    completions: readonly Completion[],
    state: Record<string, unknown>,
  ): Promise<Scored>;
}

/** The settings and permissions of each reward module in a config. */
export function rewardModuleSpecs(config: ResolvedConfig): RewardModuleSpec[] {
  const { weights, timeouts } = functionSettings(config);
  return config.dataset.reward_functions_fn.map((module) => {
    const options = rewardOptions(config, module);
    return {
      module,
      weight: options.weight,
      // Those of other modules are resolved by metric name: a foreign `accuracy` gets a name of its own.
      ...(module.startsWith("builtin:")
        ? { weights: Object.fromEntries(weights), timeouts: Object.fromEntries(timeouts) }
        : {}),
      timeoutMs: options.timeout_ms,
      memoryMb: options.memory_mb,
      allowNet: options.allow_net,
      allowRead: options.allow_read,
      allowEnv: options.allow_env,
      processes: options.processes,
      ...(options.integrity === null ? {} : { integrity: options.integrity }),
    };
  });
}

/** Weights and time limits of single functions: the entries of `rewards` that name no module. */
function functionSettings(
  config: ResolvedConfig,
): { weights: Map<string, number>; timeouts: Map<string, number> } {
  const weights = new Map<string, number>(), timeouts = new Map<string, number>();
  for (const [name, own] of Object.entries(config.rewards)) {
    if (config.dataset.reward_functions_fn.includes(name)) continue;
    if (own.weight !== undefined) weights.set(name, own.weight);
    if (own.timeout_ms !== undefined) timeouts.set(name, own.timeout_ms);
  }
  return { weights, timeouts };
}

/** Every column that any of the examples has, null if one lacks it. */
function columnsOf(prompts: readonly GRPOPrompt[]): Record<string, Cell[]> {
  const names = new Set(prompts.flatMap(({ example }) => Object.keys(example.columns)));
  const alias = names.has("answer") ? undefined : ANSWER_ALIASES.find((name) => names.has(name));
  return Object.fromEntries([...names].map((name) => [
    name === alias ? "answer" : name,
    prompts.map(({ example }) =>
      Object.hasOwn(example.columns, name) ? example.columns[name] : null
    ),
  ]));
}

/** What an environment adds: the messages since the prompt, and the last state, of each completion. */
function episodeColumns(completions: readonly Completion[]): Record<string, unknown[]> {
  if (completions.every(({ episode }) => episode === undefined)) return {};
  return {
    conversations: completions.map(({ text, episode }) =>
      episode?.messages ?? [{ role: "assistant", content: text }]
    ),
    environment_states: completions.map(({ episode }) => episode?.state ?? null),
  };
}

/** Every reward function of a run, in the sandbox. */
export class CompletionScorer implements Scorer, AsyncDisposable {
  readonly weights: readonly number[];

  private constructor(readonly sandbox: RewardSandbox, weights: readonly number[]) {
    this.weights = weights;
  }

  /**
   * Starts the config's reward modules.
   *
   * @param log gets what modules print and what is refused to them
   * @throws {RewardModuleError} if one cannot be used
   * @throws {Error} if `grpo.reward_weights` has not one number a function
   */
  static async start(
    config: ResolvedConfig,
    log?: (line: string) => void,
  ): Promise<CompletionScorer> {
    const sandbox = await RewardSandbox.start(rewardModuleSpecs(config), {
      log,
      ...functionSettings(config),
    });
    const weights = config.grpo.reward_weights ?? sandbox.weights;
    if (weights.length !== sandbox.functions.length) {
      await sandbox.close();
      throw new Error(
        `Cannot weigh the rewards: grpo.reward_weights has ${weights.length} numbers, want one for ` +
          `each of the ${sandbox.functions.length} functions: ${sandbox.functions.join(", ")}`,
      );
    }
    return new CompletionScorer(sandbox, weights);
  }

  get names(): readonly string[] {
    return this.sandbox.functions;
  }

  get builtin(): readonly boolean[] {
    return this.sandbox.builtin;
  }

  async score(
    prompts: readonly GRPOPrompt[],
    completions: readonly Completion[],
    state: Record<string, unknown>,
  ): Promise<Scored> {
    const started = performance.now();
    const result = await this.sandbox.score({
      prompts: prompts.map(({ example }) => rewardPrompt(example)),
      completions: completions.map(({ text, episode }, i) =>
        prompts[i].example.conversational
          ? episode?.messages ?? [{ role: "assistant", content: text }]
          : text
      ),
      completion_ids: completions.map(({ tokens }) => tokens),
      columns: { ...columnsOf(prompts), ...episodeColumns(completions) },
      trainer_state: state,
    });
    const { functions } = result;
    // What a model did in an environment that failed says nothing about the model.
    const rewards = result.rewards.map((own, i) =>
      completions[i].episode?.failed ? own.map(() => null) : own
    );
    return { rewards, functions, seconds: (performance.now() - started) / 1000 };
  }

  /** Ends the reward processes. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.sandbox.close();
  }
}
