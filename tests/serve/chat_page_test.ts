/** The chat page in a real browser. */
import { Buffer } from "node:buffer";
import { assert, assertEquals } from "@std/assert";
import axe from "axe-core";
import type { BrowserContextOptions, Page } from "playwright-core";
import { embeddedShapes } from "../../src/data/embedded/embedded_shapes.ts";
import { encodePng } from "../../src/data/embedded/embedded_shapes_png.ts";
import { ChatServer } from "../../src/serve/chat_server.ts";
import { hasChromium, launchChromium, skippedWithoutChromium } from "../chromium.ts";
import { talkingModel } from "../generate/talking_model.ts";

const PNG = encodePng(embeddedShapes({ seed: 1 }).test[0].image);

interface OpenPage {
  readonly page: Page;
  /** Errors and warnings of the console, and uncaught exceptions. */
  readonly complaints: string[];
  /** Hosts that the page asked. */
  readonly hosts: Set<string>;
  readonly origin: string;
}

async function withPage(
  options: BrowserContextOptions & { apiKey?: string },
  use: (open: OpenPage) => Promise<void>,
): Promise<void> {
  const { apiKey, ...context } = options;
  const loaded = await talkingModel();
  const chat = new ChatServer({
    loaded,
    models: new Map([["after", {}], ["before", { withoutAdapters: true }]]),
    apiKey,
    hosts: ["127.0.0.1"],
  });
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => chat.handle(request),
  );
  const browser = await launchChromium(["--disable-gpu"]);
  try {
    const page = await (await browser.newContext(context)).newPage();
    const complaints: string[] = [], hosts = new Set<string>();
    page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
    page.on("request", (request) => hosts.add(new URL(request.url()).host));
    const origin = `http://127.0.0.1:${server.addr.port}`;
    await page.goto(origin);
    await use({ page, complaints, hosts, origin });
  } finally {
    await browser.close();
    await server.shutdown();
    await chat.idle();
    loaded.model.dispose();
  }
}

/** What axe-core finds that keeps people out. */
async function seriousFaults(page: Page): Promise<string[]> {
  // Through the debugger, which the page's policy does not concern.
  await page.evaluate(axe.source);
  const violations = await page.evaluate(
    `axe.run().then(({ violations }) =>
      violations.map(({ id, impact, nodes }) => impact + " " + id + ": " + nodes[0].html))`,
  ) as string[];
  return violations.filter((text) => /^(serious|critical)/.test(text));
}

async function ask(page: Page, text: string): Promise<void> {
  await page.getByLabel("Your question").fill(text);
  await page.keyboard.press("Enter");
  await page.locator("#status", { hasText: "says:" }).waitFor({ state: "attached" });
}

Deno.test({
  name:
    `a picture is asked about, two models are compared, and the page asks its own server alone${skippedWithoutChromium}`,
  ignore: !hasChromium,
  fn: () =>
    withPage(
      { viewport: { width: 1400, height: 900 } },
      async ({ page, complaints, hosts, origin }) => {
        await page.setInputFiles("#file", {
          name: "shape.png",
          mimeType: "image/png",
          buffer: Buffer.from(PNG),
        });
        await page.getByLabel("Compare").check();
        await ask(page, "Which shape is this?");
        const answers = page.locator(".answer");
        assertEquals(await answers.locator("h2").allTextContents(), ["after", "before"]);
        assert((await answers.first().locator(".numbers").textContent())!.includes("tokens in"));
        await page.getByText("As the model sees it").click();
        await page.locator(".tiles img").first().waitFor();
        const side = await page.evaluate(`document.querySelector(".tiles img").naturalWidth`);
        assertEquals(side, 16);
        await ask(page, "And the colour?");
        assertEquals(await page.locator(".turn").count(), 2);
        assertEquals(await seriousFaults(page), []);
        assertEquals(complaints, []);
        assertEquals([...hosts].filter((host) => host !== ""), [new URL(origin).host]);
        const folder = Deno.env.get("NANOVLM_SCREENSHOTS");
        if (folder) await page.screenshot({ path: `${folder}/chat_1400.png` });
      },
    ),
});

Deno.test({
  name:
    `the keyboard alone does it, on a dark phone, and a wrong key is told${skippedWithoutChromium}`,
  ignore: !hasChromium,
  fn: () =>
    withPage({
      viewport: { width: 360, height: 740 },
      colorScheme: "dark",
      apiKey: "secret",
    }, async ({ page }) => {
      await page.getByText("the request has no API key").waitFor();
      await page.getByLabel("API key").waitFor();
      await page.keyboard.type("secret");
      await page.keyboard.press("Tab");
      await page.locator("#model option").nth(1).waitFor({ state: "attached" });
      for (let presses = 0; presses < 12; presses++) {
        const id = await page.evaluate(`document.activeElement.id`);
        if (id === "prompt") break;
        await page.keyboard.press("Tab");
      }
      await page.keyboard.type("What is it?");
      await page.keyboard.press("Enter");
      await page.locator(".answer .numbers", { hasText: "tokens in" }).waitFor();
      assertEquals(await page.evaluate(`document.activeElement.id`), "prompt");
      const width = await page.evaluate(`document.documentElement.scrollWidth`) as number;
      const wide = await page.evaluate(`[...document.querySelectorAll("*")]
        .filter((element) => element.getBoundingClientRect().right > 360)
        .map((element) => element.outerHTML.slice(0, 80))`);
      assert(width <= 360, `the page is ${width} px wide: ${JSON.stringify(wide)}`);
      assertEquals(await seriousFaults(page), []);
      const folder = Deno.env.get("NANOVLM_SCREENSHOTS");
      if (folder) await page.screenshot({ path: `${folder}/chat_360_dark.png` });
    }),
});

Deno.test({
  name:
    `pictures can be pasted and removed, and a failed answer is told in its place${skippedWithoutChromium}`,
  ignore: !hasChromium,
  fn: () =>
    withPage({}, async ({ page }) => {
      await page.evaluate(`{
        const data = new DataTransfer();
        const bytes = new Uint8Array(${JSON.stringify([...PNG])});
        data.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
        document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
      }`);
      await page.getByLabel("Remove pasted.png").click();
      assertEquals(await page.locator("#attached img").count(), 0);
      await page.setInputFiles("#file", {
        name: "x.png",
        mimeType: "image/png",
        buffer: Buffer.alloc(9),
      });
      await page.getByLabel("Your question").fill("What?");
      await page.keyboard.press("Enter");
      await page.locator(".answer .error").waitFor();
      assert((await page.locator(".answer .error").textContent())!.includes("Cannot decode"));
    }),
});
