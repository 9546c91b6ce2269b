/**
 * `reward check` and `reward bench`: a reward module alone in its sandbox, on sample rows.
 *
 * @module
 */
import { builtinUrl } from "../src/rewards/graph/builtin_module.ts";
import { RewardModuleError } from "../src/rewards/graph/module_graph.ts";
import { type CallOutcome, SandboxedModule } from "../src/rewards/host/sandboxed_module.ts";
import { cleanLine } from "../src/clean_text.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { checkNamedPaths } from "./named_paths.ts";
import { rewardRows, rowsToContext, type SampleRow } from "./reward_rows.ts";
import { UsageError } from "./usage_error.ts";

/** What `reward` was asked for. */
export interface RewardOptions {
  readonly action: "check" | "bench";
  readonly module: string;
  readonly data: string | undefined;
  readonly timeoutMs: number | undefined;
  readonly memoryMb: number | undefined;
  readonly allowNet: string[] | true | undefined;
  readonly allowRead: string[] | true | undefined;
  readonly allowEnv: string[] | undefined;
  /** `true`: fetch what is remote and tell its integrity. */
  readonly integrity: string | true | undefined;
  readonly json: boolean;
}

/** One function's part of the report; `ms` is one call, in `bench` the median. */
interface FunctionReport {
  scores: (number | null)[];
  ms: number;
  error: string | null;
}

/** What `--json` prints. */
interface Report {
  functions: Record<string, FunctionReport>;
  refused: string[];
}

const BENCH_ROWS = 64;
const BENCH_CALLS = 50;

const options: readonly OptionSpec[] = [
  { name: "data", kind: "text", value: "F.jsonl", summary: "rows: prompt, completion, columns" },
  { name: "timeout-ms", kind: "integer", min: 1, summary: "longest call (10000)" },
  { name: "memory-mb", kind: "integer", min: 1, summary: "memory of its process (512)" },
  { name: "allow-net", kind: "grant", value: "HOST,…", summary: "hosts that it may call" },
  { name: "allow-read", kind: "grant", value: "PATH,…", summary: "paths that it may read" },
  { name: "allow-env", kind: "grant", value: "NAME,…", summary: "variables that it may see" },
  {
    name: "integrity",
    kind: "optional",
    value: "sha256-…",
    summary: "what it must be; alone: fetch what it imports and tell its integrity",
  },
  {
    name: "json",
    kind: "flag",
    summary: "print one JSON object on stdout, and nothing else there",
  },
];

/**
 * Parses the arguments of `reward`.
 *
 * @throws {UsageError}
 */
export function parseRewardArguments(args: readonly string[]): RewardOptions {
  const parsed = parseOptions(args, options, ["check or bench", "a module"]);
  const [action, module] = parsed.positionals;
  if (action !== "check" && action !== "bench") {
    throw new UsageError(`want check or bench, got ${JSON.stringify(action ?? "")}`);
  }
  if (module === undefined) throw new UsageError(`want the module to ${action}`);
  const grant = (name: string): string[] | true | undefined => {
    const value = parsed.grant(name);
    return value === undefined || value === true ? value : [...value];
  };
  if (module.startsWith("builtin:")) {
    try {
      builtinUrl(module);
    } catch (error) {
      throw new UsageError((error as Error).message);
    }
  }
  const allowEnv = grant("allow-env");
  if (allowEnv === true) throw new UsageError("want --allow-env=NAME: the whole is never granted");
  const integrity = parsed.optional("integrity");
  if (typeof integrity === "string" && !/^sha256-[A-Za-z0-9+/]{43}=$/.test(integrity)) {
    throw new UsageError(
      `want --integrity=sha256-… with 44 characters of base64, got ${integrity}`,
    );
  }
  return {
    action,
    module,
    data: parsed.text("data"),
    timeoutMs: parsed.number("timeout-ms"),
    memoryMb: parsed.number("memory-mb"),
    allowNet: grant("allow-net"),
    allowRead: grant("allow-read"),
    allowEnv,
    integrity,
    json: parsed.flag("json"),
  };
}

/** Runs a module's functions on the rows. */
async function report(asked: RewardOptions, rows: SampleRow[]): Promise<Report> {
  const result: Report = { functions: Object.create(null), refused: [] };
  const started = performance.now();
  const remote = /^(https?|jsr|npm):/.test(asked.module);
  await using module = await SandboxedModule.start(asked.module, {
    allowNet: asked.allowNet,
    allowRead: asked.allowRead,
    allowEnv: asked.allowEnv,
    timeoutMs: asked.timeoutMs,
    memoryMb: asked.memoryMb,
    integrity: asked.integrity === true ? undefined : asked.integrity,
  }, { anyIntegrity: asked.integrity === true || remote });
  const startMs = performance.now() - started;
  if (!asked.json) {
    console.log(`${asked.module}: started in ${startMs.toFixed(0)} ms`);
    console.log(
      asked.integrity === true || remote
        ? `for the config:\nrewards:\n  "${asked.module}":\n    integrity: ${module.integrity}`
        : `integrity: ${module.integrity}`,
    );
  }
  tell(module.loading.printed, module.specifier);
  result.refused.push(...module.loading.refused);
  const context = rowsToContext(rows);
  for (const name of module.names) {
    const call = (): Promise<CallOutcome> => module.call(name, [context], { scores: rows.length });
    const outcomes = [await call()];
    if (asked.action === "bench" && outcomes[0].error === null) {
      for (let i = 0; i < BENCH_CALLS; i++) outcomes.push(await call());
    }
    const first = outcomes[0];
    const times = outcomes.slice(outcomes.length > 1 ? 1 : 0).map(({ ms }) => ms)
      .sort((a, b) => a - b);
    tell(first.printed, name);
    for (const line of first.refused) if (!result.refused.includes(line)) result.refused.push(line);
    result.functions[name] = {
      scores: first.error === null
        ? first.value as (number | null)[]
        : new Array<null>(rows.length).fill(null),
      ms: times[times.length >> 1],
      error: outcomes.find(({ error }) => error !== null)?.error ?? null,
    };
  }
  return result;
}

function tell(printed: string[], name: string): void {
  for (const line of printed) console.error(`[reward ${cleanLine(name, 80)}] ${line}`);
}

function table({ functions }: Report, rows: SampleRow[], action: RewardOptions["action"]): void {
  const names = Object.keys(functions);
  if (action === "check") {
    const width = 40;
    const cut = (text: string): string => {
      const line = text.replaceAll(/\s+/g, " ");
      return (line.length > width ? `${line.slice(0, width - 1)}…` : line).padEnd(width);
    };
    console.log(`${cut("completion")}  ${names.join("  ")}`);
    rows.slice(0, 40).forEach((row, i) => {
      const cells = names.map((name) => {
        const score = functions[name].scores[i];
        const cell = score === null ? "-" : String(Math.round(score * 1e4) / 1e4);
        return cell.padStart(name.length);
      });
      const { completion } = row;
      const text = typeof completion === "string" ? completion : JSON.stringify(completion);
      console.log(`${cut(text)}  ${cells.join("  ")}`);
    });
    if (rows.length > 40) console.log(`… and ${rows.length - 40} more rows`);
  }
  for (const name of names) {
    const { ms, error } = functions[name];
    const what = action === "bench" ? "median" : "one call";
    console.log(
      `${name}: ${error === null ? `${ms.toFixed(1)} ms (${what})` : `failed: ${error}`}`,
    );
  }
}

/** The command. */
export const command: Command = {
  name: "reward",
  summary: "try a reward module in its sandbox",
  usage: "<check|bench> MODULE [options]",
  options,
  notes: `MODULE is a path, an https:, jsr: or npm: specifier, or builtin:NAME. Without --data, six
sample rows are scored. check prints scores and what was refused; bench scores 64 rows 50 times.`,
  async run(args) {
    const asked = parseRewardArguments(args);
    await checkNamedPaths([["MODULE", "module", asked.module]]);
    let rows = await rewardRows(asked.data);
    if (asked.action === "bench") {
      rows = Array.from({ length: BENCH_ROWS }, (_, i) => rows[i % rows.length]);
    }
    let result: Report;
    try {
      result = await report(asked, rows);
    } catch (error) {
      if (!(error instanceof RewardModuleError)) throw error;
      result = { functions: {}, refused: [...error.refused] };
      if (error.refused.length === 0) result.refused.push(error.message);
      console.error(error.message);
    }
    const { functions, refused } = result;
    const failed = Object.values(functions).some(({ error }) => error !== null);
    const none = Object.keys(functions).length === 0;
    if (asked.json) console.log(JSON.stringify(result));
    else {
      if (!none) table(result, rows, asked.action);
      for (const line of refused) console.log(`refused: ${line}`);
    }
    if (none && refused.length === 0) console.error(`${asked.module} exports no function`);
    return failed || none ? 1 : 0;
  },
};
