/** What the reports of SFT, DPO and GRPO tell, in a real browser. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { Page } from "playwright-core";
import { storyDPO, storyGRPO, storySFT } from "../story_runs.ts";
import { inTemporaryFolder } from "../temporary_folder.ts";
import { browserTest, overflowing, seriousFaults, withPage } from "./open_page.ts";

const RUNS = { sft: storySFT, dpo: storyDPO, grpo: storyGRPO };

async function withReport(
  run: keyof typeof RUNS,
  use: (page: Page, complaints: readonly string[]) => Promise<void>,
): Promise<void> {
  await inTemporaryFolder(async (dir) => {
    await RUNS[run](dir);
    const options = { viewport: { width: 1280, height: 900 } };
    await withPage(
      `${dir}/report.html`,
      options,
      ({ page, complaints }) => use(page, complaints),
    );
  });
}

const innerTexts = (page: Page, selector: string) =>
  page.evaluate<string[]>(
    `[...document.querySelectorAll(${JSON.stringify(selector)})].map((one) => one.innerText)`,
  );

browserTest(
  "the report of SFT shows wrong answers first, with before, filters and confusion",
  async () => {
    await withReport("sft", async (page, complaints) => {
      const cards = page.locator("#answers > article:visible");
      assertEquals(await cards.count(), 12);
      const [first] = await innerTexts(page, "#answers > article");
      for (const part of ["✗ wrong", "Answer\ngreen", "Expected\nblue", "Before training\nred"]) {
        assertStringIncludes(first, part);
      }
      assert(await page.locator("#answers img").first().isVisible());
      assertStringIncludes(await page.locator("main").innerText(), "25 of 30 right");

      await page.getByLabel("Show").selectOption("wrong");
      assertEquals(await cards.count(), 5);
      await page.getByLabel("Show").selectOption("learned");
      await page.getByLabel("Type").selectOption({ label: "yes_no (15)" });
      assertEquals(await page.locator("#filtered").innerText(), "15 answers");
      await page.getByRole("button", { name: "Show all 15" }).click();
      assertEquals(await cards.count(), 15);

      const [colour] = await innerTexts(page, "table.confusion");
      assertMatch(
        colour.replaceAll("\t", " ").replace(/\s+/g, " "),
        /blue · 5 · green · 5 · red · · 5/,
      );
      assertStringIncludes(await page.locator("main").innerText(), "“green” for “blue” 5 times");

      const [tile] = await innerTexts(page, ".tile");
      assertEquals(tile.split("\n").slice(0, 3), [
        "Right answers",
        "83.3 %",
        "16.7 % before training",
      ]);
      const tiles = (await innerTexts(page, ".tile")).map((text) => text.replaceAll("\n", " "));
      assert(tiles.includes("Held-out loss 0.2000 4 before training"), tiles.join());
      const axes = await innerTexts(page, ".chart .axis");
      assertEquals(axes.slice(0, 2), ["loss (SFT: nats a token)", "optimizer steps"]);
      assertEquals(complaints, []);
    });
  },
);

browserTest("the report of DPO shows pairs with chosen, rejected and both margins", async () => {
  await withReport("dpo", async (page) => {
    const [worst] = await innerTexts(page, "#answers > article");
    for (
      const part of [
        "Chosen\nblue",
        "Rejected\nsomething",
        "Margin\n−0.50 nats: rejected 1.6 times likelier",
        "Before training\n−1.50 nats: rejected 4.5 times likelier",
        "✗ rejected ahead",
      ]
    ) assertStringIncludes(worst, part);
    const text = await page.locator("main").innerText();
    assertStringIncludes(text, "2 of 3 with the chosen answer ahead");
    const [tile] = await innerTexts(page, ".tile");
    assertStringIncludes(tile.replaceAll("\n", " "), "66.7 % 33.3 % before training");
    assertEquals(await page.locator("table.confusion, #completions").count(), 0);
  });
});

browserTest(
  "the report of GRPO keeps completions of two pictures apart, and leads with the reward",
  async () => {
    await withReport("grpo", async (page) => {
      const groups = await innerTexts(page, "section[aria-labelledby=completions] article");
      assertEquals(groups.length, 2, "the question is the same, the pictures are not");
      assertStringIncludes(groups[0], "Expected: red");
      assertStringIncludes(groups[1], "Expected: blue");
      assert(groups[1].indexOf("blue\n") < groups[1].indexOf("\nred"), "the best one first");
      const sources = await page.evaluate<string[]>(
        `[...document.querySelectorAll("section[aria-labelledby=completions] img")].map((one) => one.src)`,
      );
      assertEquals(new Set(sources).size, 2);
      const tiles = (await innerTexts(page, ".tile")).map((text) => text.replaceAll("\n", " "));
      assertEquals(tiles[0], "Held-out reward 0.7500 0.2500 before training");
      assert(!tiles.some((text) => /loss/i.test(text)), tiles.join());
      const titles = await innerTexts(page, ".charts h3");
      assertEquals(titles[0], "Reward");
      assertStringIncludes((await innerTexts(page, ".legend button"))[0], "mean reward reward");
    });
  },
);

for (const run of Object.keys(RUNS) as (keyof typeof RUNS)[]) {
  browserTest(
    `the report of ${run} has no serious fault for axe, and fits 360, 400 and 1,280 px`,
    async () => {
      await inTemporaryFolder(async (dir) => {
        await RUNS[run](dir);
        for (const width of [360, 400, 1280]) {
          for (const colorScheme of ["light", "dark"] as const) {
            const options = { viewport: { width, height: 800 }, colorScheme };
            await withPage(`${dir}/report.html`, options, async ({ page, complaints }) => {
              await page.evaluate(
                `document.querySelectorAll("details").forEach((one) => one.open = true)`,
              );
              const scrolled = await page.evaluate<number>("document.documentElement.scrollWidth");
              assertEquals(scrolled, width, (await overflowing(page)).join("\n"));
              assertEquals(await overflowing(page), []);
              assertEquals(await seriousFaults(page), [], `${width} px, ${colorScheme}`);
              assertEquals(complaints, []);
            });
          }
        }
      });
    },
  );
}
