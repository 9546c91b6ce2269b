import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  RewardFailureError,
  RewardModuleError,
  RewardSandbox,
  weightedSum,
} from "../../src/rewards/mod.ts";
import { batchOf, TempModules } from "./temp_modules.ts";

const quiet = { log: () => {} };

Deno.test("RewardSandbox passes prompts, completions, ids, columns and state", async () => {
  await using modules = await TempModules.write({
    "echo.ts": `import type { RewardContext } from "@nanovlm/lab";
      import { double } from "./inner/double.ts";
      import table from "./table.json" with { type: "json" };
      enum Colour { Red = 3 }
      export async function echo(context: RewardContext): Promise<(number | null)[]> {
        await new Promise((resolve) => setTimeout(resolve, 1));
        console.log(JSON.stringify(context));
        return context.completions.map((text, i) => i === 1 ? null : double(text.length) + table.plus + Colour.Red);
      }`,
    "inner/double.ts": "export const double = (n: number): number => 2 * n;",
    "table.json": '{ "plus": 100 }',
  });
  const log: string[] = [];
  await using sandbox = await RewardSandbox.start([{ module: "echo.ts" }], {
    base: modules.folder,
    log: (line) => log.push(line),
  });
  const { functions, total, rewards, metrics } = await sandbox.score({
    prompts: ["p", "q"],
    completions: ["one", "three"],
    completion_ids: [[1, 2], new Int32Array([3])],
    columns: { answer: ["a", null] },
    trainer_state: { global_step: 7 },
  });
  assertEquals(sandbox.functions, ["echo"]);
  assertEquals(total, [109, null]);
  assertEquals(rewards, [[109], [null]]);
  assertEquals(functions[0].error, null);
  assertEquals(metrics["rewards/echo/failed"], 0);
  assertEquals(metrics["rewards/echo/timeouts"], 0);
  assert(metrics["rewards/echo/ms"] > 0);
  assertEquals(JSON.parse(functions[0].printed[0]), {
    answer: ["a", null],
    prompts: ["p", "q"],
    completions: ["one", "three"],
    completion_ids: [[1, 2], [3]],
    trainer_state: { global_step: 7 },
  });
  assertStringIncludes(log.join("\n"), "[reward echo]");
});

Deno.test("chat messages reach a reward function unchanged", async () => {
  await using modules = await TempModules.write({
    "chat.js":
      "export const chat = ({ completions }) => completions.map((turn) => turn[0].content.length);",
  });
  await using sandbox = await RewardSandbox.start([{ module: modules.path("chat.js") }]);
  const turn = [{ role: "assistant", content: "four" }];
  assertEquals((await sandbox.score({ prompts: [[]], completions: [turn] })).total, [4]);
});

Deno.test("a function weight precedes a module weight, and nulls do not count", async () => {
  await using modules = await TempModules.write({
    "two.js": `export const one = ({ completions }) => completions.map(() => 1);
      export const maybe = ({ completions }) => completions.map((_, i) => i === 0 ? null : 1);`,
  });
  await using sandbox = await RewardSandbox.start([
    { module: modules.path("two.js"), weight: 0.5, weights: { maybe: 3 } },
    { module: modules.path("two.js"), functions: ["maybe"], weight: 10 },
  ]);
  assertEquals(sandbox.functions, ["one", "two.maybe", "two.maybe_"]);
  assertEquals(sandbox.weights, [0.5, 3, 10]);
  assertEquals((await sandbox.score(batchOf(["a", "b"]))).total, [0.5, 13.5]);
  assertEquals(weightedSum([null, null], [1, 1]), null);
});

Deno.test("a failed or late call scores null, is counted, and the next call gets a new process", async () => {
  await using modules = await TempModules.write({
    "moody.js": `export async function moody({ completions }) {
        if (completions[0] === "throw") throw new Error("not today");
        if (completions[0] === "hang") for (;;);
        return completions.map(() => 1);
      }`,
  });
  await using sandbox = await RewardSandbox.start(
    [{ module: modules.path("moody.js"), timeoutMs: 1000 }],
    quiet,
  );
  const before = await sandbox.pids();
  const thrown = await sandbox.score(batchOf(["throw"]));
  assertEquals(thrown.total, [null]);
  assertEquals(thrown.functions[0].error, "Error: not today (moody.js:2:47)");
  assertEquals(await sandbox.pids(), before);
  const late = await sandbox.score(batchOf(["hang"]));
  assertEquals(late.total, [null]);
  assertEquals(late.functions[0].timedOut, true);
  assertStringIncludes(late.functions[0].error!, "timeout_ms");
  assertEquals(late.metrics["rewards/moody/failed"], 2);
  assertEquals(late.metrics["rewards/moody/timeouts"], 1);
  assertEquals((await sandbox.score(batchOf(["fine"]))).total, [1]);
  assert((await sandbox.pids())[0] !== before[0]);
});

Deno.test("several failed calls in a row make score() throw, with the last result", async () => {
  await using modules = await TempModules.write({
    "bad.js": `export const bad = () => { throw new Error("never"); };
      export const good = ({ completions }) => completions.map(() => 2);`,
  });
  await using sandbox = await RewardSandbox.start([{ module: modules.path("bad.js") }], {
    ...quiet,
    maxFailuresInARow: 3,
  });
  for (let i = 0; i < 2; i++) assertEquals((await sandbox.score(batchOf(["x"]))).total, [2]);
  const error = await assertRejects(
    () => sandbox.score(batchOf(["x"])),
    RewardFailureError,
    "bad failed 3 times in a row, the last time: Error: never (bad.js:1:34)",
  );
  assertEquals(error.functionName, "bad");
  assertEquals(error.result.total, [2]);
});

Deno.test("the bytes checked at the start are the bytes that run, even if the file changes", async () => {
  await using modules = await TempModules.write({
    "own.js": `export const own = ({ completions }) => {
        if (completions[0] === "hang") for (;;);
        return completions.map(() => 1);
      };`,
  });
  await using sandbox = await RewardSandbox.start(
    [{ module: modules.path("own.js"), timeoutMs: 1000 }],
    quiet,
  );
  await Deno.writeTextFile(modules.path("own.js"), "export const own = () => [666];");
  assertEquals((await sandbox.score(batchOf(["hang"]))).total, [null]);
  assertEquals((await sandbox.score(batchOf(["x"]))).total, [1]);
});

Deno.test("several processes of a module work side by side, and calls do not mix", async () => {
  await using modules = await TempModules.write({
    "slow.js": `export async function slow({ completions }) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        return completions.map(Number);
      }`,
  });
  await using sandbox = await RewardSandbox.start([
    { module: modules.path("slow.js"), processes: 3 },
  ]);
  const pids = await sandbox.pids();
  assertEquals(new Set(pids).size, 3);
  const results = await Promise.all(
    Array.from({ length: 9 }, (_, i) => sandbox.score(batchOf([String(i), String(i * 10)]))),
  );
  assertEquals(results.map(({ total }) => total), results.map((_, i) => [i, i * 10]));
});

Deno.test("a module without functions, with a syntax error, or missing is named", async () => {
  await using modules = await TempModules.write({
    "none.js": "export const number = 1;",
    "broken.ts": "export function (",
    "throws.ts": "throw new Error('at load');",
  });
  for (
    const [module, text] of [
      ["none.js", "exports no function"],
      ["broken.ts", "broken.ts"],
      ["throws.ts", "at load"],
      ["missing.ts", "there is no file"],
    ]
  ) {
    await assertRejects(
      () => RewardSandbox.start([{ module: modules.path(module) }]),
      RewardModuleError,
      text,
    );
  }
  await assertRejects(
    () => RewardSandbox.start([{ module: modules.path("none.js"), functions: ["x"] }]),
    RewardModuleError,
    "not x",
  );
  await assertRejects(
    () => RewardSandbox.start([{ module: "builtin:acuracy" }]),
    TypeError,
    "builtin:accuracy",
  );
});

Deno.test("a column of another length is an error of the caller", async () => {
  await using sandbox = await RewardSandbox.start([{ module: "builtin:exact_match" }]);
  await assertRejects(
    () => sandbox.score(batchOf(["a", "b"], { answer: ["a"] })),
    TypeError,
    "column answer has 1 rows",
  );
});

Deno.test("an error names its line in TypeScript too if types can be blanked out", async () => {
  await using modules = await TempModules.write({
    "plain.ts": `import type { RewardContext } from "@nanovlm/lab";
import { RewardContext as Context } from "@nanovlm/lab";
export function untyped(context: Context): number[] {
  return [];
}`,
    "typed.ts": `import type { RewardContext } from "@nanovlm/lab";

export function typed(context: RewardContext): (number | null)[] {
  return (context as unknown as { none: string[] })
    .none.map(() => 1);
}`,
  });
  await using sandbox = await RewardSandbox.start([
    { module: modules.path("plain.ts") },
    { module: modules.path("typed.ts") },
  ], quiet);
  const { functions } = await sandbox.score(batchOf(["x"]));
  assertEquals(functions[0].error, "returned 0 scores for 1 completions");
  assertStringIncludes(functions[1].error!, "(typed.ts:5:11)");
});
