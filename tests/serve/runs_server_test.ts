import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertStringIncludes,
} from "@std/assert";
import { findRuns } from "../../src/report/runs/find_runs.ts";
import { RunReader } from "../../src/report/runs/run_reader.ts";
import { RunsServer } from "../../src/serve/runs_server.ts";
import { hasChromium, launchChromium, skippedWithoutChromium } from "../chromium.ts";
import { start } from "../faults/interrupted_command.ts";
import { talkingModel } from "../generate/talking_model.ts";

/** Two runs, one of them in a folder below, and folders that are none. */
async function exampleRuns(): Promise<string> {
  const root = await Deno.makeTempDir();
  const write = async (name: string, type: string, losses: readonly number[]) => {
    await Deno.mkdir(`${root}/${name}/checkpoint-2`, { recursive: true });
    const lines = losses.map((loss, i) =>
      JSON.stringify({ step: i + 1, loss, eval_loss: loss + 1 })
    );
    await Deno.writeTextFile(
      `${root}/${name}/metrics.jsonl`,
      lines.join("\n") + '\n{"step": 9, "lo',
    );
    await Deno.writeTextFile(`${root}/${name}/config.resolved.yaml`, `training_type: ${type}\n`);
  };
  await write("<b>first</b>", "sft", [3, 2, 1]);
  await write("deep/er/second", "dpo", [0.5, 0.25]);
  await Deno.mkdir(`${root}/empty`);
  await Deno.writeTextFile(`${root}/deep/er/second/report.html`, "<p>its own page</p>");
  return root;
}

Deno.test("findRuns() finds runs at any depth with what their files say", async () => {
  const root = await exampleRuns();
  const runs = (await new RunReader().readAll(await findRuns(root)))
    .sort((a, b) => a.name.localeCompare(b.name));
  assertEquals(
    runs.map(({ name, trainingType, step, hasReport }) => [name, trainingType, step, hasReport]),
    [["<b>first</b>", "sft", 3, false], ["deep/er/second", "dpo", 2, true]],
  );
  await Deno.remove(root, { recursive: true });
});

Deno.test("the pages list runs, show one and compare two; names of others are no paths", async () => {
  const root = await exampleRuns();
  await Deno.writeTextFile(`${root}/secret.html`, "secret");
  const server = new RunsServer(root);
  const get = async (path: string): Promise<[number, string]> => {
    const response = await server.handle(new Request(`http://127.0.0.1${path}`));
    return [response.status, await response.text()];
  };
  const [, list] = await get("/");
  assertStringIncludes(list, "&lt;b>first&lt;/b>".replaceAll(">", "&gt;"));
  assert(!list.includes("<b>first"));
  assertEquals(await get("/report?run=deep%2Fer%2Fsecond"), [200, "<p>its own page</p>"]);
  const [status, both] = await get("/compare?run=deep%2Fer%2Fsecond&run=%3Cb%3Efirst%3C%2Fb%3E");
  assertEquals(status, 200);
  assertStringIncludes(both, "deep/er/second: eval_loss");
  for (
    const [path, wanted] of [
      ["/report?run=..", 404],
      ["/report?run=.", 404],
      ["/report?run=deep%2F..%2Fsecret.html", 404],
      ["/compare?run=deep%2Fer%2Fsecond", 400],
      ["/nowhere", 404],
    ] as const
  ) assertEquals((await get(path))[0], wanted, path);
  await Deno.remove(root, { recursive: true });
});

Deno.test({
  name: `two runs are chosen and compared in a browser${skippedWithoutChromium}`,
  ignore: !hasChromium,
  async fn() {
    const root = await exampleRuns();
    const runs = new RunsServer(root);
    const server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      (request) => runs.handle(request),
    );
    const browser = await launchChromium(["--disable-gpu"]);
    try {
      const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 } }))
        .newPage();
      const complaints: string[] = [];
      page.on("console", (message) => complaints.push(message.text()));
      page.on("pageerror", (error) => complaints.push(error.message));
      await page.goto(`http://127.0.0.1:${server.addr.port}`);
      for (const box of await page.getByRole("checkbox").all()) await box.check();
      await page.getByRole("button", { name: "Compare" }).click();
      await page.locator(".chart canvas").first().waitFor();
      assertEquals(await page.locator("tbody tr").count(), 2);
      assertEquals(complaints, []);
      const folder = Deno.env.get("NANOVLM_SCREENSHOTS");
      if (folder) await page.screenshot({ path: `${folder}/runs_compared.png` });
    } finally {
      await browser.close();
      await server.shutdown();
      await Deno.remove(root, { recursive: true });
    }
  },
});

Deno.test("one run's page reads no other run, and what was read is kept until it changes", async () => {
  const root = await exampleRuns();
  const [second, first] = (await findRuns(root)).sort((a, b) => b.name.localeCompare(a.name));
  const reader = new RunReader();
  const read = await reader.read(first);
  assertEquals([read.trainingType, read.step, read.records.length], ["sft", 3, 3]);
  assert((await reader.read(first)).records === read.records, "read again");
  const text = await Deno.readTextFile(`${first.path}/metrics.jsonl`);
  await Deno.writeTextFile(`${first.path}/metrics.jsonl`, `{"step": 0}\n${text}`);
  const changed = (await findRuns(root)).find(({ name }) => name === first.name)!;
  assertEquals((await reader.read(changed)).records.length, 4);
  // A run that cannot be read does not matter to the page of another one.
  await Deno.remove(`${first.path}/metrics.jsonl`);
  await Deno.symlink("/dev/full", `${first.path}/metrics.jsonl`);
  const response = await new RunsServer(root).handle(
    new Request(`http://127.0.0.1/report?run=${encodeURIComponent(second.name)}`),
  );
  assertEquals([response.status, await response.text()], [200, "<p>its own page</p>"]);
  await Deno.remove(root, { recursive: true });
});

Deno.test("a page that the browser has is not sent again, and a run to come has a page that waits", async () => {
  const root = await exampleRuns();
  const server = new RunsServer(root, "soon");
  const ask = (run: string, headers: HeadersInit = {}) =>
    server.handle(
      new Request(`http://127.0.0.1/report?run=${encodeURIComponent(run)}`, { headers }),
    );
  const first = await ask("deep/er/second");
  await first.body?.cancel();
  const etag = first.headers.get("etag")!;
  assertEquals((await ask("deep/er/second", { "if-none-match": etag })).status, 304);
  await Deno.writeTextFile(`${root}/deep/er/second/report.html`, "<p>a newer page</p>");
  const newer = await ask("deep/er/second", { "if-none-match": etag });
  assertEquals([newer.status, await newer.text()], [200, "<p>a newer page</p>"]);
  assertStringIncludes(await (await ask("soon")).text(), "has not begun");
  assertEquals((await ask("never")).status, 404);
  await Deno.remove(root, { recursive: true });
});

Deno.test({
  name:
    `a GRPO run is watched in a browser: completions, rewards, samples, time left, memory${skippedWithoutChromium}`,
  ignore: !hasChromium,
  // Playwright keeps timers and pipes of its own until the process ends.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const root = await Deno.makeTempDir();
    const { model } = await talkingModel();
    await model.savePretrained(`${root}/model`);
    model.dispose();
    const settings = [
      ...[`model.model_name_or_path=${root}/model`, "training.logging_steps=1"],
      ...["training.max_steps=100000", "training.eval_strategy=steps", "training.eval_steps=50"],
      ...["training.per_device_train_batch_size=2", "training.per_device_eval_batch_size=16"],
      ...["dataset.max_samples=16", "grpo.max_completion_length=4", "training.save_strategy=no"],
    ];
    const child = start([
      ...["train", "grpo", "--watch", "0", "--backend", "wasm", "--output-dir", `${root}/watched`],
      ...settings.flatMap((setting) => ["--set", setting]),
    ]);
    const address = Promise.withResolvers<string>();
    const told = (async () => {
      let text = "";
      for await (const piece of child.stderr.pipeThrough(new TextDecoderStream())) {
        text += piece;
        const url = /watch it: (\S+),/.exec(text)?.[1];
        if (url !== undefined) address.resolve(url);
      }
      address.reject(new Error(text));
      return text;
    })();
    const browser = await launchChromium(["--disable-gpu"]);
    try {
      const page = await (await browser.newContext({ viewport: { width: 1280, height: 900 } }))
        .newPage();
      page.setDefaultTimeout(90_000);
      const complaints: string[] = [];
      page.on("console", (message) => complaints.push(message.text()));
      page.on("pageerror", (error) => complaints.push(error.message));
      // Before anything is measured: the page fills by itself.
      await page.goto(await address.promise);
      await page.locator("section[aria-labelledby=completions] img").first().waitFor();
      await page.locator("section[aria-labelledby=samples] img").first().waitFor();
      const rewards = await page.locator("section[aria-labelledby=completions] .chip")
        .allInnerTexts();
      for (const name of ["format", "accuracy", "advantage"]) {
        assert(rewards.some((chip) => chip.startsWith(name)), `${name}: ${rewards.slice(0, 9)}`);
      }
      const tile = (name: string) =>
        page.locator(".tile", { has: page.locator(`dt:text-is("${name}")`) }).innerText();
      assertMatch(await tile("Steps"), / left$/);
      assertMatch(await tile("Peak memory"), /GiB/);
      await page.locator(".chart canvas").first().waitFor();
      // The page is loaded again when a curve comes that it has no place for: the first evaluation's.
      const step = async () => Number(/[\d,]+/.exec(await tile("Steps"))?.[0].replaceAll(",", ""));
      for (let tries = 0; tries < 450 && await step() <= 60; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
      await page.locator(".chart canvas").first().waitFor();
      // The page changes in place: what is unfolded and where it is scrolled to stays.
      await page.locator("#more > summary").click();
      await page.evaluate("globalThis.sameDocument = true; scrollTo(0, 500)");
      const before = await tile("Steps");
      for (let tries = 0; tries < 450 && await tile("Steps") === before; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
      assertNotEquals(await tile("Steps"), before);
      assertEquals(
        await page.evaluate(
          "[globalThis.sameDocument, scrollY, document.querySelector('#more').open]",
        ),
        [true, 500, true],
      );
      const folder = Deno.env.get("NANOVLM_SCREENSHOTS");
      if (folder) await page.screenshot({ path: `${folder}/watched.png`, fullPage: true });
      child.kill("SIGINT");
      await page.locator(".badge.warn", { hasText: "interrupted" }).waitFor();
      assertEquals(complaints, []);
    } finally {
      await browser.close();
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      await child.status;
      await told;
      await Deno.remove(root, { recursive: true });
    }
  },
});

Deno.test("train --watch shows the run while it trains, and the page ends with it", async () => {
  const root = await Deno.makeTempDir();
  const child = start([
    ...["train", "sft", "--watch", "0", "--backend", "wasm", "--output-dir", `${root}/watched`],
    ...["--set", "training.max_steps=400", "--set", "training.eval_strategy=no"],
  ]);
  let url: string | undefined, text = "", shown = "";
  for await (const piece of child.stderr.pipeThrough(new TextDecoderStream())) {
    text += piece;
    url ??= /watch it: (\S+),/.exec(text)?.[1];
    if (url === undefined || shown !== "" || !/step [1-9]/.test(text)) continue;
    const response = await fetch(url);
    shown = await response.text();
    child.kill("SIGINT");
  }
  await child.status;
  assertStringIncludes(shown, "running", text);
  const url2 = new URL("/", url);
  await fetch(url2).then(() => assert(false, "the page is still there"), () => {});
  await Deno.remove(root, { recursive: true });
});
