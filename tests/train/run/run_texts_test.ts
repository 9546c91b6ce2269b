import { assertEquals, assertStringIncludes } from "@std/assert";
import { EMBEDDED_CONFIGS } from "../../../src/config/embedded/embedded_configs.ts";
import { parseConfig } from "../../../src/config/load_config.ts";
import { askCommands } from "../../../src/train/run/run_texts.ts";

Deno.test("a run ends with the commands to ask, serve, export and watch", () => {
  const config = parseConfig(EMBEDDED_CONFIGS.sft.text, {
    trainingType: "sft",
    overrides: ["training.output_dir=runs/today/mine", "save.save_model_path=runs/today/mine/last"],
  });
  assertEquals(askCommands(config).map(({ command }) => command), [
    'deno task generate --model runs/today/mine/last --image PICTURE.png --prompt "QUESTION"',
    "deno task serve --model runs/today/mine/last",
    "deno task export web --model runs/today/mine/last --out SITE",
    "deno task runs runs/today",
  ]);
  const drawings = { ...config.dataset, train_data_path: "builtin:drawings" };
  const [ask] = askCommands({ ...config, dataset: drawings });
  assertEquals(
    ask.command,
    "deno task generate --model runs/today/mine/last --image PICTURE.png " +
      '--prompt "What shape is it?" --probs',
  );
  assertStringIncludes(
    ask.label,
    "knows What color is it? Where is it? How many shapes are there?",
  );
  const adapter = { ...config, model: { ...config.model, use_lora: true } };
  assertEquals(askCommands(adapter).some(({ command }) => command.includes("export")), false);
});
