/** Runs hostile modules and collects their traces: secrets, connections, files, processes. */
import { type RewardResult, RewardSandbox } from "../../src/rewards/mod.ts";

/** The traces of a hostile module. */
export interface Traces {
  /** Everything that the host shows or stores: results, log, errors. */
  output: string;
  /** Why the module was not loaded, or null. */
  loadError: string | null;
  results: RewardResult[];
  /** Connections to the listener while it ran. */
  packets: number;
  /** New files. */
  newFiles: string[];
  /** Processes that still run after the sandbox was closed. */
  leftProcesses: number[];
  /** Longest call in milliseconds. */
  longestMs: number;
  /** Largest resident memory of its processes in MB, if the system reports it. */
  peakMb: number;
}

/** How to run a module. */
export interface HostileRun {
  calls: number;
  timeoutMs: number;
  memoryMb: number;
  /** Runs beside each call. */
  beside: () => Promise<void>;
}

/** Folder of the hostile modules' sources. */
export const HOSTILE = new URL("./hostile/", import.meta.url);

/** Whether a process runs. */
export function alive(pid: number): boolean {
  try {
    // A zombie has ended: it waits for its parent to read its status.
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    return !/\) [ZX] /.test(stat);
  } catch {
    return false;
  }
}

function residentMb(pid: number): number {
  try {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    return Number(/VmHWM:\s*(\d+)/.exec(status)?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

/** A folder with secrets, and a port that counts connections. */
export class Range implements AsyncDisposable {
  readonly folder: string;
  readonly secret: string;
  readonly #listener: Deno.TcpListener;
  #packets = 0;

  private constructor(folder: string, secret: string, listener: Deno.TcpListener) {
    this.folder = folder;
    this.secret = secret;
    this.#listener = listener;
    this.#count();
  }

  /** Creates the range. */
  static async lay(): Promise<Range> {
    const folder = await Deno.realPath(await Deno.makeTempDir({ prefix: "hostile range " }));
    const secret = `canary-${crypto.randomUUID()}`;
    Deno.env.set("NANOVLM_CANARY", secret);
    return new Range(folder, secret, Deno.listen({ hostname: "127.0.0.1", port: 0 }));
  }

  async #count(): Promise<void> {
    try {
      for await (const connection of this.#listener) {
        this.#packets++;
        connection.close();
      }
    } catch {
      // Closed.
    }
  }

  /** Puts one module in a folder of its own, with secrets beside and above it; `source` is its text. */
  async place(name: string, source?: string): Promise<{ folder: string; module: string }> {
    const folder = `${this.folder}/${name}`;
    await Deno.mkdir(`${folder}/module`, { recursive: true });
    const text = (source ?? await Deno.readTextFile(new URL(`${name}.js.txt`, HOSTILE)))
      .replaceAll("CANARY_PORT", String(this.#listener.addr.port))
      .replaceAll("CANARY", folder)
      .replace("DEEP_NESTING", () => `const deep = ${"[".repeat(300_000)}${"]".repeat(300_000)};`);
    const module = `${folder}/module/${name}.js`;
    await Deno.writeTextFile(module, text);
    for (
      const [file, content] of [
        ["secret.txt", this.secret],
        ["secret.ts", `export const secret = ${JSON.stringify(this.secret)};`],
        ["secret.json", JSON.stringify({ secret: this.secret })],
        ["module/.env", this.secret],
        ["module/beside.txt", this.secret],
      ]
    ) await Deno.writeTextFile(`${folder}/${file}`, content);
    if (Deno.build.os !== "windows") {
      await Deno.symlink("../secret.txt", `${folder}/module/link.txt`);
      await Deno.symlink("..", `${folder}/module/linked`);
      await new Deno.Command("mkfifo", { args: [`${folder}/module/pipe.txt`] }).output();
    }
    return { folder, module };
  }

  /** Runs a module and collects its traces. */
  async run(name: string, options: HostileRun, source?: string): Promise<Traces> {
    const { folder, module } = await this.place(name, source);
    const before = filesBelow(folder);
    const packets = this.#packets;
    const log: string[] = [];
    const results: RewardResult[] = [];
    const pids = new Set<number>();
    let loadError: string | null = null;
    let longestMs = 0;
    let peakMb = 0;
    const look = setInterval(() => {
      for (const pid of pids) peakMb = Math.max(peakMb, residentMb(pid));
    }, 10);
    try {
      await using sandbox = await RewardSandbox.start([{
        module,
        timeoutMs: options.timeoutMs,
        startTimeoutMs: 1500,
        memoryMb: options.memoryMb,
      }], { maxFailuresInARow: 0, log: (line) => log.push(line) });
      for (let i = 0; i < options.calls; i++) {
        for (const pid of await sandbox.pids()) pids.add(pid);
        const started = performance.now();
        const completions = ["one", "two", "three"].map((text) => `${text} ${this.secret.length}`);
        const canary = completions.map(() => ({ pid: Deno.pid }));
        const scored = sandbox.score({
          prompts: completions,
          completions,
          columns: { canary, answer: completions },
        });
        const [result] = await Promise.all([scored, options.beside()]);
        longestMs = Math.max(longestMs, performance.now() - started);
        results.push(result);
      }
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      loadError = error.message;
      log.push(error.message);
    } finally {
      clearInterval(look);
    }
    await options.beside();
    const after = filesBelow(folder);
    return {
      output: JSON.stringify({ results, log }),
      loadError,
      results,
      packets: this.#packets - packets,
      newFiles: after.filter((file) => !before.includes(file)),
      leftProcesses: [...pids].filter(alive),
      longestMs,
      peakMb,
    };
  }

  /** Removes the range. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    Deno.env.delete("NANOVLM_CANARY");
    await Deno.remove(this.folder, { recursive: true });
  }
}

function filesBelow(folder: string): string[] {
  const files: string[] = [];
  for (const entry of Deno.readDirSync(folder)) {
    const path = `${folder}/${entry.name}`;
    files.push(path);
    if (entry.isDirectory) files.push(...filesBelow(path));
  }
  return files;
}
