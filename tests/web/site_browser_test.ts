/** Exported sites in a real browser. */
import { Buffer } from "node:buffer";
import { assert, assertEquals } from "@std/assert";
import type { BrowserContext, Page } from "playwright-core";
import { hasChromium, launchChromium, skippedWithoutChromium } from "../chromium.ts";
import { answersOf, LONGEST, QUESTIONS, smallSite } from "./small_site.ts";
import { serveStatic, type StaticServer } from "./static_server.ts";

const NO_GPU = ["--disable-gpu"];
const SWIFTSHADER = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];
/** Minutes: a software adapter compiles shaders slowly on a busy machine. */
const PATIENCE_MS = 300_000;

interface OpenSite {
  readonly context: BrowserContext;
  readonly host: StaticServer;
  readonly address: string;
  /** Model folder that the site was made of. */
  readonly model: string;
}

async function withSite(flags: readonly string[], use: (site: OpenSite) => Promise<void>) {
  await using site = await smallSite();
  await using host = serveStatic(`${site.folder}/host`);
  const browser = await launchChromium(flags);
  try {
    const context = await browser.newContext();
    context.setDefaultTimeout(PATIENCE_MS);
    const address = `${host.origin}/below/it/`;
    await use({ context, host, address, model: `${site.folder}/model` });
  } finally {
    await browser.close();
  }
}

/** A page whose model is loaded, and its errors, warnings and failed requests. */
async function openPage(context: BrowserContext, address: string) {
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
  await page.goto(address);
  await page.locator("#send:not([disabled]), #problem:not(:empty)").first().waitFor();
  assertEquals(await page.locator("#problem").textContent(), "");
  return { page, complaints };
}

async function ask(page: Page, { prompt, png }: typeof QUESTIONS[number]) {
  const buffer = Buffer.from(png);
  await page.setInputFiles("#file", { name: "shape.png", mimeType: "image/png", buffer });
  const before = await page.locator(".answer").count();
  await page.getByLabel("Your question").fill(prompt);
  await page.keyboard.press("Enter");
  await page.locator(".answer").nth(before).waitFor();
  const answer = page.locator(".answer").first();
  await answer.locator(".numbers:not(:empty), .error").waitFor();
  return {
    text: await answer.locator("p").first().textContent(),
    tokens: JSON.parse(await answer.getAttribute("data-tokens") ?? "null"),
  };
}

async function setLongest(page: Page): Promise<void> {
  await page.getByText("Settings").click();
  await page.getByLabel("Longest answer").fill(String(LONGEST));
}

for (const [backend, flags] of [["wasm", NO_GPU], ["webgpu", SWIFTSHADER]] as const) {
  Deno.test({
    name:
      `the page answers on ${backend} with Deno's tokens, from a folder of a plain host, and asks ` +
      `its own host alone${skippedWithoutChromium}`,
    ignore: !hasChromium,
    fn: () =>
      withSite(flags, async ({ context, host, address, model }) => {
        const hosts = new Set<string>(), methods = new Set<string>();
        context.on("request", (request) => {
          methods.add(request.method());
          hosts.add(new URL(request.url()).host);
        });
        const { page, complaints } = await openPage(context, `${address}?backend=${backend}`);
        const line = await page.locator("#model-line").textContent();
        assert(line!.includes(backend === "wasm" ? "on wasm" : "on WebGPU"), line!);
        await setLongest(page);
        const wanted = await answersOf(model);
        assert(new Set(wanted.map(({ text }) => text)).size > 1, "the answers are all the same");
        for (const [i, question] of QUESTIONS.entries()) {
          assertEquals(await ask(page, question), wanted[i]);
        }
        assertEquals([...hosts].filter((name) => name !== ""), [new URL(address).host]);
        assertEquals([...methods], ["GET"]);
        assertEquals(complaints, []);
        assert(host.requests.every((request) => request.startsWith("GET /below/it/")));
      }),
  });
}
