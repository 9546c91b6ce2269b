import { assert, assertEquals } from "@std/assert";

const root = new URL("../../../", import.meta.url);

Deno.test("docs/concerns.md has every concern that the code reports, and no other", async () => {
  const sources = [
    "src/report/watch/run_rules.ts",
    "src/train/sft/closing.ts",
    "src/train/dpo/evaluation.ts",
    "src/train/grpo/run.ts",
  ];
  const inCode = new Set<string>();
  for (const path of sources) {
    const text = await Deno.readTextFile(new URL(path, root));
    for (const [, name] of text.matchAll(/^\s+name: "([a-z_]+)",$/gm)) inCode.add(name);
  }
  const watch = await Deno.readTextFile(new URL("src/report/reward_watch.ts", root));
  for (const [, name] of watch.matchAll(/yield \[\s*["`]([a-z_]+)/g)) inCode.add(name);
  assert(inCode.size >= 14, [...inCode].join());
  const page = await Deno.readTextFile(new URL("docs/concerns.md", root));
  const inPage = [...page.matchAll(/^\| `([a-z_]+)(?: FUNCTION)?` /gm)].map(([, name]) => name)
    .filter((name) => name !== "concerns");
  assertEquals(new Set(inPage), inCode);
});
