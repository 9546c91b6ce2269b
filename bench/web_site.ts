/**
 * A model in Chromium: exports it, opens the page on wasm and on WebGPU (a software adapter), asks
 * about drawn pictures and compares the tokens with those of Deno's `generate`, for the model as it is
 * and for its matrices rounded to float16. Prints times from opening the page; fails if an answer
 * differs from that of the rounded model.
 *
 * deno run -A bench/web_site.ts --model DIR [--questions 24] [--screenshots docs/img]
 *   > docs/runs/web_site.log
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import type { Page } from "playwright-core";
import { loadAverage } from "../src/bench/device_facts.ts";
import { embeddedShapes } from "../src/data/embedded/embedded_shapes.ts";
import { encodePng } from "../src/data/embedded/embedded_shapes_png.ts";
import { initBackend } from "../src/device/backend.ts";
import { launchChromium } from "../tests/chromium.ts";
import { ask, FLAGS, openLoaded } from "../tests/web/open_site.ts";
import { answersOf, type DrawnQuestion, smallSite } from "../tests/web/small_site.ts";
import { serveStatic } from "../tests/web/static_server.ts";

/** A question each of several kinds about one picture each. */
function drawnQuestions(count: number): DrawnQuestion[] {
  return embeddedShapes({ seed: 0 }).test.slice(0, count).map(({ image, questions }) => ({
    png: encodePng(image) as Uint8Array<ArrayBuffer>,
    prompt: questions[0].question,
  }));
}

/** Pictures of the page with its answers: a wide screen, and a dark phone. */
async function screenshots(page: Page, folder: string): Promise<void> {
  await page.getByText("Settings").click();
  await page.setViewportSize({ width: 1400, height: 900 });
  await page.screenshot({ path: `${folder}/web.png` });
  await page.setViewportSize({ width: 360, height: 740 });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: `${folder}/web_phone.png` });
}

if (import.meta.main) {
  const flags = parseArgs(Deno.args, { string: ["model", "questions", "screenshots"] });
  const model = String(flags.model ?? "");
  if (model === "") throw new Error("Cannot export: name a model's folder with --model");
  const questions = drawnQuestions(Number(flags.questions ?? 24));
  console.log("$ deno run -A bench/web_site.ts --model DIR");
  console.log(`load average at the start: ${loadAverage()}`);
  await initBackend({ backend: "wasm" });
  const rounded = await answersOf(model, { questions });
  const whole = await answersOf(model, { questions, round: false });
  const same = (a: typeof whole, b: typeof whole) =>
    a.filter(({ tokens }, i) => String(tokens) === String(b[i].tokens)).length;
  const texts = new Set(rounded.map(({ text }) => text));
  console.log(`${questions.length} questions, ${texts.size} different answers by Deno`);
  console.log(`float16 and float32 in Deno: the same tokens for ${same(rounded, whole)}`);
  await using site = await smallSite({ model, name: "shapes" });
  await using host = serveStatic(site.root);
  let differing = 0;
  for (const backend of ["wasm", "webgpu"] as const) {
    const browser = await launchChromium(FLAGS[backend]);
    try {
      const context = await browser.newContext();
      context.setDefaultTimeout(300_000);
      const began = performance.now();
      const seconds = () => ((performance.now() - began) / 1000).toFixed(1);
      const { page } = await openLoaded(context, `${host.origin}/below/it/?backend=${backend}`);
      console.log(`${backend}: model loaded after ${seconds()} s`);
      const answers = [];
      for (const question of questions) {
        answers.push(await ask(page, question));
        if (answers.length === 1) console.log(`${backend}: first answer after ${seconds()} s`);
      }
      if (backend === "wasm" && flags.screenshots) {
        await screenshots(page, String(flags.screenshots));
      }
      const equal = same(rounded, answers);
      differing += questions.length - equal;
      console.log(`${backend}: Deno's tokens for ${equal} of ${questions.length}`);
    } finally {
      await browser.close();
    }
  }
  if (differing > 0) Deno.exit(1);
}
