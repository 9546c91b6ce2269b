import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { parseConfig } from "../../../src/config/load_config.ts";
import { EMBEDDED_CONFIGS } from "../../../src/config/embedded/embedded_configs.ts";
import { RewardSandbox } from "../../../src/rewards/mod.ts";
import { CompletionScorer, rewardModuleSpecs } from "../../../src/train/grpo/scoring.ts";
import { TempModules } from "../../rewards/temp_modules.ts";

const main = new URL("../../../mod.ts", import.meta.url).pathname;

/** What a foreign module finds in training with the embedded default, in the library, and alone. */
async function threeWays(module: string): Promise<Record<string, string>> {
  const config = parseConfig(EMBEDDED_CONFIGS.grpo.text, {
    trainingType: "grpo",
    overrides: [`dataset.reward_functions_fn=[builtin:format, ${module}]`],
  });
  const text = (error: unknown) => (error as Error).message;
  const printed: string[] = [];
  const log = (line: string) => printed.push(line);
  const batch = { prompts: ["?"], completions: ["x"], columns: { answer: ["x"] } };
  const training = await CompletionScorer.start(config, log).then(async (scorer) => {
    await using started = scorer;
    await started.sandbox.score(batch);
    return printed.splice(0).join("\n");
  }, text);
  const library = await RewardSandbox.start([{ module }], { log }).then(async (sandbox) => {
    await using started = sandbox;
    await started.score(batch);
    return printed.splice(0).join("\n");
  }, text);
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", main, "reward", "check", module],
    env: { NO_COLOR: "1" },
  }).output();
  const bytes = new TextDecoder();
  return { training, library, check: bytes.decode(stderr) + bytes.decode(stdout) };
}

Deno.test("training with its defaults, the library and `reward check` refuse the same", async () => {
  await using modules = await TempModules.write({
    "raw.js":
      'import text from "./own.txt" with { type: "text" }; export const raw = () => [text.length];',
    "own.txt": "own",
    "where.js": `export const where = ({ completions }) => {
      console.log("at", import.meta.url, "\\u001b[2J");
      try { Deno.readTextFileSync("deno.json"); console.log("GOT"); } catch {}
      try { Deno.readTextFileSync(new URL("./own.txt", import.meta.url)); console.log("GOT"); } catch {}
      return completions.map(() => 1);
    };`,
  });
  for (const [way, said] of Object.entries(await threeWays(modules.path("raw.js")))) {
    assertStringIncludes(said, "files as text are not part of a module", way);
  }
  for (const [way, said] of Object.entries(await threeWays(modules.path("where.js")))) {
    assertStringIncludes(said, "[reward where] at file:///reward/where.js", way);
    assert(!said.includes("GOT") && !said.includes("\u001b"), `${way}: ${said}`);
  }
});

Deno.test("a foreign function of a built-in's name does not take its weight, nor judge answers", async () => {
  await using modules = await TempModules.write({
    "mine.js": `const one = ({ completions }) => completions.map(() => 1);
      export { one as accuracy, one as soft_overlong_punishment, one as correctness };`,
  });
  const module = modules.path("mine.js");
  const config = parseConfig(EMBEDDED_CONFIGS.grpo.text, {
    trainingType: "grpo",
    overrides: [`dataset.reward_functions_fn=[${module}, builtin:accuracy]`],
  });
  config.rewards = { accuracy: { weight: 5 } };
  assertEquals(rewardModuleSpecs(config)[0].weights, undefined);
  await using scorer = await CompletionScorer.start(config, () => {});
  const found = scorer.names.map((name, i) => [name, scorer.weights[i], scorer.builtin[i]]);
  assertEquals(found, [
    ["mine.accuracy", 1, false],
    ["correctness", 1, false],
    ["mine.soft_overlong_punishment", 1, false],
    ["accuracy", 5, true],
  ]);
});
