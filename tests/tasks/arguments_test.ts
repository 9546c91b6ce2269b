import { assert, assertEquals, assertThrows } from "@std/assert";
import { describeOptions, type OptionSpec, parseOptions } from "../../tasks/arguments.ts";
import { parseBenchArguments } from "../../tasks/bench.ts";
import { parseConvertArguments } from "../../tasks/convert.ts";
import { parseEvalArguments } from "../../tasks/eval_options.ts";
import { parseGenerateArguments } from "../../tasks/generate.ts";
import { parseExportArguments } from "../../tasks/export.ts";
import { parseMergeArguments } from "../../tasks/merge.ts";
import { parseParityArguments } from "../../tasks/parity.ts";
import { backendOf, loadTrainConfig, parseTrainArguments } from "../../tasks/train.ts";
import { UsageError } from "../../tasks/usage_error.ts";
import { ConfigError } from "../../src/config/config_error.ts";

const options: readonly OptionSpec[] = [
  { name: "text", kind: "text", summary: "" },
  { name: "limit", kind: "integer", min: 1, summary: "" },
  { name: "share", kind: "number", min: 0, max: 1, summary: "" },
  { name: "mode", kind: "text", choices: ["fast", "slow"], summary: "" },
  { name: "set", kind: "list", summary: "" },
  { name: "resume", kind: "optional", summary: "" },
  { name: "allow-net", kind: "grant", summary: "" },
  { name: "json", kind: "flag", summary: "" },
];

const parse = (...args: string[]) => parseOptions(args, options, ["[file]"]);
const fault = (...args: string[]) => assertThrows(() => parse(...args), UsageError).message;

Deno.test("parseOptions() gives each kind of option its value", () => {
  const parsed = parse(
    ..."--text 5 --limit=3 --share .5 --mode slow --set a=1 --set b=2 --json f".split(" "),
  );
  assertEquals(parsed.text("text"), "5");
  assertEquals([parsed.number("limit"), parsed.number("share")], [3, 0.5]);
  assertEquals(parsed.text("mode"), "slow");
  assertEquals(parsed.list("set"), ["a=1", "b=2"]);
  assertEquals(parsed.flag("json"), true);
  assertEquals(parsed.positionals, ["f"]);
});

Deno.test("parseOptions() tells absent options from empty ones", () => {
  const parsed = parse();
  assertEquals(parsed.text("text"), undefined);
  assertEquals(parsed.number("limit"), undefined);
  assertEquals(parsed.list("set"), []);
  assertEquals(parsed.optional("resume"), undefined);
  assertEquals(parsed.grant("allow-net"), undefined);
  assertEquals(parsed.flag("json"), false);
});

Deno.test("parseOptions() accepts an option without its optional value", () => {
  assertEquals(parse("--resume").optional("resume"), true);
  assertEquals(parse("--resume", "--json").optional("resume"), true);
  assertEquals(parse("--resume", "dir").optional("resume"), "dir");
});

Deno.test("parseOptions() gives a grant its value only with an equals sign", () => {
  const alone = parse("--allow-net", "file");
  assertEquals([alone.grant("allow-net"), alone.positionals], [true, ["file"]]);
  assertEquals(parse("--allow-net=a.com,b.com").grant("allow-net"), ["a.com", "b.com"]);
});

Deno.test("parseOptions() refuses what is wrong, and names the way out", () => {
  assert(fault("--limt", "3").includes("did you mean --limit?"));
  assert(fault("-x").includes("there is no option -x"));
  assert(fault("--limit", "0").includes('got "0", want an integer, 1 or more'));
  assert(fault("--limit", "3.5").includes("want an integer"));
  assert(fault("--share", "2").includes("want a number from 0 to 1"));
  assert(fault("--mode", "fats").includes("want one of fast, slow; did you mean fast?"));
  assert(fault("--text").includes("--text wants a value"));
  assert(fault("--text", "-5").includes("--text wants a value"));
  assert(fault("--text=").includes("--text wants a value"));
  assert(fault("a", "b").includes('extra argument "b"'));
});

Deno.test("parseOptions() keeps values that start with a dash after an equals sign", () => {
  assertEquals(parse("--text=--x").text("text"), "--x");
});

Deno.test("describeOptions() shows every option", () => {
  const help = describeOptions(options);
  for (const { name } of options) assert(help.includes(`--${name}`), name);
});

Deno.test("parseTrainArguments() reads every option", () => {
  const args =
    "sft --config a.yaml --set training.seed=1 --set training.n_gpu=1 --output-dir out " +
    "--resume --resume-anyway --backend wasm --dry-run";
  assertEquals(parseTrainArguments(args.split(" ")), {
    trainer: "sft",
    config: "a.yaml",
    overrides: ["training.seed=1", "training.n_gpu=1", 'training.output_dir="out"'],
    resume: "auto",
    resumeAnyway: true,
    backend: "wasm",
    dryRun: true,
    findRateSteps: undefined,
    watchPort: undefined,
  });
  assertEquals(
    parseTrainArguments(["dpo", "--resume", "out/checkpoint-5"]).resume,
    "out/checkpoint-5",
  );
  assertThrows(() => parseTrainArguments(["ppo"]), UsageError);
  assertThrows(() => parseTrainArguments([]), UsageError);
});

Deno.test("loadTrainConfig() takes the embedded default, with --set and --output-dir over it", async () => {
  const train = parseTrainArguments([
    "sft",
    "--set",
    "training.max_steps=3",
    "--output-dir",
    "a: #b",
  ]);
  const config = await loadTrainConfig(train);
  assertEquals(config.training.max_steps, 3);
  assertEquals(config.training.output_dir, "a: #b");
  assertEquals(config.save.save_model_path, "a: #b/final_model");
  assertEquals(backendOf(train, config), "auto");
  assertEquals(backendOf({ ...train, backend: "cpu" }, config), "cpu");
});

Deno.test("parseEvalArguments() wants a model and data", () => {
  assertThrows(() => parseEvalArguments(["--model", "m"]), UsageError);
  const parsed = parseEvalArguments(
    "--model m --data d --format grpo --limit 5 --with-history --json".split(" "),
  );
  assertEquals([parsed.format, parsed.limit, parsed.withHistory, parsed.json], [
    "grpo",
    5,
    true,
    true,
  ]);
});

Deno.test("parseGenerateArguments() collects pictures and fills in sampling", () => {
  const parsed = parseGenerateArguments(
    ["--model", "m", "--prompt", "What?", "--image", "a.png", "--image", "b.png", "--top-k", "5"],
  );
  assertEquals(parsed.images, ["a.png", "b.png"]);
  assertEquals([parsed.greedy, parsed.temperature, parsed.topP, parsed.topK], [false, 1, 1, 5]);
  const greedy = parseGenerateArguments(["--model", "m", "--prompt", "x", "--temperature", "0"]);
  assertEquals(greedy.greedy, true);
});

Deno.test("parseConvertArguments() types the keys of vlm_config", () => {
  const parsed = parseConvertArguments(
    "--language l --set vlm_config.vit_n_blocks=2 --set vlm_config.vit_ln_eps=1e-5 --out o".split(
      " ",
    ),
  );
  assertEquals(parsed.vlmConfig, { vit_n_blocks: 2, vit_ln_eps: 1e-5 });
  assertThrows(
    () => parseConvertArguments("--language l --out o --set vlm_config.nope=1".split(" ")),
    ConfigError,
  );
});

Deno.test("the other commands read their arguments", () => {
  assertEquals(parseMergeArguments("--model m --adapter a --out o".split(" ")).adapter, "a");
  assertEquals(parseParityArguments(["dir", "--only", "lora"]), {
    folder: "dir",
    backend: undefined,
    only: "lora",
    all: false,
  });
  assertThrows(() => parseParityArguments([]), UsageError);
  assertEquals(parseBenchArguments(["grpo-step", "--model", "230m"]).what, "grpo-step");
  assertThrows(() => parseBenchArguments(["opps"]), UsageError);
  assertEquals(parseExportArguments("web --model m --out s --dtype bf16".split(" ")), {
    model: "m",
    out: "s",
    dtype: "BF16",
    name: undefined,
  });
  assertThrows(() => parseExportArguments("web --model m".split(" ")), UsageError);
  assertThrows(() => parseExportArguments("gguf --model m --out s".split(" ")), UsageError);
});
