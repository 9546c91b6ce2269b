/** What `train sft` asks before its first step, and what it says at its start. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { runSFT } from "../../../src/train/sft/run.ts";
import { tinyConfig } from "./tiny_sft.ts";

/** Runs two steps in a folder of its own; gives its page and what it printed. */
async function runTwoSteps(): Promise<{ page: string; lines: string[]; folder: string }> {
  const folder = await Deno.makeTempDir({ prefix: "before " });
  const printed: string[] = [];
  const error = console.error;
  console.error = (text: string) => printed.push(text);
  try {
    const config = tinyConfig([
      "dataset.max_samples=24",
      "training.max_steps=2",
      "training.eval_strategy=steps",
      "training.eval_steps=1",
      `training.output_dir=${JSON.stringify(`${folder}/run`)}`,
      `save.save_model_path=${JSON.stringify(`${folder}/model`)}`,
    ]);
    await runSFT(config, { backend: "wasm" });
    return { page: await Deno.readTextFile(`${folder}/run/report.html`), lines: printed, folder };
  } finally {
    console.error = error;
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("train sft names the page in its second line, and shows answers of before and after", async () => {
  const { page, lines, folder } = await runTwoSteps();
  assert(lines[0].startsWith("backend "), lines[0]);
  assertEquals(
    lines[1],
    `report ${folder}/run/report.html: open it now, it shows the run while it goes on`,
  );
  const body = page.slice(page.indexOf("<body>"));
  assertStringIncludes(body, "Right answers, held-out ");
  // More questions are held out than are asked before the first step.
  assert(/[\d.]+ % of 60 before training/.test(body), "the tile has a before");
  const caption = "<caption>The same 60 of the questions before and after training</caption>";
  assertStringIncludes(body, caption);
  assertStringIncludes(body, "<dt>Before training</dt>");
  assertStringIncludes(body, "Held-out loss");
  // The page shows the trainer's own part of the config alone.
  const config = body.slice(body.indexOf("The resolved configuration"));
  assert(/^sft:/m.test(config) && !/^(dpo|grpo|rewards):/m.test(config));
});
