/** Scores batches with reward functions. Each module runs in sandboxed processes of its own. */
import { cleanLine, cleanText } from "../clean_text.ts";
import { RewardModuleError } from "./graph/module_graph.ts";
import { type CallOutcome, encodeArguments, SandboxedModule } from "./host/sandboxed_module.ts";
import { ModuleLog } from "./host/printed_text.ts";
import type { FunctionScores, RewardBatch, RewardModuleSpec, RewardResult } from "./types.ts";

/** Options of {@linkcode RewardSandbox.start}. */
export interface RewardSandboxOptions {
  /** Base folder of relative module paths (default: the working directory). */
  base?: string;
  /**
   * Weights of functions by their metric name, before those of their modules. A name that two of the
   * user's modules export counts for both.
   */
  weights?: ReadonlyMap<string, number>;
  /** Time limits of functions by their metric name, in milliseconds; as `weights`. */
  timeouts?: ReadonlyMap<string, number>;
  /** Failed calls of one function in a row that make {@linkcode RewardSandbox.score} throw (default 5; 0: never). */
  maxFailuresInARow?: number;
  /** Receives what modules print and their refused attempts, in cleaned lines (default: stderr). */
  log?: (line: string) => void;
}

/** Thrown by {@linkcode RewardSandbox.score} when a reward function failed several times in a row. */
export class RewardFailureError extends Error {
  override name = "RewardFailureError";
  /** Metric name of the function. */
  readonly functionName: string;
  /** The last result, in which this function's scores are null. */
  readonly result: RewardResult;

  constructor(message: string, functionName: string, result: RewardResult) {
    super(cleanText(message));
    this.functionName = functionName;
    this.result = result;
  }
}

/** A function of a started sandbox. */
interface Entry {
  name: string;
  /** One of this library's own rewards. */
  builtin: boolean;
  exported: string;
  module: SandboxedModule;
  weight: number;
  timeoutMs: number | undefined;
  failed: number;
  timeouts: number;
  inARow: number;
}

/** Starts reward modules in the sandbox and scores batches with them. */
export class RewardSandbox implements AsyncDisposable {
  /** Metric names of the functions, in the order of the modules and of their definition. */
  readonly functions: readonly string[];
  /** Weight of each function. */
  readonly weights: readonly number[];
  /** Whether each function is one of this library's own. */
  readonly builtin: readonly boolean[];
  #entries: Entry[];
  #modules: SandboxedModule[];
  #options: RewardSandboxOptions;
  #logs = new Map<SandboxedModule, ModuleLog>();

  private constructor(
    entries: Entry[],
    modules: SandboxedModule[],
    options: RewardSandboxOptions,
  ) {
    this.#entries = entries;
    this.#modules = modules;
    this.#options = options;
    this.functions = entries.map(({ name }) => name);
    this.weights = entries.map(({ weight }) => weight);
    this.builtin = entries.map(({ builtin }) => builtin);
  }

  /**
   * Checks and starts all modules, side by side.
   *
   * @throws {RewardModuleError} if one is refused, broken, or exports no function
   *
   * @example Score two completions with a built-in reward
   * ```ts
   * import { RewardSandbox } from "@nanovlm/lab";
   * import { assertEquals } from "@std/assert";
   *
   * await using sandbox = await RewardSandbox.start([{ module: "builtin:exact_match" }]);
   * const { total } = await sandbox.score({
   *   prompts: ["2 + 2?", "3 + 3?"],
   *   completions: ["4", "7"],
   *   columns: { answer: ["4", "6"] },
   * });
   * assertEquals(total, [1, 0]);
   * ```
   */
  static async start(
    specs: RewardModuleSpec[],
    options: RewardSandboxOptions = {},
  ): Promise<RewardSandbox> {
    const started = await Promise.allSettled(
      specs.map((spec) => SandboxedModule.start(spec.module, spec, { base: options.base })),
    );
    const modules = started.flatMap((one) => one.status === "fulfilled" ? [one.value] : []);
    try {
      for (const one of started) if (one.status === "rejected") throw one.reason;
      const entries = specs.flatMap((spec, i) => entriesOf(spec, modules[i]));
      nameApart(entries);
      for (const entry of entries) {
        entry.weight = settingOf(entry, entries, options.weights) ?? entry.weight;
        entry.timeoutMs = settingOf(entry, entries, options.timeouts) ?? entry.timeoutMs;
      }
      const sandbox = new RewardSandbox(entries, modules, options);
      for (const module of modules) {
        const { printed, refused } = module.loading;
        sandbox.#logOf(module).tell(module.specifier, printed, refused);
      }
      return sandbox;
    } catch (error) {
      await Promise.all(modules.map((module) => module.close()));
      throw error;
    }
  }

  /**
   * Scores B completions with every function. A failed call gives null scores.
   *
   * @throws {RewardFailureError} after several failed calls of one function in a row
   * @throws {TypeError} if a column is not plain data of length B
   */
  async score(batch: RewardBatch): Promise<RewardResult> {
    const context = encodeArguments([contextOf(batch)]);
    const rows = batch.completions.length;
    const outcomes = await Promise.all(
      this.#entries.map((entry) =>
        entry.module.call(entry.exported, context, { scores: rows, timeoutMs: entry.timeoutMs })
      ),
    );
    const result = this.#result(rows, outcomes);
    const most = this.#options.maxFailuresInARow ?? 5;
    const broken = this.#entries.findIndex((entry) => most > 0 && entry.inARow >= most);
    if (broken >= 0) {
      const { name, inARow } = this.#entries[broken];
      throw new RewardFailureError(
        `Reward function ${name} failed ${inARow} times in a row, the last time: ${
          outcomes[broken].error ?? "its process ended before the call"
        }; try it alone with \`reward check\``,
        name,
        result,
      );
    }
    return result;
  }

  /** Ends every reward process. */
  async close(): Promise<void> {
    await Promise.all(this.#modules.map((module) => module.close()));
  }

  /** As {@linkcode close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Ids of the current processes, for tests and `doctor`. */
  async pids(): Promise<number[]> {
    return (await Promise.all(this.#modules.map((module) => module.pids()))).flat();
  }

  #result(rows: number, outcomes: CallOutcome[]): RewardResult {
    const metrics: Record<string, number> = {};
    const functions = this.#entries.map((entry, i): FunctionScores => {
      const { value, ms, printed, refused, timedOut } = outcomes[i];
      const { scores, error } = checkedScores(value, outcomes[i].error, rows);
      entry.inARow = error === null && !outcomes[i].endedBefore ? 0 : entry.inARow + 1;
      if (error !== null) entry.failed++;
      if (timedOut) entry.timeouts++;
      metrics[`rewards/${entry.name}/failed`] = entry.failed;
      metrics[`rewards/${entry.name}/timeouts`] = entry.timeouts;
      metrics[`rewards/${entry.name}/ms`] = ms;
      const log = this.#logOf(entry.module);
      log.tell(entry.name, printed, refused);
      // The reason may be the module's own text: it counts towards the module's budget.
      if (error !== null) log.tell(entry.name, [], [`failed: ${error}`]);
      const { name } = entry;
      return {
        name,
        module: entry.module.specifier,
        scores,
        ms,
        error,
        timedOut,
        printed,
        refused,
      };
    });
    const rewards = Array.from({ length: rows }, (_, row) => functions.map((f) => f.scores[row]));
    const total = rewards.map((scores) => weightedSum(scores, this.weights));
    return { functions, rewards, total, metrics };
  }

  #logOf(module: SandboxedModule): ModuleLog {
    let log = this.#logs.get(module);
    if (log === undefined) {
      log = new ModuleLog(this.#options.log ?? console.error);
      this.#logs.set(module, log);
    }
    return log;
  }
}

/** Sum of weight times score over the scores that are not null; null if none or not finite. */
export function weightedSum(
  scores: readonly (number | null)[],
  weights: readonly number[],
): number | null {
  let sum = 0;
  let any = false;
  scores.forEach((score, i) => {
    if (score === null) return;
    sum += score * weights[i];
    any = true;
  });
  return any && Number.isFinite(sum) ? sum : null;
}

function entriesOf(spec: RewardModuleSpec, module: SandboxedModule): Entry[] {
  const wanted = spec.functions ?? module.names;
  const missing = wanted.find((name) => !module.names.includes(name));
  if (missing !== undefined || wanted.length === 0) {
    const exports = module.names.length > 0 ? module.names.join(", ") : "no function";
    throw new RewardModuleError(
      `Cannot use reward module ${spec.module}: it exports ${exports}${
        missing === undefined ? "" : `, not ${missing}`
      }`,
      { refused: module.loading.refused },
    );
  }
  return wanted.map((exported) => ({
    name: exported,
    builtin: spec.module.startsWith("builtin:"),
    exported,
    module,
    weight: ownNumber(spec.weights, exported) ?? spec.weight ?? 1,
    timeoutMs: ownNumber(spec.timeouts, exported),
    failed: 0,
    timeouts: 0,
    inARow: 0,
  }));
}

/** A number that a record states for a name that a module chose: `toString` is not inherited. */
function ownNumber(record: Record<string, number> | undefined, name: string): number | undefined {
  const value = record !== undefined && Object.hasOwn(record, name) ? record[name] : undefined;
  if (value !== undefined && !Number.isFinite(value)) {
    throw new TypeError(`Cannot use ${value} for the reward function ${name}: want a number`);
  }
  return value;
}

function settingOf(
  entry: Entry,
  entries: readonly Entry[],
  settings: ReadonlyMap<string, number> | undefined,
): number | undefined {
  const own = settings?.get(entry.name);
  if (own !== undefined || entries.some(({ name }) => name === entry.exported)) return own;
  return settings?.get(entry.exported);
}

/** Names that the trainer itself gives to rewards. */
const RESERVED_NAMES: readonly string[] = ["soft_overlong_punishment"];

/**
 * Puts the module's name before functions of equal names, so that each has its own metric. Names of
 * the trainer and of built-in rewards stay theirs.
 */
function nameApart(entries: Entry[]): void {
  const counts = new Map<string, number>();
  const builtin = new Set(entries.filter((entry) => entry.builtin).map(({ name }) => name));
  for (const { name, ...entry } of entries) {
    if (entry.builtin || !builtin.has(name)) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const taken = new Set<string>(RESERVED_NAMES);
  for (const entry of entries) {
    const theirs = RESERVED_NAMES.includes(entry.name) ||
      (!entry.builtin && builtin.has(entry.name));
    if (theirs || counts.get(entry.name)! > 1) {
      const stem = /([^/\\]+?)(\.\w+)?$/.exec(entry.module.specifier)?.[1] ?? "module";
      entry.name = `${stem.replaceAll(/[^\w.-]/g, "_")}.${entry.name}`;
    }
    while (taken.has(entry.name)) entry.name += "_";
    taken.add(entry.name);
  }
}

function contextOf(batch: RewardBatch): Record<string, unknown> {
  const rows = batch.completions.length;
  // Names of columns come from the data: this object inherits nothing.
  const context: Record<string, unknown> = Object.create(null);
  const columns = new Map<string, ArrayLike<unknown>>([
    ...Object.entries(batch.columns ?? {}),
    ["prompts", batch.prompts],
    ["completions", batch.completions],
    ["completion_ids", (batch.completion_ids ?? []).map((ids) => Array.from(ids))],
  ]);
  for (const [name, column] of columns) {
    const optional = name === "completion_ids" && batch.completion_ids === undefined;
    if (column.length !== rows && !optional) {
      throw new TypeError(
        `Cannot score: column ${
          cleanLine(name, 80)
        } has ${column.length} rows, completions have ${rows}`,
      );
    }
    context[name] = column;
  }
  context.trainer_state = batch.trainer_state ?? {};
  return context;
}

/** Checks the scores again: the guard's check is not trusted. */
function checkedScores(
  value: unknown,
  error: string | null,
  rows: number,
): { scores: (number | null)[]; error: string | null } {
  const none: null[] = new Array(rows).fill(null);
  if (error !== null) return { scores: none, error };
  if (!Array.isArray(value) || value.length !== rows) {
    return { scores: none, error: "the answer is not an array of scores" };
  }
  const fits = value.every((score) =>
    score === null || (typeof score === "number" && Math.abs(score) <= 1e9)
  );
  return fits ? { scores: value, error: null } : { scores: none, error: "a score is not a number" };
}
