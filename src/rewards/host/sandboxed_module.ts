/** A sandboxed module: its checked graph and its pool of processes. */
import { asModuleError, deathText, link, parse } from "./loading.ts";
import { type ChildDeath, ChildDeathError, type SandboxChild } from "./child_process.ts";
import { answerLimits, scoreLimits } from "./answer_limits.ts";
import { ChildPool, type Place } from "./child_pool.ts";
import { makeCodec } from "../child/codec.ts";
import { ModuleGraph, RewardModuleError } from "../graph/module_graph.ts";
import { locate } from "../graph/module_place.ts";
import { cleanLine, cleanLines } from "./printed_text.ts";
import { RemoteModules } from "../graph/remote_module.ts";
import { mayRead, PARSE_TIMEOUT_MS, type ResolvedGrants, resolveGrants } from "./sandbox_grants.ts";
import { startChild } from "./start_child.ts";
import type { SandboxGrants } from "../types.ts";

/** The outcome of a call into a sandboxed module. */
export interface CallOutcome {
  /** What the function returned, checked; undefined if it failed. */
  value: unknown;
  /** The reason if it failed, else null. */
  error: string | null;
  timedOut: boolean;
  /** Whether the process that answered the call before had ended by itself since then. */
  endedBefore: boolean;
  /** Milliseconds from when a process was free. */
  ms: number;
  /** Encoded sizes. */
  argumentBytes: number;
  answerBytes: number;
  printed: string[];
  refused: string[];
}

/** A call, ready to be sent. */
interface Call {
  name: string;
  encoded: Uint8Array;
  timeoutMs: number;
  scores: number;
}

/** Options of {@linkcode SandboxedModule.start} that a config cannot set. */
export interface StartOptions {
  /** Folder against which a relative path is taken (default: the working directory). */
  base?: string;
  /** Fetch remote modules with any integrity, to print it in `reward check`. */
  anyIntegrity?: boolean;
}

/** A loaded module; see {@linkcode RewardSandbox} and {@linkcode SandboxedFunctions}. */
export class SandboxedModule implements AsyncDisposable {
  /** Its name in the config. */
  readonly specifier: string;
  /** Names of its exported functions, in the order of their definition. */
  readonly names: string[];
  /** `sha256-…` over its whole graph. */
  readonly integrity: string;
  /** What it printed and was refused while it was loaded. */
  readonly loading: { printed: string[]; refused: string[] };
  #grants: ResolvedGrants;
  #pool: ChildPool;
  /** What happened between calls; the next call reports it. */
  #notices: string[] = [];

  private constructor(parts: {
    specifier: string;
    names: string[];
    integrity: string;
    loading: { printed: string[]; refused: string[] };
    grants: ResolvedGrants;
    graph: ModuleGraph;
    first: SandboxChild;
  }) {
    this.specifier = parts.specifier;
    this.names = parts.names;
    this.integrity = parts.integrity;
    this.loading = parts.loading;
    this.#grants = parts.grants;
    const { specifier, graph, grants } = parts;
    const start = () => startAgain(specifier, graph, grants);
    this.#pool = new ChildPool(start, parts.first, grants.processes);
  }

  /** Ids of the current processes. */
  pids(): Promise<number[]> {
    return this.#pool.pids();
  }

  /**
   * Checks a module's graph, then starts it.
   *
   * `specifier` is a path, a `file:`, `https:`, `jsr:` or `npm:` specifier, or `builtin:NAME`.
   *
   * @throws {RewardModuleError} if it is refused, broken, or not what its integrity says
   */
  static async start(
    specifier: string,
    grants: SandboxGrants = {},
    options: StartOptions = {},
  ): Promise<SandboxedModule> {
    const resolved = resolveGrants(grants);
    const { entry, builtin, remote } = locate(specifier, options.base);
    const stated = grants.integrity;
    const mayFetch = remote || stated !== undefined || options.anyIntegrity === true;
    const attempt = async (useCache: boolean): Promise<SandboxedModule> => {
      const fetcher = mayFetch ? new RemoteModules(resolved.cacheDir, entry, useCache) : null;
      const child = await startChild(resolved).catch(
        (error) => {
          throw asModuleError(specifier, error);
        },
      );
      try {
        const graph = await ModuleGraph.walk(
          {
            name: specifier,
            entry,
            builtin,
            mayRead: (path) => mayRead(resolved, path),
            remote: fetcher,
          },
          async (modules) => await parse(child, specifier, modules, PARSE_TIMEOUT_MS),
        );
        const integrity = await graph.integrity();
        if (stated !== undefined && stated !== integrity) {
          if (fetcher?.usedCache) {
            child.kill("closed", "fetched again");
            return await attempt(false);
          }
          throw new RewardModuleError(
            `Cannot load reward module ${specifier}: its integrity is ${integrity}, the config wants ${stated}; ` +
              "nothing of it was run. If you want the change, read the module and put the new line in",
            { integrity },
          );
        }
        if (stated === undefined && graph.hasRemote && !options.anyIntegrity) {
          throw new RewardModuleError(
            `Cannot load reward module ${specifier}: it is remote and the config states no integrity; ` +
              `if you trust what is there now, add \`integrity: ${integrity}\``,
            { integrity },
          );
        }
        await fetcher?.keep();
        const linked = await link(child, specifier, graph, resolved);
        return new SandboxedModule({
          specifier,
          integrity,
          names: linked.names,
          loading: { printed: linked.printed, refused: linked.refused },
          grants: resolved,
          graph,
          first: child,
        });
      } catch (error) {
        await child.close();
        throw asModuleError(specifier, error);
      }
    };
    return await attempt(true);
  }

  /**
   * Calls an exported function with plain data. Never throws for what the module does: a call that
   * fails, is late or ends its process has an `error`.
   *
   * `args` may be encoded already (see {@linkcode encodeArguments}): for several functions at once.
   * `scores` is the length of the answer where it must be scores, -1 for any plain data.
   *
   * @throws {TypeError} for arguments that are not plain data, or a name that is not exported
   */
  async call(
    name: string,
    args: unknown[] | Uint8Array,
    options: { timeoutMs?: number; scores?: number } = {},
  ): Promise<CallOutcome> {
    if (!this.names.includes(name)) {
      throw new TypeError(`Cannot call ${name} of ${this.specifier}: it exports ${this.names}`);
    }
    if (this.#pool.closed) throw new Error(`Cannot call ${name}: ${this.specifier} was closed`);
    const timeoutMs = options.timeoutMs ?? this.#grants.timeoutMs;
    const encoded = args instanceof Uint8Array ? args : encodeArguments(args);
    const place = await this.#pool.take();
    const call: Call = { name, encoded, timeoutMs, scores: options.scores ?? -1 };
    try {
      const first = await this.#attempt(place, call);
      if (first.death !== "busy") return first;
      // It was killed for what it did before this call. The module loses a process and not a score.
      this.#notices.push(`ended between calls: ${first.error}`);
      return { ...await this.#attempt(place, call), endedBefore: true };
    } finally {
      this.#pool.give(place);
    }
  }

  /** One call in the process of a place. */
  async #attempt(
    place: Place,
    { name, encoded, timeoutMs, scores }: Call,
  ): Promise<CallOutcome & { death: ChildDeath["reason"] | null }> {
    const started = performance.now();
    let child: SandboxChild | undefined;
    let endedBefore = false;
    try {
      const taken = await this.#pool.childOf(place);
      child = taken.child;
      endedBefore = taken.ended !== null;
      if (endedBefore) this.#notices.push(`ended between calls: ${cleanLine(taken.ended!)}`);
      const began = performance.now();
      const id = nextCall++;
      const limits = scores >= 0 ? scoreLimits(scores) : answerLimits(encoded.length);
      const answer = await child.request(
        { type: "call", id, name, args: encoded, scores, limits, timeoutMs },
        timeoutMs,
        limits,
      );
      if (answer.type !== "result" || answer.id !== id) return child.broken();
      this.#pool.count(!endedBefore);
      return {
        value: answer.error === null ? answer.value : undefined,
        error: answer.error === null ? null : cleanLine(answer.error, 500),
        timedOut: false,
        endedBefore,
        ms: performance.now() - began,
        argumentBytes: encoded.length,
        answerBytes: child.answerBytes,
        printed: cleanLines([...answer.printed, ...child.takeNoise()]),
        refused: this.#refused(answer.refused),
        death: null,
      };
    } catch (error) {
      if (!(error instanceof ChildDeathError || error instanceof RewardModuleError)) throw error;
      const death = error instanceof ChildDeathError ? error.death : null;
      this.#pool.count(false);
      return {
        value: undefined,
        error: cleanLine(deathText(death, error.message, timeoutMs), 500),
        timedOut: death?.reason === "timeout" || death?.reason === "processor",
        endedBefore,
        ms: performance.now() - started,
        argumentBytes: encoded.length,
        answerBytes: 0,
        printed: cleanLines(child?.takeNoise() ?? []),
        refused: this.#refused(death?.refused ?? []),
        death: death?.reason ?? null,
      };
    }
  }

  #refused(lines: readonly string[]): string[] {
    return [...this.#notices.splice(0), ...lines.map((line) => cleanLine(line, 600))];
  }

  /** Ends all processes. */
  close(): Promise<void> {
    return this.#pool.close();
  }

  /** As {@linkcode close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A further process, from the bytes that were checked at the start. */
async function startAgain(
  specifier: string,
  graph: ModuleGraph,
  grants: ResolvedGrants,
): Promise<SandboxChild> {
  const child = await startChild(grants);
  try {
    await parse(child, specifier, graph.sources, PARSE_TIMEOUT_MS);
    await link(child, specifier, graph, grants);
    return child;
  } catch (error) {
    await child.close();
    throw asModuleError(specifier, error);
  }
}

let nextCall = 1;
const codec = makeCodec();

/** Arguments of a call as bytes. @throws {TypeError} if they are not plain data. */
export function encodeArguments(args: unknown[]): Uint8Array {
  return codec.encode(args);
}
