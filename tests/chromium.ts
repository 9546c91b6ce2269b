/** Chromium for tests of pages, where it is installed. */
import { type Browser, chromium } from "playwright-core";

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
  .find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });

/** Whether there is a browser. */
export const hasChromium = executablePath !== undefined;

/** What a test's name says if it cannot run. */
export const skippedWithoutChromium = hasChromium ? "" : " (skipped: no Chromium here)";

/**
 * Starts the browser; the caller closes it.
 *
 * @param flags beside those that keep it from the network
 */
export async function launchChromium(flags: readonly string[] = []): Promise<Browser> {
  return await chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...flags,
    ],
  });
}
