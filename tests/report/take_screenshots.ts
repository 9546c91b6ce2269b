/**
 * Takes the pictures of reports in docs/img: `deno task screenshots`.
 *
 * Without arguments it trains the three embedded defaults in a temporary folder. `NAME=FOLDER` takes the
 * report of a run that is there. `--out DIR` writes elsewhere, `--whole` takes pages from top to bottom.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import type { Browser } from "playwright-core";
import { hasChromium, launchChromium } from "../chromium.ts";

const root = new URL("../../", import.meta.url).pathname;

/** Viewports, and how much of a page is shown. */
const SIZES = [{ width: 1280, height: 1700 }, { width: 400, height: 2000 }] as const;
const SCHEMES = ["light", "dark"] as const;

/** Trains an embedded default. */
async function train(trainer: string, folder: string): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", `${root}mod.ts`, "train", trainer, "--output-dir", folder],
    cwd: root,
  }).output();
  if (!success) throw new Error(`Cannot train ${trainer}: see ${folder}`);
}

async function photograph(
  browser: Browser,
  [name, folder]: readonly [string, string],
  { out, fullPage }: { readonly out: string; readonly fullPage: boolean },
): Promise<void> {
  for (const viewport of SIZES) {
    for (const colorScheme of SCHEMES) {
      const context = await browser.newContext({ viewport, colorScheme });
      const page = await context.newPage();
      await page.goto(`file://${await Deno.realPath(folder)}/report.html`);
      await page.waitForLoadState("load");
      const path = `${out}/report_${name}_${viewport.width}_${colorScheme}.png`;
      await page.screenshot({ path, fullPage });
      await context.close();
      console.log(path);
    }
  }
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, { string: ["out"], boolean: ["whole"] });
  if (!hasChromium) throw new Error("Cannot take pictures: there is no Chromium in /usr/bin");
  const out = String(args.out ?? `${root}docs/img`);
  const fullPage = args.whole === true;
  const given = args._.map((text): [string, string] => {
    const [name, ...path] = String(text).split("=");
    return [name, path.join("=")];
  });
  const runs = given.length > 0 ? given : [];
  if (runs.length === 0) {
    const folder = await Deno.makeTempDir({ prefix: "reports_" });
    for (const trainer of ["sft", "dpo", "grpo"]) {
      await train(trainer, `${folder}/${trainer}`);
      runs.push([trainer, `${folder}/${trainer}`]);
    }
  }
  const browser = await launchChromium(["--disable-gpu"]);
  try {
    for (const run of runs) await photograph(browser, run, { out, fullPage });
  } finally {
    await browser.close();
  }
}
