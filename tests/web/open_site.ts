/** An exported site in Chromium, on a plain host. */
import { Buffer } from "node:buffer";
import { assertEquals } from "@std/assert";
import type { BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { launchChromium } from "../chromium.ts";
import { type DrawnQuestion, LONGEST, type SmallSite, smallSite } from "./small_site.ts";
import { serveStatic, type StaticServer } from "./static_server.ts";

/** Flags of Chromium without a GPU, and with WebGPU on a software adapter. */
export const FLAGS = {
  wasm: ["--disable-gpu"],
  webgpu: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
} as const;

/** Minutes: a software adapter compiles shaders slowly on a busy machine. */
const PATIENCE_MS = 300_000;

/** What a test gets. */
export interface OpenSite {
  readonly context: BrowserContext;
  readonly host: StaticServer;
  /** Of the page, `http://127.0.0.1:PORT/below/it/`. */
  readonly address: string;
  readonly site: SmallSite;
}

/** Options of {@linkcode withSite}. */
export interface SiteOptions {
  readonly flags?: readonly string[];
  readonly context?: BrowserContextOptions;
  /** Headers of the host; none by default. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly export?: Parameters<typeof smallSite>[0];
}

/** Exports a site, serves it and starts a browser while `use` runs. */
export async function withSite(
  options: SiteOptions,
  use: (site: OpenSite) => Promise<void>,
): Promise<void> {
  await using site = await smallSite(options.export);
  await using host = serveStatic(site.root, options.headers);
  const browser = await launchChromium(options.flags ?? FLAGS.wasm);
  try {
    const context = await browser.newContext(options.context);
    context.setDefaultTimeout(PATIENCE_MS);
    await use({ context, host, address: `${host.origin}/below/it/`, site });
  } finally {
    await browser.close();
  }
}

/** A page, and what its console says: errors, warnings, uncaught exceptions. */
export interface LoadedPage {
  readonly page: Page;
  readonly complaints: string[];
}

/** Opens a page and waits until its model is loaded, or a problem is told. */
export async function openPage(context: BrowserContext, address: string): Promise<LoadedPage> {
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
  await page.goto(address);
  await settled(page);
  return { page, complaints };
}

/** Waits until the page's model is loaded, or a problem is told. */
export async function settled(page: Page): Promise<void> {
  await page.locator("#send:not([disabled]), #problem:not(:empty)").first().waitFor();
}

/** Opens a page and waits for its model. */
export async function openLoaded(context: BrowserContext, address: string): Promise<LoadedPage> {
  const opened = await openPage(context, address);
  assertEquals(await opened.page.locator("#problem").textContent(), "");
  await opened.page.getByText("Settings").click();
  await opened.page.getByLabel("Longest answer").fill(String(LONGEST));
  return opened;
}

/** Asks about a picture; returns the answer on the page. */
export async function ask(
  page: Page,
  { prompt, png }: DrawnQuestion,
): Promise<{ text: string; tokens: number[] }> {
  const buffer = Buffer.from(png);
  await page.setInputFiles("#file", { name: "shape.png", mimeType: "image/png", buffer });
  const before = await page.locator(".answer").count();
  await page.getByLabel("Your question").fill(prompt);
  await page.keyboard.press("Enter");
  await page.locator(".answer").nth(before).waitFor();
  const answer = page.locator(".answer").first();
  await answer.locator(".numbers:not(:empty), .error").waitFor();
  return {
    text: await answer.locator("p").first().textContent() ?? "",
    tokens: JSON.parse(await answer.getAttribute("data-tokens") ?? "null"),
  };
}
