/**
 * Runs command lines as a user would, and tells what came of them.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { END_MARKER } from "./command_server.ts";

/** What a command left. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const SERVER = new URL("./command_server.ts", import.meta.url).pathname;

/** Text up to the next marker, and the exit code behind it. */
async function untilEnd(
  reader: ReadableStreamDefaultReader<string>,
): Promise<{ text: string; code: number }> {
  let text = "";
  for (;;) {
    const at = text.indexOf(END_MARKER);
    if (at >= 0 && text.endsWith("\n")) {
      return { text: text.slice(0, at), code: Number(text.slice(at + END_MARKER.length)) };
    }
    const { value, done } = await reader.read();
    if (done) throw new Error(`the command ended the whole process; its output:\n${text}`);
    text += value;
  }
}

/** A process that runs one command line after the other. */
export class CommandLine implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  readonly #stdout: ReadableStreamDefaultReader<string>;
  readonly #stderr: ReadableStreamDefaultReader<string>;

  constructor() {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--quiet", SERVER],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      env: { NO_COLOR: "1" },
    }).spawn();
    this.#stdin = this.#child.stdin.getWriter();
    this.#stdout = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#stderr = this.#child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Runs one command line. */
  async run(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
    const line = JSON.stringify({ args, env }) + "\n";
    const ends = Promise.all([untilEnd(this.#stdout), untilEnd(this.#stderr)]);
    await this.#stdin.write(new TextEncoder().encode(line));
    const [stdout, stderr] = await ends;
    assertEquals(stdout.code, stderr.code);
    return { code: stdout.code, stdout: stdout.text, stderr: stderr.text };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stdin.close();
    await this.#child.status;
    await Promise.all([this.#stdout.cancel(), this.#stderr.cancel()]);
  }
}

const SHAPES_SFT = new URL("../../configs/shapes_sft.yaml", import.meta.url).pathname;

/** `train sft` of the small drawings on wasm for two steps; more settings may follow. */
export function tinyTraining(
  outputDir: string,
  settings: readonly string[] = [],
  options: readonly string[] = [],
): string[] {
  return [
    "train",
    "sft",
    `--config=${SHAPES_SFT}`,
    "--backend=wasm",
    `--output-dir=${outputDir}`,
    ...[
      "dataset.max_samples=40",
      "training.max_steps=2",
      "training.eval_strategy=no",
      "training.per_device_train_batch_size=4",
      "logging.report_to=[]",
      ...settings,
    ].flatMap((setting) => ["--set", setting]),
    ...options,
  ];
}

/** Holds that a command failed with an exit code, said every one of these things, and no more. */
export function assertFails(
  { code, stdout, stderr }: Outcome,
  wanted: number,
  ...says: (string | RegExp)[]
): void {
  for (const part of says) {
    const said = typeof part === "string" ? stderr.includes(part) : part.test(stderr);
    assert(said, `does not say ${part}; stderr:\n${stderr}`);
  }
  assertEquals(code, wanted, `exit code; stderr:\n${stderr}\nstdout:\n${stdout}`);
  // Frames of a stack, and JavaScript's own words for a bug of ours.
  assert(!/^\s+at .+:\d+:\d+\)?$/m.test(stderr), `a stack trace:\n${stderr}`);
  assert(!/undefined|is not a function|\[object|TypeError/.test(stderr), `unclear:\n${stderr}`);
}

/** All paths below a folder, sorted; empty if it is not there. */
export function pathsBelow(folder: string): string[] {
  const paths: string[] = [];
  const visit = (under: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(`${folder}/${under}`)) {
      if (isDirectory) visit(`${under}${name}/`);
      else paths.push(under + name);
    }
  };
  try {
    visit("");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory)) {
      throw error;
    }
  }
  return paths.sort();
}

/** Holds that an output folder has no model, no checkpoint and nothing hidden or temporary. */
export function assertNothingHalfWritten(folder: string): void {
  const bad = pathsBelow(folder).filter((path) =>
    /(^|\/)\.|tmp-|old-|checkpoint-|final_model|\.safetensors$/.test(path)
  );
  assertEquals(bad, [], `left in ${folder}`);
}
