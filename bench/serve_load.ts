/**
 * A load test of `serve`: clients that ask, read slowly, vanish and send what must be refused, all at
 * once. Every answer is compared with that of `generate`. It fails if one differs, if a request gets
 * another status than it should, or if the server's memory still grows at the end.
 *
 * deno run -A bench/serve_load.ts [--minutes 10] [--clients 32] [--model DIR] [--backend B]
 *
 * Without --model it trains the default model first. docs/runs/serve_load.log is the output.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "@std/cli/parse-args";
import { deviceFacts } from "../src/bench/device_facts.ts";
import type { BackendChoice } from "../src/config/schema/device_backend.ts";
import { initBackend } from "../src/device/backend.ts";
import { loadModel } from "../src/generate/load_model.ts";
import { LoadClient } from "./serving/load_client.ts";
import { LoadNumbers } from "./serving/load_numbers.ts";
import { makeQuestions, type Question, type QuestionSettings } from "./serving/question_set.ts";
import { type ServerNumbers, ServerProcess } from "./serving/server_process.ts";
import { writeTalker } from "./serving/talker.ts";

/** What to do. */
export interface LoadOptions {
  readonly minutes: number;
  readonly clients: number;
  /** A model's folder. */
  readonly model: string;
  readonly backend?: BackendChoice;
  readonly log: (line: string) => void;
}

/** Fewer than the clients, so that some get status 429. */
const WAITING = 12;
const BODY_BYTES = 20 * 2 ** 20;
/** What the resident memory may differ by: pages of a garbage-collected process come and go. */
const SLACK_BYTES = 48 * 2 ** 20;

const GREEDY: QuestionSettings = { temperature: 0, max_tokens: 24, n: 1, seed: 0 };

/** Memory of the server at some moment. */
interface Level {
  readonly seconds: number;
  readonly numbers: ServerNumbers;
}

const RESIDENT = "process_resident_memory_bytes";

async function questionsOf(
  options: LoadOptions,
  talker: string,
): Promise<{ short: Question[]; long: Question[] }> {
  const { model } = options;
  const base = { name: "base", model };
  const adapted = { name: "talker", model, adapter: talker };
  return {
    short: [
      ...await makeQuestions({ ...base, count: 120, settings: GREEDY }),
      ...await makeQuestions({
        ...base,
        count: 20,
        settings: { temperature: 1.5, max_tokens: 8, n: 4, seed: 7 },
      }),
    ],
    long: await makeQuestions({ ...adapted, count: 15, settings: { ...GREEDY, max_tokens: 100 } }),
  };
}

function meanLength(questions: readonly Question[]): string {
  const lengths = questions.flatMap(({ answers }) => answers.map((text) => text.length));
  return (lengths.reduce((sum, length) => sum + length, 0) / lengths.length).toFixed(0);
}

function levelLine({ seconds, numbers }: Level, answers: number): string {
  const get = (name: string) => numbers.get(name) ?? NaN;
  const mebibytes = (name: string) => (get(name) / 2 ** 20).toFixed(1).padStart(9);
  return [
    (seconds / 60).toFixed(2).padStart(7),
    String(answers).padStart(9),
    mebibytes(RESIDENT),
    mebibytes("nanovlm_js_heap_bytes"),
    mebibytes("nanovlm_tensor_bytes"),
    String(get("nanovlm_answers_running")).padStart(8),
    String(get("nanovlm_answers_waiting")).padStart(8),
  ].join(" ");
}

const LEVEL_HEAD = " minute   answers  resident   js heap   tensors  running  waiting   (MiB)";

/** Waits until nothing runs or waits; what it then holds. */
async function settled(server: ServerProcess): Promise<ServerNumbers> {
  for (let tries = 0;; tries++) {
    const numbers = await server.numbers();
    const busy = numbers.get("nanovlm_answers_running")! + numbers.get("nanovlm_answers_waiting")!;
    if (busy === 0) return numbers;
    if (tries === 600) {
      throw new Error(`${busy} answers are still written 60 s after the last client left`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Samples the memory until the end; logs it each minute. */
async function watchMemory(
  server: ServerProcess,
  { until, numbers, log }: {
    readonly until: number;
    readonly numbers: LoadNumbers;
    readonly log: (line: string) => void;
  },
): Promise<Level[]> {
  const began = performance.now();
  const levels: Level[] = [];
  let minute = 0;
  while (performance.now() < until) {
    const wait = Math.min(5000, until - performance.now());
    await new Promise((resolve) => setTimeout(resolve, wait));
    const seconds = (performance.now() - began) / 1000;
    const level = { seconds, numbers: await server.numbers() };
    levels.push(level);
    if (seconds / 60 < minute + 1 && performance.now() < until) continue;
    minute = Math.floor(seconds / 60);
    log(levelLine(level, numbers.counts.get("answers compared with generate's") ?? 0));
  }
  return levels;
}

/** Whether the last third of the levels lies above the one before it, the first minute left out. */
function growth(levels: readonly Level[]): number {
  const late = levels.filter(({ seconds }) => seconds > 60);
  const most = (of: readonly Level[]) =>
    Math.max(...of.map(({ numbers }) => numbers.get(RESIDENT)!));
  const third = Math.ceil(late.length / 3);
  return late.length < 6 ? 0 : most(late.slice(-third)) - most(late.slice(0, third));
}

/**
 * Runs the load test on the current backend.
 *
 * @returns what went wrong; empty if nothing did
 */
export async function serveLoad(options: LoadOptions): Promise<string[]> {
  const { log, clients, minutes, model } = options;
  const folder = await Deno.makeTempDir({ prefix: "serve load " });
  try {
    const talker = `${folder}/talker`;
    const loaded = await loadModel(model);
    await writeTalker(talker, loaded.model.config);
    loaded.model.dispose();
    const base = `${folder}/base`;
    await Deno.symlink(await Deno.realPath(model), base);
    const { short, long } = await questionsOf(options, talker);
    log(
      `${short.length} questions with short answers and ${long.length} with long ones, asked of ` +
        `generate one at a time; the long ones have ${meanLength(long)} characters on average`,
    );
    await using server = await ServerProcess.start([
      ...["--model", base, "--adapter", talker, "--max-waiting", String(WAITING)],
      ...(options.backend === undefined ? [] : ["--backend", options.backend]),
    ]);
    log(server.greeting.trimEnd());
    const numbers = new LoadNumbers();
    const before = await settled(server);
    const began = performance.now();
    const until = began + 60_000 * minutes;
    const plan = { url: server.url, short, long, tooManyBytes: BODY_BYTES + 1, numbers, until };
    log(LEVEL_HEAD);
    const [levels] = await Promise.all([
      watchMemory(server, { until, numbers, log }),
      ...Array.from({ length: clients }, (_, i) => new LoadClient(plan, i).run()),
    ]);
    const seconds = (performance.now() - began) / 1000;
    const processor = server.processorSeconds();
    const after = await settled(server);
    const wait = (performance.now() - began) / 1000 - seconds;
    log(
      levelLine(
        { seconds, numbers: after },
        numbers.counts.get("answers compared with generate's") ?? 0,
      ),
    );
    log(
      `nothing was written any more ${wait.toFixed(1)} s after the last client; the server took ` +
        `${processor?.toFixed(0) ?? "?"} processor seconds of ${seconds.toFixed(0)} s`,
    );
    for (const line of numbers.lines(seconds)) log(line);
    const problems: string[] = numbers.failures.length > 0
      ? [`${numbers.counts.get("FAILED")} failures`]
      : [];
    const tensors = ["nanovlm_tensors", "nanovlm_tensor_bytes"];
    for (const name of tensors) {
      const [first, last] = [before.get(name), after.get(name)];
      if (first !== last) problems.push(`${name} was ${first} before and is ${last} after`);
    }
    const grown = growth(levels);
    if (grown > SLACK_BYTES) {
      problems.push(`the resident memory grew by ${(grown / 2 ** 20).toFixed(1)} MiB`);
    }
    const { code, stderr } = await server.stop();
    if (code !== 130) problems.push(`the server ended with ${code}, want 130`);
    const complaints = stderr.slice(server.greeting.length).trim();
    if (complaints !== "finishing the answers under way" && complaints !== "") {
      log(`the server printed: ${complaints.slice(0, 2000)}`);
    }
    return problems;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The folder of the model that the default run trains. */
async function trainDefault(folder: string): Promise<string> {
  const main = fileURLToPath(new URL("../mod.ts", import.meta.url));
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", main, "train", "sft", "--output-dir", folder],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn().status;
  if (code !== 0) throw new Error(`Cannot train the default model: the run ended with ${code}`);
  return `${folder}/final_model`;
}

if (import.meta.main) {
  const flags = parseArgs(Deno.args, {
    string: ["minutes", "clients", "model", "backend"],
    default: { minutes: "10", clients: "32" },
  });
  const backend = flags.backend as BackendChoice | undefined;
  const started = await initBackend({ backend });
  const { reason, cores, deno, cpu } = deviceFacts();
  console.log(`backend ${reason}; ${cpu}, ${cores} cores; Deno ${deno}`);
  const folder = await Deno.makeTempDir({ prefix: "serve load model " });
  let problems: string[];
  try {
    const model = typeof flags.model === "string" ? flags.model : await trainDefault(folder);
    console.log(
      `${flags.clients} clients, ${flags.minutes} minutes, the server in a process of its own`,
    );
    problems = await serveLoad({
      minutes: Number(flags.minutes),
      clients: Number(flags.clients),
      model,
      backend,
      log: console.log,
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
    started.dispose();
  }
  if (problems.length > 0) {
    console.log(`NOT PASSED: ${problems.join("; ")}`);
    Deno.exit(1);
  }
  console.log("passed: every answer is generate's, every refusal as it should be, memory level");
}
