import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { EnvironmentSandbox } from "../../../src/rewards/environment/environment_sandbox.ts";
import type { EpisodeTurn } from "../../../src/rewards/environment/types.ts";
import { RewardFailureError, RewardModuleError } from "../../../src/rewards/mod.ts";
import { TempModules } from "../temp_modules.ts";

const RESET = "export const reset = ({ prompts }) => prompts.map(() => 0);\n";

/** Episodes after a first turn, with these answers. */
const turns = (answers: readonly string[], state: unknown = 0): EpisodeTurn[] =>
  answers.map((answer, i) => ({
    ...{
      prompt: "q",
      images: [{ width: 4, height: 3 }],
      seed: i,
      columns: { n: i },
      state,
      answer,
    },
    conversation: [{ role: "assistant", content: answer }],
    ...{ turn: 1, turnsLeft: 2 },
  }));

async function started(source: string, grants = {}, log: (line: string) => void = () => {}) {
  const modules = await TempModules.write({ "env.ts": RESET + source, "data.txt": "granted" });
  const sandbox = await EnvironmentSandbox.start(
    { module: modules.path("env.ts"), ...grants },
    { log },
  );
  return {
    sandbox,
    modules,
    async [Symbol.asyncDispose]() {
      await sandbox.close();
      await modules[Symbol.asyncDispose]();
    },
  };
}

Deno.test("step() gets states, turns, sizes and columns of all episodes, and replies to each", async () => {
  await using one = await started(
    `export function step(turn: Record<string, unknown[]>) {
      const names = Object.keys(turn).sort().join();
      return turn.answers.map((answer, i) => answer === "stop" ? null : {
        text: JSON.stringify([names, turn.n[i], turn.images[i], turn.turns[i], turn.turns_left[i],
          turn.conversations[i], turn.seeds[i], turn.states[i]]),
        state: { was: answer },
      });
    }`,
  );
  assertEquals(await one.sandbox.reset(turns(["a", "b"])), [
    { value: 0, error: null },
    { value: 0, error: null },
  ]);
  const [first, second] = await one.sandbox.step(turns(["go", "stop"], "s"));
  assert(first.error === null && second.error === null);
  const names =
    "answers,conversations,images,n,prompts,seeds,states,trainer_state,turns,turns_left";
  assertEquals(JSON.parse(first.value.text), [
    ...[names, 0, [{ width: 4, height: 3 }], 1, 2],
    ...[[{ role: "assistant", content: "go" }], 0, "s"],
  ]);
  assertEquals(first.value.state, { was: "go" });
  assertEquals(second.value, { state: "s", done: true, text: "", images: [] });
});

for (
  const [fault, source, text] of [
    ["throws", `if (bad) throw new Error("no such door");`, "no such door"],
    ["never answers", "if (bad) return new Promise(() => {});", "late"],
    ["computes without an end", "if (bad) for (;;);", "late"],
    ["returns another length", "if (bad) return [];", "returned a list of 0"],
    ["returns no list", `if (bad) return "x";`, "returned a string"],
    [
      "returns a wrong reply",
      "if (bad) return answers.map((a) => a === 'bad' ? 5 : { text: a });",
      "it is a number",
    ],
    [
      "fills its memory",
      "if (bad) { const a = []; for (;;) a.push(new Uint8Array(1e7).fill(1)); }",
      "memory",
    ],
  ] as const
) {
  Deno.test(`an environment that ${fault} ends that episode alone, and can be called again`, async () => {
    const lines: string[] = [];
    await using one = await started(
      `export function step({ answers }) {
        const bad = answers.includes("bad");
        ${source}
        return answers.map((text) => ({ text }));
      }`,
      // Short if time is what runs out; otherwise a busy machine must not be late.
      { timeoutMs: text === "late" ? 400 : 20_000, memoryMb: 200 },
      (line) => lines.push(line),
    );
    const outcomes = await one.sandbox.step(turns(["a", "bad", "c"]));
    const texts = outcomes.map((outcome) => outcome.error === null ? outcome.value.text : null);
    assertEquals(texts, ["a", null, "c"]);
    assertStringIncludes(outcomes[1].error!, text);
    assertStringIncludes(lines.join("\n"), "environment step");
    const [again] = await one.sandbox.step(turns(["fine"]));
    assertEquals(again.error, null);
  });
}

Deno.test("after three failures alone, the rest of a call is not tried", async () => {
  await using one = await started(
    `let calls = 0;
     export function step({ answers }) { calls++; throw new Error("call " + calls); }`,
  );
  const outcomes = await one.sandbox.step(turns(["a", "b", "c", "d", "e"]));
  assertEquals(
    outcomes.map(({ error }) => Number(/call (\d+)/.exec(error!)?.[1])),
    [2, 3, 4, 4, 4],
  );
});

Deno.test("an environment that always fails stops the run", async () => {
  await using one = await started("export const step = () => { throw new Error('broken'); };");
  for (let call = 0; call < 4; call++) await one.sandbox.step(turns(["a"]));
  const error = await assertRejects(() => one.sandbox.step(turns(["a"])), RewardFailureError);
  assertStringIncludes(error.message, "failed 5 times in a row");
  assertStringIncludes(error.message, "broken");
});

Deno.test("an environment may do nothing but what the config grants", async () => {
  const source = `
    const attempt = async (what) => {
      try { return String(await what()); } catch (error) { return "refused"; }
    };
    export async function step({ answers }) {
      const text = JSON.stringify([
        await attempt(() => Deno.readTextFile(answers[0])),
        await attempt(() => Deno.readTextFile("/etc/hostname")),
        await attempt(() => fetch("http://127.0.0.1:9/")),
        await attempt(() => Deno.env.get("HOME")),
        await attempt(() => Deno.writeTextFile(answers[0], "x")),
        await attempt(() => new Deno.Command("true").output()),
      ]);
      return [{ text }];
    }`;
  const tried = async (grant: boolean) => {
    const lines: string[] = [];
    const modules = await TempModules.write({ "env.ts": RESET + source, "data.txt": "granted" });
    await using _ = modules;
    const path = modules.path("data.txt");
    await using sandbox = await EnvironmentSandbox.start(
      { module: modules.path("env.ts"), allowRead: grant ? [path] : [] },
      { log: (line) => lines.push(line) },
    );
    const [outcome] = await sandbox.step(turns([path]));
    assert(outcome.error === null);
    return { results: JSON.parse(outcome.value.text), lines };
  };
  const { results, lines } = await tried(false);
  assertEquals(results, new Array(6).fill("refused"));
  assert(lines.some((line) => line.includes("environment")), lines.join("\n"));
  assertEquals((await tried(true)).results, ["granted", ...new Array(5).fill("refused")]);
});

Deno.test("a module without reset or step is refused", async () => {
  await using modules = await TempModules.write({ "env.ts": "export const step = () => [];" });
  await assertRejects(
    () => EnvironmentSandbox.start({ module: modules.path("env.ts") }),
    RewardModuleError,
    "want reset and step",
  );
});

Deno.test("builtin:look_closer shows the part that a turn names, and ends at an answer", async () => {
  await using sandbox = await EnvironmentSandbox.start({ module: "builtin:look_closer" });
  const [state] = await sandbox.reset(turns(["x"]));
  assert(state.error === null);
  const answers = ["look left", "Look top right", "look center", "look", "star"];
  const outcomes = await sandbox.step(turns(answers, state.value));
  const shown = outcomes.map((outcome) =>
    outcome.error ?? (outcome.value.done ? "ends" : outcome.value.images)
  );
  assertEquals(shown, [
    [{ image: 0, crop: [0, 1, 4 / 3, 2] }],
    [{ image: 0, crop: [8 / 3, 0, 4, 1] }],
    [{ image: 0, crop: [4 / 3, 1, 8 / 3, 2] }],
    "ends",
    "ends",
  ]);
});
