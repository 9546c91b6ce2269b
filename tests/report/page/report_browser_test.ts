/**
 * report.html in a real browser: Chromium, if it is installed.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { HOSTILE, runExample } from "../example_run.ts";
import { fakeTerminal } from "../terminal/fake_terminal.ts";
import { inTemporaryFolder } from "../temporary_folder.ts";
import { browserTest, withPage } from "./open_page.ts";

/** How many pixels of each canvas have any ink. */
const INK = `[...document.querySelectorAll("canvas")].map((canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let inked = 0;
  for (let i = 3; i < data.length; i += 4) if (data[i] > 0) inked++;
  return inked;
})`;

browserTest(
  "report.html draws every chart, shows pictures, runs nothing hostile and loads nothing",
  async () => {
    await inTemporaryFolder(async (dir) => {
      await runExample(dir, fakeTerminal(false));
      await withPage(
        `${dir}/report.html`,
        { viewport: { width: 1280, height: 900 } },
        async (open) => {
          const { page, complaints, requests } = open;
          const charts = await page.locator("figure.chart").count();
          const ink = await page.evaluate<number[]>(INK);
          assertEquals(ink.length, charts);
          assert(charts >= 7, `${charts} charts`);
          for (const inked of ink) assert(inked > 300, `a chart has ${inked} pixels of ink`);

          const sizes = await page.evaluate<number[]>(
            `[...document.querySelectorAll(".pictures img")].map((image) => image.naturalWidth)`,
          );
          assertEquals(sizes, [16, 16, 16]);
          const samples = await page.evaluate<string>(
            `document.getElementById("samples").closest("section").innerText`,
          );
          for (
            const part of [
              "What colour?",
              "✓ right",
              "✗ wrong",
              "1 of 2 right",
              "Before training",
              "?",
            ]
          ) {
            assertStringIncludes(samples, part);
          }

          // Hostile texts are shown, not run.
          assertEquals(await page.evaluate("globalThis.hacked"), undefined);
          assertEquals(await page.locator("svg, img[src=x]").count(), 0);
          const text = await page.evaluate<string>("document.body.innerText");
          assert(text.split(HOSTILE).length > 12, "shown as they are, in every place");
          assertStringIncludes(await page.title(), HOSTILE);

          assertEquals(complaints, []);
          assertEquals(requests, []);
        },
      );
    });
  },
);

browserTest("report.html's controls change what is drawn", async () => {
  await inTemporaryFolder(async (dir) => {
    await runExample(dir, fakeTerminal(false));
    await withPage(`${dir}/report.html`, {}, async ({ page, complaints }) => {
      const chart = page.locator("figure.chart", { hasText: "training loss" });
      await page.getByText("More curves").click();
      const picture = () =>
        page.evaluate<string>(`[...document.querySelectorAll("figure.chart")]
          .find((one) => one.textContent.includes("training loss")).querySelector("canvas").toDataURL()`);
      const plain = await picture();

      await chart.getByRole("button", { name: "log scale for Loss" }).click();
      const logarithmic = await picture();
      assert(logarithmic !== plain, "the logarithmic scale is drawn");

      const lines = chart.locator(".legend button");
      assertEquals(await lines.count(), 2);
      assertEquals(
        await lines.nth(0).innerText().then((t) => t.replace(/\s+/g, " ")),
        "training loss loss 0.1000",
      );
      await lines.nth(1).click();
      assertEquals(await lines.nth(1).getAttribute("aria-pressed"), "false");
      const hidden = await picture();
      assert(hidden !== logarithmic, "a line is taken away");
      await lines.nth(1).press("Enter");
      assertEquals(await picture(), logarithmic, "and comes back by the keyboard");

      await page.locator("#smoothing").fill("0.9");
      assert(await picture() !== logarithmic, "smoothing is drawn");
      assertEquals(await page.locator("#smoothing-value").innerText(), "0.90");

      // Hovering reads the values at a step.
      await chart.scrollIntoViewIfNeeded();
      const box = await chart.locator(".u-over").boundingBox();
      assert(box !== null);
      await page.mouse.move(box.x + 1, box.y + box.height / 2);
      assertEquals(await chart.locator(".at").innerText(), "step 0");
      await page.mouse.move(box.x + box.width - 1, box.y + box.height / 2);
      assertEquals(await chart.locator(".at").innerText(), "step 30");
      assertEquals(complaints, []);
    });
  });
});

browserTest("report.html fits a phone and follows the dark scheme", async () => {
  await inTemporaryFolder(async (dir) => {
    await runExample(dir, fakeTerminal(false));
    const options = { viewport: { width: 360, height: 740 }, colorScheme: "dark" } as const;
    await withPage(`${dir}/report.html`, options, async ({ page, complaints }) => {
      await page.evaluate(`document.querySelectorAll("details").forEach((one) => one.open = true)`);
      const [scrollWidth, innerWidth] = await page.evaluate<number[]>(
        "[document.documentElement.scrollWidth, innerWidth]",
      );
      assertEquals(scrollWidth, innerWidth);
      const background = await page.evaluate<string>(
        "getComputedStyle(document.body).backgroundColor",
      );
      const brightness = (background.match(/\d+/g) ?? []).slice(0, 3).map(Number);
      assert(Math.max(...brightness) < 60, background);
      assertEquals(complaints, []);
    });
  });
});

browserTest("report.html without JavaScript has every metric's last value", async () => {
  await inTemporaryFolder(async (dir) => {
    await runExample(dir, fakeTerminal(false));
    await withPage(`${dir}/report.html`, { javaScriptEnabled: false }, async ({ page }) => {
      const text = await page.locator("main").innerText();
      for (const part of ["Last values", "eval_exact_match", "need JavaScript", "What colour?"]) {
        assertStringIncludes(text, part);
      }
    });
  });
});
