import { assert, assertEquals } from "@std/assert";
import { serveLoad } from "../../bench/serve_load.ts";
import { LoadNumbers, percentile } from "../../bench/serving/load_numbers.ts";
import { talkingModel } from "../generate/talking_model.ts";

Deno.test("percentile() is the nearest rank", () => {
  const values = Array.from({ length: 20 }, (_, i) => 20 - i);
  assertEquals([0.5, 0.95, 0.99, 0].map((share) => percentile(values, share)), [10, 19, 20, 1]);
  assertEquals(percentile([], 0.5), NaN);
});

Deno.test("LoadNumbers shows what must not happen", () => {
  const numbers = new LoadNumbers();
  numbers.count("a deed");
  numbers.fail("a wrong answer");
  const lines = numbers.lines(1);
  assert(lines.includes("       1  a deed"), lines.join("\n"));
  assert(lines.includes("failed: a wrong answer"), lines.join("\n"));
});

Deno.test("the load test passes for a few seconds, and compares answers of every kind", async () => {
  const folder = await Deno.makeTempDir();
  const { model } = await talkingModel();
  await model.savePretrained(`${folder}/model`);
  model.dispose();
  const lines: string[] = [];
  const problems = await serveLoad({
    minutes: 0.1,
    clients: 12,
    model: `${folder}/model`,
    backend: "wasm",
    log: (line) => lines.push(line),
  });
  const log = lines.join("\n");
  assertEquals(problems, [], log);
  for (const kind of ["streamed", "streamed to a slow reader", "whole"]) {
    assert(new RegExp(`^ +[1-9]\\d*  answered: ${kind}$`, "m").test(log), `${kind}:\n${log}`);
  }
  await Deno.remove(folder, { recursive: true });
});
