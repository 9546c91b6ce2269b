/**
 * The outer part of the child: the process's main thread. It alone holds the key of the channel. It
 * starts the realm in a Worker (a separate isolate, which a reward module cannot leave), checks what
 * the realm reports, and ends the process if the host is gone, a call is late, or the memory is over
 * its limit. A module that blocks its own thread does not block this one.
 *
 * The child gets this very function as text (see program.ts): it must not use anything from
 * outside its own body.
 */
import type { Codec, CodecLimits } from "./codec.ts";
import type { Frames } from "./frames.ts";
import type { GuardMessage, HostMessage, RealmOrder, RealmReport } from "./protocol.ts";

/** Options of {@linkcode guardMain}. */
export interface GuardOptions {
  magic: Uint8Array;
  frames: Frames;
  codec: Codec;
  /** Reads exactly `size` bytes from the host; ends the process if the host is gone. */
  read(size: number): Promise<Uint8Array<ArrayBuffer>>;
  /** `data:` URL of the realm's program. */
  realm: string;
}

/** Runs the guard until the host closes the channel. */
export async function guardMain(options: GuardOptions): Promise<void> {
  const { magic, frames, codec, read, realm } = options;
  const PRINTED_LINES = 100;
  const MAX_SCORE = 1e9;
  /** Limit of processor time between two calls; leaves room for garbage collection. */
  const IDLE_CPU_MS = 1500;
  let memoryBytes = 512 * 2 ** 20;
  let printed: string[] = [];
  let refused: string[] = [];
  let call: { id: number; scores: number; limits: CodecLimits } | null = null;
  let stage: "parsing" | "parsed" | "linking" | "linked" = "parsed";
  let deadline = 0;
  /** Processor time of all threads at which a call or the loading is stopped. */
  let cpuLimit = Infinity;
  let idleCpu = 0;
  let over = false;

  // To the host, one frame after another.
  let writing: Promise<void> = Promise.resolve();
  function tell(message: GuardMessage, limits?: CodecLimits): Promise<void> {
    writing = writing.then(async () => {
      let payload: Uint8Array<ArrayBuffer>;
      try {
        payload = codec.encode(message, limits);
      } catch (error) {
        if (message.type !== "result") throw error;
        const reason = error instanceof Error ? error.message : "cannot be sent";
        payload = codec.encode({ ...message, value: null, error: `answer refused: ${reason}` });
      }
      const frame = await frames.seal(payload);
      for (let at = 0; at < frame.length;) at += await Deno.stdout.write(frame.subarray(at));
    });
    return writing;
  }
  function notes(): { printed: string[]; refused: string[] } {
    const taken = { printed, refused };
    printed = [];
    refused = [];
    return taken;
  }
  async function die(
    reason: "timeout" | "processor" | "memory" | "busy" | "crash",
    detail: string,
  ): Promise<void> {
    if (over) return;
    over = true;
    setTimeout(() => Deno.exit(1), 500);
    await tell({ type: "fatal", reason, detail, ...notes() });
    Deno.exit(1);
  }

  // Ctrl-C reaches the trainer's whole process group; the trainer decides what ends.
  Deno.addSignalListener("SIGINT", () => {});
  const worker = new Worker(realm, { type: "module", name: "reward" });
  const order = (message: RealmOrder, transfer: Transferable[] = []): void =>
    worker.postMessage(message, transfer);
  worker.onerror = (event) => {
    event.preventDefault();
    die("crash", String(event.message).slice(0, 500));
  };
  worker.onmessageerror = () => void die("crash", "the module sent what cannot be read");
  worker.onmessage = (event: MessageEvent<RealmReport>) => {
    if (over) return;
    const report = event.data;
    switch (report?.type) {
      case "printed":
        if (printed.length < PRINTED_LINES) printed.push(String(report.line).slice(0, 2000));
        return;
      case "refused":
        if (refused.length < PRINTED_LINES) refused.push(String(report.line).slice(0, 500));
        return;
      case "parsed":
        // No code of the module has run yet: this comes from the realm itself.
        if (stage !== "parsing") return;
        stage = "parsed";
        tell({ type: "parsed", requests: report.requests, error: report.error });
        return;
      case "linked": {
        if (stage !== "linking") return;
        stage = "linked";
        begin(0);
        const names = Array.isArray(report.names)
          ? report.names.slice(0, 256).filter((name) => typeof name === "string")
          : [];
        const error = typeof report.error === "string" ? report.error.slice(0, 2000) : null;
        tell({ type: "linked", names, error, ...notes() });
        return;
      }
      case "result": {
        if (call === null || report.id !== call.id) return;
        const { id, scores, limits } = call;
        call = null;
        begin(0);
        let error = typeof report.error === "string" ? report.error.slice(0, 2000) : null;
        if (error === null && scores >= 0) error = complaint(report.value, scores);
        const value = error === null ? report.value : null;
        tell({ type: "result", id, value, error, ...notes() }, limits);
        return;
      }
    }
  };

  /** Why an answer is not `count` scores; null if it is. */
  function complaint(answer: unknown, count: number): string | null {
    if (!Array.isArray(answer)) {
      return `returned ${
        answer === null ? "null" : typeof answer
      }: want an array of ${count} numbers or nulls`;
    }
    if (answer.length !== count) {
      return `returned ${answer.length} scores for ${count} completions`;
    }
    for (let i = 0; i < count; i++) {
      const score: unknown = Object.hasOwn(answer, i) ? answer[i] : undefined;
      if (score === null) continue;
      if (typeof score !== "number") {
        return `score ${i} is ${
          score === undefined ? "missing" : `a ${typeof score}`
        }: want a number or null`;
      }
      if (!(Math.abs(score) <= MAX_SCORE)) {
        return `score ${i} is ${score}: want a number between -1e9 and 1e9, or null`;
      }
    }
    return null;
  }

  function cpuMs(): number {
    // Deno's types lack it.
    const { cpuUsage } = Deno as unknown as { cpuUsage?(): { user: number; system: number } };
    const used = cpuUsage?.();
    return used === undefined ? 0 : (used.user + used.system) / 1000;
  }

  /** Starts the clocks of a call or of the loading; 0 stops them. */
  function begin(timeoutMs: number): void {
    deadline = timeoutMs === 0 ? 0 : performance.now() + timeoutMs;
    // One core for the whole time, and some room for the runtime's own threads. The time counts for
    // all threads: a module can start work on other threads, such as deriving keys.
    cpuLimit = timeoutMs === 0 ? Infinity : cpuMs() + timeoutMs * 1.25 + 250;
  }

  function watch(): void {
    const rss = Deno.memoryUsage().rss;
    if (rss > memoryBytes) {
      die("memory", `${Math.round(rss / 2 ** 20)} MB of ${Math.round(memoryBytes / 2 ** 20)} MB`);
    }
    const now = performance.now();
    const cpu = cpuMs();
    // Between calls: a module that goes on computing is not left to it. Processor time and not the
    // clock, since the trainer may keep every core busy.
    if (deadline > 0 || stage !== "linked") idleCpu = cpu;
    else if (cpu - idleCpu > IDLE_CPU_MS) die("busy", "it kept computing after its answer");
    if (deadline > 0 && now > deadline) die("timeout", "its time was over");
    else if (cpu > cpuLimit) {
      die("processor", "its threads used more processor time than one core has in its time limit");
    }
    setTimeout(watch, deadline > 0 ? 15 : 100);
  }
  watch();

  for (;;) {
    const head = await read(20);
    for (let i = 0; i < 16; i++) if (head[i] !== magic[i]) Deno.exit(3);
    const size = new DataView(head.buffer, head.byteOffset).getUint32(16);
    const message = codec.decode(await frames.open(await read(size))) as HostMessage;
    switch (message.type) {
      case "limits":
        // The runtime alone takes about 60 MB; a smaller limit still leaves the module something.
        memoryBytes = Math.max(message.memoryMb, Deno.memoryUsage().rss / 2 ** 20 + 48) * 2 ** 20;
        await tell({ type: "ready" });
        break;
      case "parse":
        stage = "parsing";
        order(message);
        break;
      case "link":
        stage = "linking";
        begin(message.timeoutMs);
        order({
          type: "link",
          entry: message.entry,
          resolutions: message.resolutions,
          reads: message.reads,
        });
        break;
      case "call":
        notes();
        call = { id: message.id, scores: message.scores, limits: message.limits };
        begin(message.timeoutMs);
        order({ type: "call", id: message.id, name: message.name, args: message.args }, [
          message.args.buffer as ArrayBuffer,
        ]);
        break;
    }
  }
}
