/**
 * Opens a report in Chromium, if it is installed.
 *
 * @module
 */
import axe from "axe-core";
import type { BrowserContextOptions, Page } from "playwright-core";
import { hasChromium, launchChromium, skippedWithoutChromium } from "../../chromium.ts";

/** A report in a browser. */
export interface OpenPage {
  readonly page: Page;
  /** Errors and warnings of the console, and uncaught exceptions. */
  readonly complaints: string[];
  /** Whatever the page asked for beside itself. */
  readonly requests: string[];
}

/** Opens a page of the disk. */
export async function withPage(
  path: string,
  options: BrowserContextOptions,
  use: (open: OpenPage) => Promise<void>,
): Promise<void> {
  const browser = await launchChromium(["--disable-gpu"]);
  try {
    const page = await (await browser.newContext(options)).newPage();
    const complaints: string[] = [];
    const requests: string[] = [];
    page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
    page.on("request", (request) => requests.push(request.url()));
    await page.goto(`file://${path}`);
    await page.waitForLoadState("load");
    await use({
      page,
      complaints,
      requests: requests.slice(1).filter((url) => !/^data:/.test(url)),
    });
  } finally {
    await browser.close();
  }
}

/** What axe-core finds that keeps people out. */
export async function seriousFaults(page: Page): Promise<string[]> {
  // Through the debugger, which the page's policy does not concern.
  await page.evaluate(axe.source);
  const violations = await page.evaluate<string[]>(
    `axe.run().then(({ violations }) =>
      violations.map(({ id, impact, nodes }) => impact + " " + id + ": " + nodes[0].html))`,
  );
  return violations.filter((text) => /^(serious|critical)/.test(text));
}

/** Elements that reach beyond the right edge of the page, and are no part of a scrolled one. */
export async function overflowing(page: Page): Promise<string[]> {
  return await page.evaluate<string[]>(`[...document.querySelectorAll("body *")].filter((one) =>
    one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scroll, pre, .plot, .long")
  ).map((one) => one.outerHTML.slice(0, 120))`);
}

/** A test that needs a browser. */
export const browserTest = (name: string, fn: () => Promise<void>): void =>
  Deno.test({
    name: name + skippedWithoutChromium,
    ignore: !hasChromium,
    // Playwright keeps timers and pipes of its own until the process ends.
    sanitizeOps: false,
    sanitizeResources: false,
    fn,
  });
