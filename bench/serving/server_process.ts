/**
 * `serve` in a process of its own, and what its `/metrics` tell.
 *
 * @module
 */
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../mod.ts", import.meta.url));

/** What `/metrics` tells, by the names of its values; labels are part of the name. */
export type ServerNumbers = ReadonlyMap<string, number>;

/** A server that answers. */
export class ServerProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #stderr: Promise<string>;

  private constructor(
    child: Deno.ChildProcess,
    stderr: Promise<string>,
    /** `http://127.0.0.1:PORT` */
    readonly url: string,
    /** Lines that the server printed until it was ready. */
    readonly greeting: string,
  ) {
    this.#child = child;
    this.#stderr = stderr;
  }

  /**
   * Starts `serve` on a free port and waits until it listens.
   *
   * @param args of `serve`, without `--port`
   * @throws {Error} if it ends first
   */
  static async start(args: readonly string[]): Promise<ServerProcess> {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--quiet", MAIN, "serve", ...args, "--port", "0"],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const ready = Promise.withResolvers<[url: string, greeting: string]>();
    const stderr = (async () => {
      let text = "";
      for await (const piece of child.stderr.pipeThrough(new TextDecoderStream())) {
        text += piece;
        const url = /^chat API: (\S+)\/v1$/m.exec(text)?.[1];
        if (url !== undefined) ready.resolve([url, text]);
      }
      ready.reject(new Error(`Cannot start the server: it ended with\n${text}`));
      return text;
    })();
    const [url, greeting] = await ready.promise;
    return new ServerProcess(child, stderr, url, greeting);
  }

  /** The numbers of `/metrics`. */
  async numbers(): Promise<ServerNumbers> {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    return new Map(
      text.split("\n").flatMap((line) => {
        const [, name, value] = /^([a-z_]+(?:\{.*\})?) (\S+)$/.exec(line) ?? [];
        return name === undefined ? [] : [[name, Number(value)]];
      }),
    );
  }

  /** Processor seconds of the server so far, of all its threads; null if the system does not tell. */
  processorSeconds(): number | null {
    try {
      let nanoseconds = 0;
      for (const { name } of Deno.readDirSync(`/proc/${this.#child.pid}/task`)) {
        const path = `/proc/${this.#child.pid}/task/${name}/schedstat`;
        nanoseconds += Number(Deno.readTextFileSync(path).split(" ")[0]);
      }
      return nanoseconds / 1e9;
    } catch {
      return null;
    }
  }

  /**
   * Ends the server as Ctrl-C does.
   *
   * @returns its exit code, and all that it printed to stderr
   */
  async stop(): Promise<{ readonly code: number; readonly stderr: string }> {
    try {
      this.#child.kill("SIGINT");
    } catch {
      // It has ended by itself.
    }
    const { code } = await this.#child.status;
    return { code, stderr: await this.#stderr };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
