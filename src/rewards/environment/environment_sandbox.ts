/** An environment in the sandbox: a module with `reset` and `step`, called for many episodes at once. */
import { cleanLine } from "../../clean_text.ts";
import { RewardModuleError } from "../graph/module_graph.ts";
import { RunAllowance } from "../host/answer_limits.ts";
import { ModuleLog } from "../host/printed_text.ts";
import { SandboxedModule } from "../host/sandboxed_module.ts";
import { RewardFailureError } from "../reward_sandbox.ts";
import { checkReply } from "./check_reply.ts";
import type {
  CheckedReply,
  EnvironmentSpec,
  EpisodeOutcome,
  EpisodeStart,
  EpisodeTurn,
} from "./types.ts";

// B episodes

/** Options of {@linkcode EnvironmentSandbox.start}. */
export interface EnvironmentOptions {
  /** Base folder of a relative module path (default: the working directory). */
  base?: string;
  /** Calls in a row that failed for all their episodes, after which the run stops (default 5; 0: never). */
  maxFailuresInARow?: number;
  /** Receives what the module prints, its refused attempts and its failures (default: stderr). */
  log?: (line: string) => void;
}

/** What the sampler of episodes needs of an environment. */
export interface Environment {
  /** States of new episodes. */
  reset(
    episodes: readonly EpisodeStart[],
    state?: Record<string, unknown>,
  ): Promise<EpisodeOutcome<unknown>[]>;
  /** Replies to the latest turns. */
  step(
    episodes: readonly EpisodeTurn[],
    state?: Record<string, unknown>,
  ): Promise<EpisodeOutcome<CheckedReply>[]>;
}

/** Once a call has failed, its episodes are tried one by one; so many may fail then. */
const FAILURES_ALONE = 3;

/**
 * Starts an environment and calls it. It keeps nothing between calls that matters: the state of an
 * episode goes in and comes out, so that any process of the module can take any call, and a process
 * that ended is replaced.
 *
 * A call that fails is repeated for each episode alone, so that an episode that breaks the module is
 * the only one that it ends.
 */
export class EnvironmentSandbox implements Environment, AsyncDisposable {
  /** `sha256-…` over the module's whole graph. */
  readonly integrity: string;
  readonly #module: SandboxedModule;
  readonly #options: EnvironmentOptions;
  readonly #log: ModuleLog;
  readonly #allowance = new RunAllowance();
  #failedInARow = 0;

  private constructor(module: SandboxedModule, options: EnvironmentOptions) {
    this.#module = module;
    this.#options = options;
    this.integrity = module.integrity;
    this.#log = new ModuleLog(options.log ?? console.error, "environment");
    const { printed, refused } = module.loading;
    this.#log.tell(module.specifier, printed, refused);
  }

  /**
   * Checks and starts the module.
   *
   * @throws {RewardModuleError} if it is refused, broken, or does not export `reset` and `step`
   */
  static async start(
    spec: EnvironmentSpec,
    options: EnvironmentOptions = {},
  ): Promise<EnvironmentSandbox> {
    const module = await SandboxedModule.start(spec.module, spec, { base: options.base });
    const missing = ["reset", "step"].filter((name) => !module.names.includes(name));
    if (missing.length > 0) {
      await module.close();
      throw new RewardModuleError(
        `Cannot use environment ${spec.module}: it exports ${
          module.names.join(", ") || "no function"
        }; want reset and step`,
        { refused: module.loading.refused },
      );
    }
    return new EnvironmentSandbox(module, options);
  }

  /**
   * States of new episodes. An episode that fails has an error.
   *
   * @throws {RewardFailureError} after several calls in a row that failed for all episodes
   */
  async reset(
    episodes: readonly EpisodeStart[],
    state: Record<string, unknown> = {},
  ): Promise<EpisodeOutcome<unknown>[]> {
    return await this.#callAll("reset", episodes, {
      context: (some) => startContext(some, state),
      check: (value) => value,
    });
  }

  /**
   * Replies to the latest turn of episodes. An episode that fails has an error.
   *
   * @throws {RewardFailureError} after several calls in a row that failed for all episodes
   */
  async step(
    episodes: readonly EpisodeTurn[],
    state: Record<string, unknown> = {},
  ): Promise<EpisodeOutcome<CheckedReply>[]> {
    return await this.#callAll("step", episodes, {
      context: (some) => turnContext(some, state),
      check: (value, episode) => checkReply(value, episode.state),
    });
  }

  async #callAll<E, T>(name: string, episodes: readonly E[], how: Calling<E, T>) {
    if (episodes.length === 0) return [];
    let outcomes = await this.#call(name, episodes, how);
    if (typeof outcomes === "string") {
      outcomes = await this.#oneByOne(name, episodes, how, outcomes);
    }
    for (const outcome of outcomes) {
      // The reason may be the module's own text: it counts towards the module's budget.
      if (outcome.error !== null) this.#log.tell(name, [], [`failed: ${outcome.error}`]);
    }
    const failed = outcomes.every(({ error }) => error !== null);
    this.#failedInARow = failed ? this.#failedInARow + 1 : 0;
    const most = this.#options.maxFailuresInARow ?? 5;
    if (most > 0 && this.#failedInARow >= most) {
      throw new RewardFailureError(
        `Environment ${this.#module.specifier} failed ${this.#failedInARow} times in a row, the ` +
          `last time in ${name}: ${outcomes[0].error}`,
        name,
        { functions: [], rewards: [], total: [], metrics: {} },
      );
    }
    return outcomes;
  }

  async #oneByOne<E, T>(
    name: string,
    episodes: readonly E[],
    how: Calling<E, T>,
    reason: string,
  ): Promise<EpisodeOutcome<T>[]> {
    if (episodes.length === 1) return [{ error: reason }];
    const outcomes: EpisodeOutcome<T>[] = [];
    let failures = 0, last = reason;
    for (const episode of episodes) {
      const outcome = failures < FAILURES_ALONE ? await this.#call(name, [episode], how) : last;
      if (typeof outcome === "string") {
        failures++;
        last = outcome;
        outcomes.push({ error: outcome });
      } else outcomes.push(...outcome);
    }
    return outcomes;
  }

  /** One call. Returns why it failed as a whole, if it did. */
  async #call<E, T>(
    name: string,
    episodes: readonly E[],
    { context, check }: Calling<E, T>,
  ): Promise<EpisodeOutcome<T>[] | string> {
    const outcome = await this.#module.call(name, [context(episodes)]);
    this.#log.tell(name, outcome.printed, outcome.refused);
    const error = outcome.error ??
      this.#allowance.add(outcome.argumentBytes, outcome.answerBytes);
    if (error !== null) return error;
    const { value } = outcome;
    if (!Array.isArray(value) || value.length !== episodes.length) {
      const got = Array.isArray(value) ? `a list of ${value.length}` : `a ${typeof value}`;
      return `${name} returned ${got}: want a list of ${episodes.length}, one an episode`;
    }
    return value.map((one: unknown, i): EpisodeOutcome<T> => {
      try {
        return { value: check(one, episodes[i]), error: null };
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        return { error: cleanLine(error.message, 500) };
      }
    });
  }

  /** Ids of the current processes, for tests. */
  async pids(): Promise<number[]> {
    return await this.#module.pids();
  }

  /** Ends its processes. */
  async close(): Promise<void> {
    await this.#module.close();
  }

  /** As {@linkcode close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** How episodes become the argument of a call, and its values outcomes. */
interface Calling<E, T> {
  readonly context: (episodes: readonly E[]) => Record<string, unknown>;
  /** @throws {TypeError} if the value is wrong */
  readonly check: (value: unknown, episode: E) => T;
}

/** Columns of rows, null if a row lacks one. Names come from the data: it inherits nothing. */
function columnsOf(episodes: readonly EpisodeStart[]): Record<string, unknown> {
  const context: Record<string, unknown> = Object.create(null);
  const names = new Set(episodes.flatMap(({ columns }) => Object.keys(columns)));
  for (const name of names) {
    context[name] = episodes.map(({ columns }) =>
      Object.hasOwn(columns, name) ? columns[name] : null
    );
  }
  return context;
}

function startContext(
  episodes: readonly EpisodeStart[],
  state: Record<string, unknown>,
): Record<string, unknown> {
  const context = columnsOf(episodes);
  context.prompts = episodes.map(({ prompt }) => prompt);
  context.images = episodes.map(({ images }) => images);
  context.seeds = episodes.map(({ seed }) => seed);
  context.trainer_state = state;
  return context;
}

function turnContext(
  episodes: readonly EpisodeTurn[],
  state: Record<string, unknown>,
): Record<string, unknown> {
  const context = startContext(episodes, state);
  context.states = episodes.map((episode) => episode.state);
  context.answers = episodes.map(({ answer }) => answer);
  context.conversations = episodes.map(({ conversation }) => conversation);
  context.turns = episodes.map(({ turn }) => turn);
  context.turns_left = episodes.map(({ turnsLeft }) => turnsLeft);
  return context;
}
