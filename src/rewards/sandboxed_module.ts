/** A module behind the wall: its checked graph, and the processes that work for it. */
import { builtinUrl } from "./builtin_module.ts";
import { type ChildCommand, childCommand } from "./child_command.ts";
import { type ChildDeath, ChildDeathError, SandboxChild } from "./child_process.ts";
import { makeCodec } from "./codec.ts";
import { fileUrl } from "./local_module.ts";
import { ModuleGraph, RewardModuleError } from "./module_graph.ts";
import { cleanLine, cleanLines } from "./printed_text.ts";
import type { ImportRequest, ModuleSource } from "./protocol.ts";
import { RemoteModules } from "./remote_module.ts";
import type { SandboxGrants } from "./types.ts";

/** How a call into a sandboxed module went. */
export interface CallOutcome {
  /** What the function returned, checked; undefined where it failed. */
  value: unknown;
  /** Why it failed, or null. */
  error: string | null;
  timedOut: boolean;
  /** Milliseconds from the moment a process was free. */
  ms: number;
  printed: string[];
  refused: string[];
}

/** Options of {@linkcode SandboxedModule.start} that no config can set. */
export interface StartOptions {
  /** Folder against which a relative path is taken (default: the working directory). */
  base?: string;
  /** Fetch remote modules and take whatever integrity they have: `reward check` tells it. */
  anyIntegrity?: boolean;
}

/** One place for a process: replaced when the process ends. */
interface Slot {
  child: Promise<SandboxChild>;
  /** Whether `child` is the process of a start that went well. */
  busy: boolean;
}

const DEFAULT_TIMEOUT_MS = 10_000;
const DEFAULT_MEMORY_MB = 512;

/** A loaded module; see {@linkcode RewardSandbox} and {@linkcode SandboxedFunctions}. */
export class SandboxedModule implements AsyncDisposable {
  /** As the config names it. */
  readonly specifier: string;
  /** Names of its exported functions, in the order of their definition. */
  readonly names: string[];
  /** `sha256-…` over its whole graph. */
  readonly integrity: string;
  /** What it printed and was refused while it was loaded. */
  readonly loading: { printed: string[]; refused: string[] };
  #grants: SandboxGrants;
  #command: ChildCommand;
  #graph: ModuleGraph;
  #slots: Slot[];
  #free: ((slot: Slot) => void)[] = [];
  #closed = false;

  private constructor(parts: {
    specifier: string;
    names: string[];
    integrity: string;
    loading: { printed: string[]; refused: string[] };
    grants: SandboxGrants;
    command: ChildCommand;
    graph: ModuleGraph;
    first: SandboxChild;
  }) {
    this.specifier = parts.specifier;
    this.names = parts.names;
    this.integrity = parts.integrity;
    this.loading = parts.loading;
    this.#grants = parts.grants;
    this.#command = parts.command;
    this.#graph = parts.graph;
    const count = Math.max(1, Math.min(64, Math.floor(parts.grants.processes ?? 1)));
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
   * @throws RewardModuleError where it is refused, broken, or not what its integrity says
   */
  static async start(
    specifier: string,
    grants: SandboxGrants = {},
    options: StartOptions = {},
  ): Promise<SandboxedModule> {
    const resolved = resolveGrants(grants);
    const { entry, builtin, remote } = locate(specifier, options.base);
    const command = await childCommand(resolved);
    const stated = grants.integrity;
    const mayFetch = remote || stated !== undefined || options.anyIntegrity === true;
    const startMs = startTimeout(resolved);
    const attempt = async (useCache: boolean): Promise<SandboxedModule> => {
      const fetcher = mayFetch ? new RemoteModules(resolved.cacheDir, entry, useCache) : null;
      const child = await SandboxChild.start(command, limitsOf(resolved), startMs).catch(
        (error) => {
          throw asModuleError(specifier, error);
        },
      );
      try {
        const showPaths = Boolean(resolved.allowRead);
        const graph = await ModuleGraph.walk(
          { name: specifier, entry, builtin, showPaths, remote: fetcher },
          async (modules) => await parse(child, specifier, modules, startMs),
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
          command,
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
   * @throws TypeError for arguments that are not plain data, or a name that is not exported
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
    const started = performance.now();
    let child: SandboxChild | undefined;
    const printed: string[] = [];
    try {
      child = await slot.child;
      const began = performance.now();
      const id = nextCall++;
      const answer = await child.request({
        type: "call",
        id,
        name,
        args: encoded,
        scores: options.scores ?? -1,
        timeoutMs,
      }, timeoutMs);
      if (answer.type !== "result" || answer.id !== id) return child.broken();
      return {
        value: answer.error === null ? answer.value : undefined,
        error: answer.error === null ? null : cleanLine(answer.error, 500),
        timedOut: false,
        ms: performance.now() - began,
        printed: cleanLines([...answer.printed, ...child.takeNoise()]),
        refused: answer.refused.map((line) => cleanLine(line)),
      };
    } catch (error) {
      if (error instanceof ChildDeathError || error instanceof RewardModuleError) {
        if (child !== undefined) printed.push(...child.takeNoise());
        const death = error instanceof ChildDeathError ? error.death : null;
        return {
          value: undefined,
          error: cleanLine(deathText(death, error.message, timeoutMs), 500),
          timedOut: death?.reason === "timeout",
          ms: performance.now() - started,
          printed: cleanLines(printed),
          refused: (death?.refused ?? []).map((line) => cleanLine(line)),
        };
      }
      throw error;
    } finally {
      this.#renew(slot, child);
      this.#give(slot);
    }
  }

  /** Ends all processes. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#slots.map(async ({ child }) => await (await child).close()));
  }

  /** As {@linkcode close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #slot(child: Promise<SandboxChild>): Slot {
    child.catch(() => {});
    return { child, busy: false };
  }

  /** A further process, from the bytes that were checked at the start. */
  async #start(): Promise<SandboxChild> {
    const startMs = startTimeout(this.#grants);
    const child = await SandboxChild.start(this.#command, limitsOf(this.#grants), startMs);
    if (this.#closed) {
      await child.close();
      return child;
    }
    try {
      await parse(child, this.specifier, this.#graph.sources, startMs);
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

  /** Puts a fresh process where the last one ended, so that the next call finds it warm. */
  #renew(slot: Slot, child: SandboxChild | undefined): void {
    if (this.#closed || (child !== undefined && child.alive)) return;
    slot.child = this.#start();
    slot.child.catch(() => {});
  }
}

let nextCall = 1;
const codec = makeCodec();

/** Arguments of a call as bytes. @throws TypeError where they are not plain data. */
export function encodeArguments(args: unknown[]): Uint8Array {
  return codec.encode(args);
}

function resolveGrants(grants: SandboxGrants): SandboxGrants {
  const resolved = { ...grants };
  if (grants.integrity !== undefined && !/^sha256-[A-Za-z0-9+/]{43}=$/.test(grants.integrity)) {
    throw new TypeError(
      `Cannot start a sandbox with integrity ${grants.integrity}: want sha256- and 44 characters of base64`,
    );
  }
  if (Array.isArray(grants.allowRead)) {
    resolved.allowRead = grants.allowRead.map((path) =>
      /^([A-Za-z]:[\\/]|[\\/])/.test(path) ? path : `${Deno.cwd()}/${path}`
    );
  }
  resolved.memoryMb = grants.memoryMb ?? DEFAULT_MEMORY_MB;
  resolved.timeoutMs = grants.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  for (const key of ["memoryMb", "timeoutMs"] as const) {
    const value = resolved[key]!;
    const least = 1;
    if (!Number.isFinite(value) || value < least || value > 2 ** 31 - 1000) {
      throw new TypeError(`Cannot start a sandbox with ${key} ${value}: want at least ${least}`);
    }
  }
  return resolved;
}

function startTimeout(grants: SandboxGrants): number {
  return grants.startTimeoutMs ?? Math.max(10_000, grants.timeoutMs ?? 0);
}

function limitsOf(grants: SandboxGrants): { memoryMb: number; allowNet: boolean } {
  return { memoryMb: grants.memoryMb ?? DEFAULT_MEMORY_MB, allowNet: Boolean(grants.allowNet) };
}

function locate(
  specifier: string,
  base: string | undefined,
): { entry: URL; builtin: boolean; remote: boolean } {
  const found = { builtin: false, remote: false };
  if (specifier.startsWith("builtin:")) {
    return { ...found, entry: builtinUrl(specifier), builtin: true };
  }
  if (/^(https?|jsr|npm):/.test(specifier)) {
    return { ...found, entry: new URL(specifier), remote: true };
  }
  if (specifier.startsWith("file:")) return { ...found, entry: new URL(specifier) };
  const absolute = /^([A-Za-z]:[\\/]|[\\/])/.test(specifier);
  return { ...found, entry: fileUrl(absolute ? specifier : `${base ?? Deno.cwd()}/${specifier}`) };
}

async function parse(
  child: SandboxChild,
  specifier: string,
  modules: ModuleSource[],
  timeoutMs: number,
): Promise<ImportRequest[]> {
  const answer = await child.request({ type: "parse", modules }, timeoutMs);
  if (answer.type !== "parsed") return child.broken();
  if (answer.error !== null) {
    throw new RewardModuleError(
      `Cannot load reward module ${specifier}: ${cleanLine(answer.error, 500)}`,
    );
  }
  return answer.requests;
}

async function link(
  child: SandboxChild,
  specifier: string,
  graph: ModuleGraph,
  timeoutMs: number,
): Promise<{ names: string[]; printed: string[]; refused: string[] }> {
  const { entry, resolutions } = graph;
  const answer = await child.request({ type: "link", entry, resolutions, timeoutMs }, timeoutMs);
  if (answer.type !== "linked") return child.broken();
  const refused = answer.refused.map((line) => cleanLine(line));
  if (answer.error !== null) {
    throw new RewardModuleError(
      `Cannot load reward module ${specifier}: ${cleanLine(answer.error, 500)}`,
      { refused },
    );
  }
  const names = answer.names.filter((name) => /^[A-Za-z_$][\w$]{0,63}$/.test(name)).slice(0, 64);
  return { names, printed: cleanLines([...answer.printed, ...child.takeNoise()]), refused };
}

function asModuleError(specifier: string, error: unknown): unknown {
  if (!(error instanceof ChildDeathError)) return error;
  return new RewardModuleError(
    `Cannot load reward module ${specifier}: ${deathText(error.death, error.message, null)}`,
    { refused: error.death.refused.map((line) => cleanLine(line)), cause: error },
  );
}

function deathText(death: ChildDeath | null, message: string, timeoutMs: number | null): string {
  switch (death?.reason) {
    case "timeout":
      return timeoutMs === null
        ? "it was not ready in time"
        : `late: it took more than ${timeoutMs} ms; raise timeout_ms if it must`;
    case "memory":
      return `over its memory: ${death.detail}; raise memory_mb if it must`;
    default:
      return message;
  }
}
