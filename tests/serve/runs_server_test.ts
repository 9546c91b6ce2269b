import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { findRuns } from "../../src/report/runs/find_runs.ts";
import { RunsServer } from "../../src/serve/runs_server.ts";
import { hasChromium, launchChromium, skippedWithoutChromium } from "../chromium.ts";
import { start } from "../faults/interrupted_command.ts";

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
  const runs = (await findRuns(root)).sort((a, b) => a.name.localeCompare(b.name));
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
