/** One child process: a new `deno run` with the guard on its main thread, and the channel to it. */
import type { ChildCommand } from "./child_command.ts";
import { childPreamble } from "../child/program.ts";
import { SMALL_ANSWER, withNotes } from "./answer_limits.ts";
import { keep, letGo } from "./keeper.ts";
import { type CodecLimits, makeCodec } from "../child/codec.ts";
import { FrameReader } from "./frame_reader.ts";
import { type Frames, makeFrames } from "../child/frames.ts";
import type { GuardMessage, HostMessage } from "../child/protocol.ts";

/** How a child ended. */
export interface ChildDeath {
  reason: "timeout" | "processor" | "memory" | "busy" | "crash" | "flood" | "closed";
  /** In words, for the log. */
  detail: string;
  refused: string[];
}

/** Thrown to the caller that waits for an answer if the child ends. */
export class ChildDeathError extends Error {
  override name = "ChildDeathError";
  /** How it ended. */
  readonly death: ChildDeath;

  constructor(death: ChildDeath) {
    super(death.detail);
    this.death = death;
  }
}

/** Bytes that a child may write outside of frames before it is killed. */
const NOISE_BYTES = 1 << 20;
const codec = makeCodec();

/** A started child. One request at a time. */
export class SandboxChild {
  /** Resolves when the process is gone. */
  readonly dead: Promise<ChildDeath>;
  /** What it wrote outside of frames since the last {@linkcode takeNoise}. */
  #noise: string[] = [];
  #noiseBytes = 0;
  #process: Deno.ChildProcess;
  #writer: WritableStreamDefaultWriter<Uint8Array>;
  #frames!: Frames;
  #sending: Promise<unknown> = Promise.resolve();
  #opening: Promise<unknown> = Promise.resolve();
  #waiting: PromiseWithResolvers<GuardMessage> | null = null;
  #death: ChildDeath | null = null;
  #stderrTail = "";
  #memoryBytes: number;
  #watch: ReturnType<typeof setInterval> | undefined;
  /** Bounds of the answer that is awaited. */
  #limits: CodecLimits = SMALL_ANSWER;
  /** Whether it may be stopped: the kernel or the keeper kills it when this process ends. */
  #mayStop = false;
  #stopped = false;
  #reader: FrameReader | null = null;
  /** Encoded size of the last answer. */
  answerBytes = 0;
  /** Whether it ended while a request waited for its answer. */
  endedInCall = false;

  private constructor(process: Deno.ChildProcess, memoryMb: number) {
    this.#process = process;
    this.#memoryBytes = Math.max(memoryMb, 192) * 2 ** 20;
    this.#writer = process.stdin.getWriter();
    this.dead = this.#ended();
    // The host must be able to exit while a child is idle; a pending request holds a timer.
    process.unref();
  }

  /** The operating system's id of the process. */
  get pid(): number {
    return this.#process.pid;
  }

  /** How it ended, or null. */
  get death(): ChildDeath | null {
    return this.#death;
  }

  /** Whether the process is not known to have ended. */
  get alive(): boolean {
    return this.#death === null;
  }

  /**
   * Starts a child and waits until its guard answers.
   *
   * @throws {ChildDeathError} if the process does not start
   */
  static async start(
    command: ChildCommand,
    memoryMb: number,
    timeoutMs: number,
  ): Promise<SandboxChild> {
    let process: Deno.ChildProcess;
    try {
      process = new Deno.Command(command.program, {
        args: command.args,
        env: command.env,
        clearEnv: true,
        cwd: command.cwd,
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) {
        throw new Error(
          "Cannot start a reward process: this process may not start others; run with --allow-run " +
            "(reward modules run in processes of their own, which get no permission from it)",
          { cause: error },
        );
      }
      throw error;
    }
    const child = new SandboxChild(process, memoryMb);
    const magic = crypto.getRandomValues(new Uint8Array(16));
    const key = crypto.getRandomValues(new Uint8Array(32));
    child.#frames = await makeFrames(magic, key, 0);
    child.#listen(magic);
    child.#write(childPreamble(magic, key));
    child.#watchMemory();
    await child.request({ type: "limits", memoryMb }, timeoutMs);
    child.#mayStop = Deno.build.os !== "windows" &&
      (command.endsWithParent || await keep(child.pid));
    return child;
  }

  /**
   * Sends a message and waits for the guard's answer.
   *
   * The process is stopped (SIGSTOP) when it has loaded its module and when it has answered a call,
   * and continued by the next request: between calls it uses no processor time.
   *
   * @throws {ChildDeathError} if the process ends first, or is killed because it took too long
   */
  async request(
    message: HostMessage,
    timeoutMs: number,
    limits: CodecLimits = SMALL_ANSWER,
  ): Promise<GuardMessage> {
    if (this.#waiting !== null) throw new Error("A sandbox child takes one request at a time");
    if (this.#death !== null) throw new ChildDeathError(this.#death);
    const payload = codec.encode(message);
    const waiting = Promise.withResolvers<GuardMessage>();
    this.#waiting = waiting;
    this.#noiseBytes = 0;
    this.#limits = limits;
    this.#reader!.maxFrameBytes = withNotes(limits).bytes + 64;
    this.#continue();
    this.#sending = this.#sending.then(async () => this.#write(await this.#frames.seal(payload)));
    // The guard watches the time too and reports more; this timer is for a guard that cannot.
    const timer = setTimeout(
      () => this.kill("timeout", `it did not answer within ${timeoutMs} ms`),
      timeoutMs + 400,
    );
    try {
      return await waiting.promise;
    } finally {
      clearTimeout(timer);
      this.#waiting = null;
      if (message.type === "link" || message.type === "call") this.#stop();
    }
  }

  #stop(): void {
    if (!this.#mayStop || this.#stopped || this.#death !== null) return;
    this.#signal("SIGSTOP");
    this.#stopped = true;
  }

  #continue(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#signal("SIGCONT");
  }

  #signal(signal: Deno.Signal): void {
    try {
      this.#process.kill(signal);
    } catch {
      // It has already ended; `dead` gives the reason.
    }
  }

  /** What the child wrote outside of frames since the last call of this method. */
  takeNoise(): string[] {
    const taken = this.#noise;
    this.#noise = [];
    return taken;
  }

  /** Kills a process that sent an unexpected answer. @throws {ChildDeathError} always */
  broken(): never {
    this.kill("crash", "it sent an unexpected answer");
    throw new ChildDeathError(this.#death!);
  }

  /** Kills the process at once. */
  kill(reason: ChildDeath["reason"], detail: string, refused: string[] = []): void {
    if (this.#death !== null) return;
    this.#death = { reason, detail, refused };
    clearInterval(this.#watch);
    this.#signal("SIGKILL");
    this.#writer.abort().catch(() => {});
    this.endedInCall = this.#waiting !== null;
    this.#waiting?.reject(new ChildDeathError(this.#death));
  }

  /** Kills the process and waits until it is gone. */
  async close(): Promise<void> {
    this.kill("closed", "the sandbox was closed");
    this.#process.ref();
    await this.dead;
    await letGo(this.pid);
  }

  #write(bytes: Uint8Array): void {
    this.#writer.write(bytes).catch(() => {});
  }

  #listen(magic: Uint8Array): void {
    const reader = this.#reader = new FrameReader(magic, {
      sealed: (part) => {
        const opening = this.#frames.open(part);
        this.#opening = this.#opening.then(async () => {
          try {
            const payload = await opening;
            this.answerBytes = payload.length;
            this.#take(codec.decode(payload, withNotes(this.#limits)) as GuardMessage);
          } catch {
            this.kill("crash", "it tampered with its channel");
          }
        });
      },
      noise: (bytes) => this.#takeNoise(bytes),
    });
    const pump = async (
      stream: ReadableStream<Uint8Array>,
      take: (chunk: Uint8Array) => void,
    ): Promise<void> => {
      try {
        for await (const chunk of stream) {
          take(chunk);
          if (this.#death?.reason === "flood") return;
        }
      } catch {
        // A broken pipe: the process is ending; `dead` gives the reason.
      }
    };
    pump(this.#process.stdout, (chunk) => {
      try {
        reader.push(chunk);
      } catch {
        this.kill("crash", "it tampered with its channel");
      }
    });
    pump(this.#process.stderr, (chunk) => this.#takeNoise(chunk));
  }

  #takeNoise(bytes: Uint8Array): void {
    this.#noiseBytes += bytes.length;
    if (this.#noiseBytes > NOISE_BYTES) {
      return this.kill("flood", `it wrote more than ${NOISE_BYTES >> 20} MB outside of frames`);
    }
    const text = new TextDecoder().decode(bytes.subarray(0, 65536));
    if (this.#noise.length < 50) this.#noise.push(text.slice(0, 4000));
    this.#stderrTail = (this.#stderrTail + text).slice(-20000);
  }

  #take(message: GuardMessage): void {
    if (message.type === "fatal") {
      return this.kill(message.reason, message.detail, message.refused);
    }
    this.#waiting?.resolve(message);
  }

  /** A second check beside the guard's own, on Linux, where it is cheap. */
  #watchMemory(): void {
    if (Deno.build.os !== "linux") return;
    this.#watch = setInterval(() => {
      try {
        const resident = Number(Deno.readTextFileSync(`/proc/${this.pid}/statm`).split(" ")[1]) *
          4096;
        if (resident > this.#memoryBytes * 1.1) {
          const [used, most] = [resident, this.#memoryBytes].map((n) => Math.round(n / 2 ** 20));
          this.kill("memory", `${used} MB of ${most} MB, seen from outside`);
        }
      } catch {
        clearInterval(this.#watch);
      }
    }, 100);
    Deno.unrefTimer(this.#watch as unknown as number);
  }

  async #ended(): Promise<ChildDeath> {
    const status = await this.#process.status;
    // Its last output may still be in the pipe: leave a moment to read it.
    if (this.#death === null) await new Promise((resolve) => setTimeout(resolve, 20));
    await this.#opening;
    letGo(this.pid);
    const how = status.signal === null ? `code ${status.code}` : status.signal;
    const memory = /out of memory|allocation failed|OOM/i.test(this.#stderrTail);
    this.kill(
      memory ? "memory" : "crash",
      memory ? `its process ran out of memory (${how})` : `its process ended (${how})`,
    );
    return this.#death!;
  }
}
