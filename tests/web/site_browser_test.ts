/** Exported sites in a real browser. */
import { Buffer } from "node:buffer";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import axe from "axe-core";
import type { Page } from "playwright-core";
import { hasChromium, skippedWithoutChromium } from "../chromium.ts";
import { fixtureTest } from "../parity/shared_fixtures.ts";
import {
  ask,
  FLAGS,
  openLoaded,
  openPage,
  type OpenSite,
  settled,
  type SiteOptions,
  withSite,
} from "./open_site.ts";
import { answersOf, QUESTIONS } from "./small_site.ts";

function siteTest(
  name: string,
  options: SiteOptions,
  use: (site: OpenSite) => Promise<void>,
): void {
  Deno.test({
    name: `${name}${skippedWithoutChromium}`,
    ignore: !hasChromium,
    fn: () => withSite(options, use),
  });
}

for (const backend of ["wasm", "webgpu"] as const) {
  siteTest(
    `the page answers on ${backend} with Deno's tokens and asks its own host alone`,
    { flags: FLAGS[backend] },
    async ({ context, host, address, site }) => {
      const hosts = new Set<string>(), methods = new Set<string>();
      context.on("request", (request) => {
        methods.add(request.method());
        hosts.add(new URL(request.url()).host);
      });
      const { page, complaints } = await openLoaded(context, `${address}?backend=${backend}`);
      const line = await page.locator("#model-line").textContent();
      assertStringIncludes(line!, backend === "wasm" ? "on wasm" : "on WebGPU");
      const wanted = await answersOf(site.model);
      assert(new Set(wanted.map(({ text }) => text)).size > 1, "the answers are all the same");
      for (const [i, question] of QUESTIONS.entries()) {
        assertEquals(await ask(page, question), wanted[i]);
      }
      assertEquals([...hosts].filter((name) => name !== ""), [new URL(address).host]);
      assertEquals([...methods], ["GET"]);
      assertEquals(complaints, []);
      assert(host.requests.every((request) => request.startsWith("GET /below/it/")));
    },
  );
}

siteTest(
  "the page runs on wasm if the only adapter is software, unless it is told to use WebGPU",
  { flags: FLAGS.webgpu },
  async ({ context, address }) => {
    const { page } = await openLoaded(context, address);
    const line = page.locator("#model-line");
    assertStringIncludes((await line.textContent())!, "on wasm");
    assertStringIncludes(await line.getAttribute("title") ?? "", "adapter is software");
    await page.getByLabel("Runs on").selectOption("webgpu");
    await line.filter({ hasText: "on WebGPU" }).waitFor();
    assertStringIncludes(await line.getAttribute("title") ?? "", "asked for; a software adapter");
  },
);

for (const kind of ["smolvlm", "idefics3"]) {
  fixtureTest(
    `a folder of the family ${kind} answers in the page with Deno's tokens${skippedWithoutChromium}`,
    async (fixtures) => {
      if (!hasChromium) return;
      const model = `${fixtures}/smolvlm/${kind}`;
      await withSite({ export: { model } }, async ({ context, address }) => {
        const { page } = await openLoaded(context, `${address}?backend=wasm`);
        const wanted = await answersOf(model);
        for (const [i, question] of QUESTIONS.entries()) {
          assertEquals((await ask(page, question)).tokens, wanted[i].tokens);
        }
      });
    },
  );
}

/** Counts the threads that the worker of a page starts. */
const COUNTING = `
const PlainWorker = Worker;
self.threads = 0;
self.Worker = class extends PlainWorker {
  constructor(...parameters) {
    super(...parameters);
    self.threads++;
  }
};
`;

siteTest(
  "kernels run on several threads, with the same tokens, if the host isolates the page",
  {
    headers: {
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
    },
    export: { width: 384 },
  },
  async ({ context, address, site }) => {
    await context.route(/nanovlm-worker/, async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: COUNTING + await response.text() });
    });
    const { page, complaints } = await openLoaded(context, `${address}?backend=wasm`);
    const cores = await page.evaluate("navigator.hardwareConcurrency") as number;
    assertStringIncludes(
      await page.locator("#model-line").getAttribute("title") ?? "",
      cores > 1 ? `kernels on ${Math.min(cores, 8)} threads` : "wasm",
    );
    const wanted = await answersOf(site.model);
    assertEquals(await ask(page, QUESTIONS[0]), wanted[0]);
    assertEquals(await page.workers()[0].evaluate("self.threads"), Math.min(cores, 8) - 1);
    assertEquals(complaints, []);
  },
);

siteTest(
  "a page that was open once answers without a host",
  {},
  async ({ context, host, address }) => {
    const { page } = await openLoaded(context, address);
    const first = await ask(page, QUESTIONS[0]);
    await page.evaluate("navigator.serviceWorker.ready.then(() => true)");
    await page.close();
    await host[Symbol.asyncDispose]();
    const again = await openLoaded(context, address);
    assertEquals(await ask(again.page, QUESTIONS[0]), first);
    const other = await openLoaded(context, `${address}index.html?backend=wasm`);
    assertEquals(await ask(other.page, QUESTIONS[0]), first);
  },
);

siteTest(
  "loading goes on with the parts that are missing, and a damaged part is refused",
  { export: { partBytes: 50_000 } },
  async ({ context, host, address, site }) => {
    host.broken = /weights-002/;
    const { page } = await openPage(context, address);
    const problem = page.locator("#problem");
    assertStringIncludes(
      (await problem.textContent())!,
      "weights-002.bin: the server answered 500",
    );
    host.broken = null;
    const file = `${site.root}/below/it/model/weights-002.bin`;
    const bytes = await Deno.readFile(file);
    await Deno.writeFile(file, bytes.map((byte, i) => i === 9 ? byte ^ 1 : byte));
    await page.getByRole("button", { name: "Load the model" }).click();
    await problem.filter({ hasText: "SHA-256" }).waitFor();
    await Deno.writeFile(file, bytes);
    await page.getByRole("button", { name: "Load the model" }).click();
    await settled(page);
    assertEquals(await problem.textContent(), "");
    await page.reload();
    await settled(page);
    const count = (part: string) => host.requests.filter((path) => path.endsWith(part)).length;
    assertEquals(count("weights-001.bin"), 1, "the first part was loaded once");
    assertEquals(count("weights-002.bin"), 3);
    assertEquals(count("tokenizer.json"), 1);
  },
);

/** What axe-core finds that keeps people out. */
async function seriousFaults(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const violations = await page.evaluate(
    `axe.run().then(({ violations }) =>
      violations.map(({ id, impact, nodes }) => impact + " " + id + ": " + nodes[0].html))`,
  ) as string[];
  return violations.filter((text) => /^(serious|critical)/.test(text));
}

async function screenshot(page: Page, name: string): Promise<void> {
  const folder = Deno.env.get("NANOVLM_SCREENSHOTS");
  if (folder) await page.screenshot({ path: `${folder}/${name}.png` });
}

siteTest(
  "the page is usable on a wide screen, and pictures can be pasted and removed",
  { context: { viewport: { width: 1400, height: 900 } } },
  async ({ context, address }) => {
    const { page } = await openLoaded(context, address);
    await page.getByText("Settings").click();
    await page.evaluate(`{
      const data = new DataTransfer();
      const bytes = new Uint8Array(${JSON.stringify([...QUESTIONS[1].png])});
      data.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
      document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
    }`);
    await page.getByAltText("Your picture, pasted.png").waitFor();
    await page.getByRole("button", { name: "Remove" }).click();
    assertEquals(await page.locator("#picture").isVisible(), false);
    await ask(page, QUESTIONS[0]);
    assertEquals(await seriousFaults(page), []);
    await screenshot(page, "web_1400");
    const buffer = Buffer.alloc(9);
    await page.setInputFiles("#file", { name: "x.png", mimeType: "image/png", buffer });
    await page.keyboard.press("Enter");
    assertStringIncludes(
      (await page.locator(".answer .error").textContent())!,
      "Cannot decode",
    );
  },
);

siteTest(
  "the keyboard alone does it, on a dark phone",
  { context: { viewport: { width: 360, height: 740 }, colorScheme: "dark" } },
  async ({ context, address }) => {
    const { page } = await openPage(context, address);
    await page.bringToFront();
    // Before the keys: the browser has to know in time that it opens no dialog of its own.
    const chooser = page.waitForEvent("filechooser");
    const focused = () => page.evaluate("document.activeElement.id");
    for (let presses = 0; presses < 12 && await focused() !== "choose"; presses++) {
      await page.keyboard.press("Tab");
    }
    assertEquals(await focused(), "choose");
    await page.keyboard.press("Enter");
    const buffer = Buffer.from(QUESTIONS[0].png);
    await (await chooser).setFiles({ name: "shape.png", mimeType: "image/png", buffer });
    await page.locator("#picture:not([hidden])").waitFor();
    assertEquals(await focused(), "question");
    await page.keyboard.type("Which shape is this?");
    await page.keyboard.press("Enter");
    await page.locator(".answer .numbers:not(:empty)").waitFor();
    assertEquals(await focused(), "question");
    const width = await page.evaluate("document.documentElement.scrollWidth") as number;
    assert(width <= 360, `the page is ${width} px wide`);
    assertEquals(await seriousFaults(page), []);
    await screenshot(page, "web_360_dark");
  },
);
