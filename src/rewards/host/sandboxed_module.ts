/** A sandboxed module: its checked graph and its pool of processes. */
import { asModuleError, deathText, link, parse } from "./loading.ts";
import { type ChildDeath, ChildDeathError, type SandboxChild } from "./child_process.ts";
import { makeCodec } from "../child/codec.ts";
import { ModuleGraph, RewardModuleError } from "../graph/module_graph.ts";
import { locate } from "../graph/module_place.ts";
import { cleanLine, cleanLines } from "./printed_text.ts";
import { RemoteModules } from "../graph/remote_module.ts";
import {
  DEFAULT_TIMEOUT_MS,
  PARSE_TIMEOUT_MS,
  resolveGrants,
  startTimeout,
} from "./sandbox_grants.ts";
import { startChild } from "./start_child.ts";
import type { SandboxGrants } from "../types.ts";

/** The outcome of a call into a sandboxed module. */
export interface CallOutcome {
  /** What the function returned, checked; undefined if it failed. */
  value: unknown;
  /** The reason if it failed, else null. */
  error: string | null;
  timedOut: boolean;
  /** Milliseconds from when a process was free. */
  ms: number;
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

/** One place of the pool. Its process is replaced when it ends. */
interface Slot {
  child: Promise<SandboxChild>;
  /** Whether a call uses it. */
  busy: boolean;
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
  #grants: SandboxGrants;
  #graph: ModuleGraph;
  #slots: Slot[];
  #free: ((slot: Slot) => void)[] = [];
  /** Every process of this module that is not known to have ended. */
  #children = new Set<SandboxChild>();
  /** What happened between calls; the next call reports it. */
  #notices: string[] = [];
  #closed = false;

  private constructor(parts: {
    specifier: string;
    names: string[];
    integrity: string;
    loading: { printed: string[]; refused: string[] };
    grants: SandboxGrants;
    graph: ModuleGraph;
    first: SandboxChild;
  }) {
    this.specifier = parts.specifier;
    this.names = parts.names;
    this.integrity = parts.integrity;
    this.loading = parts.loading;
    this.#grants = parts.grants;
    this.#graph = parts.graph;
    const count = Math.max(1, Math.min(64, Math.floor(parts.grants.processes ?? 1)));
    this.#children.add(parts.first);
    this.#slots = [this.#slot(Promise.resolve(parts.first))];
    for (let i = 1; i < count; i++) this.#slots.push(this.#slot(this.#start()));
  }

  /** Ids of the processes that are there now. */
  async pids(): Promise<number[]> {
    const children = await Promise.allSettled(this.#slots.map(({ child }) => child));
    return children.flatMap((child) => child.status === "fulfilled" ? [child.value.pid] : []);
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
    const startMs = startTimeout(resolved);
    const attempt = async (useCache: boolean): Promise<SandboxedModule> => {
      const fetcher = mayFetch ? new RemoteModules(resolved.cacheDir, entry, useCache) : null;
      const child = await startChild(resolved).catch(
        (error) => {
          throw asModuleError(specifier, error);
        },
      );
      try {
        const showPaths = Boolean(resolved.allowRead);
        const graph = await ModuleGraph.walk(
          { name: specifier, entry, builtin, showPaths, remote: fetcher },
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
              "nothing of it was run. Where the change is wanted, read it and put the new line in",
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
        const linked = await link(child, specifier, graph, startMs);
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
    if (this.#closed) throw new Error(`Cannot call ${name}: ${this.specifier} was closed`);
    const timeoutMs = options.timeoutMs ?? this.#grants.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const encoded = args instanceof Uint8Array ? args : encodeArguments(args);
    const slot = await this.#take();
    const call: Call = { name, encoded, timeoutMs, scores: options.scores ?? -1 };
    try {
      const first = await this.#attempt(slot, call);
      if (first.death !== "busy") return first;
      // It was killed for what it did before this call. The module loses a process and not a score.
      this.#notices.push(`ended between calls: ${first.error}`);
      return await this.#attempt(slot, call);
    } finally {
      this.#give(slot);
    }
  }

  /** One call in the process of a slot; starts another process if that one ends. */
  async #attempt(
    slot: Slot,
    { name, encoded, timeoutMs, scores }: Call,
  ): Promise<CallOutcome & { death: ChildDeath["reason"] | null }> {
    const started = performance.now();
    let child: SandboxChild | undefined;
    try {
      child = await slot.child;
      const began = performance.now();
      const id = nextCall++;
      const answer = await child.request(
        { type: "call", id, name, args: encoded, scores, timeoutMs },
        timeoutMs,
      );
      if (answer.type !== "result" || answer.id !== id) return child.broken();
      return {
        value: answer.error === null ? answer.value : undefined,
        error: answer.error === null ? null : cleanLine(answer.error, 500),
        timedOut: false,
        ms: performance.now() - began,
        printed: cleanLines([...answer.printed, ...child.takeNoise()]),
        refused: [...this.#notices.splice(0), ...answer.refused.map((line) => cleanLine(line))],
        death: null,
      };
    } catch (error) {
      if (!(error instanceof ChildDeathError || error instanceof RewardModuleError)) throw error;
      const death = error instanceof ChildDeathError ? error.death : null;
      return {
        value: undefined,
        error: cleanLine(deathText(death, error.message, timeoutMs), 500),
        timedOut: death?.reason === "timeout",
        ms: performance.now() - started,
        printed: cleanLines(child?.takeNoise() ?? []),
        refused: (death?.refused ?? []).map((line) => cleanLine(line)),
        death: death?.reason ?? null,
      };
    } finally {
      if (!this.#closed && child?.alive !== true) this.#fill(slot, this.#start());
    }
  }

  /** Ends all processes. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#children].map((child) => child.close()));
    await Promise.allSettled(this.#slots.map(async ({ child }) => await (await child).close()));
  }

  /** As {@linkcode close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #slot(child: Promise<SandboxChild>): Slot {
    const slot: Slot = { child, busy: false };
    this.#fill(slot, child);
    return slot;
  }

  /** Puts a process in a place, and another one when it ends between two calls. */
  #fill(slot: Slot, child: Promise<SandboxChild>): void {
    slot.child = child;
    child.then(async (started) => {
      const { detail } = await started.dead;
      if (slot.child !== child || slot.busy || this.#closed) return;
      this.#notices.push(`ended between calls: ${cleanLine(detail)}`);
      this.#fill(slot, this.#start());
    }).catch(() => {});
  }

  /** A further process, from the bytes that were checked at the start. */
  async #start(): Promise<SandboxChild> {
    const startMs = startTimeout(this.#grants);
    const child = await startChild(this.#grants);
    if (this.#closed) {
      await child.close();
      return child;
    }
    this.#children.add(child);
    child.dead.then(() => this.#children.delete(child));
    try {
      await parse(child, this.specifier, this.#graph.sources, PARSE_TIMEOUT_MS);
      await link(child, this.specifier, this.#graph, startMs);
      return child;
    } catch (error) {
      await child.close();
      throw asModuleError(this.specifier, error);
    }
  }

  #take(): Promise<Slot> {
    const slot = this.#slots.find(({ busy }) => !busy);
    if (slot === undefined) return new Promise((resolve) => this.#free.push(resolve));
    slot.busy = true;
    return Promise.resolve(slot);
  }

  #give(slot: Slot): void {
    const next = this.#free.shift();
    if (next !== undefined) next(slot);
    else slot.busy = false;
  }
}

let nextCall = 1;
const codec = makeCodec();

/** Arguments of a call as bytes. @throws {TypeError} if they are not plain data. */
export function encodeArguments(args: unknown[]): Uint8Array {
  return codec.encode(args);
}
