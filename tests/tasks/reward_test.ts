import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { TempModules } from "../rewards/temp_modules.ts";

const main = new URL("../../mod.ts", import.meta.url);

async function reward(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", main.href, "reward", ...args],
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

const MODULE = `
export const length = ({ completions }) => { console.log("hello"); return completions.map((t) => t.length); };
export const reads = ({ completions }) => { Deno.readTextFileSync("/etc/passwd"); return []; };
`;
const ROWS = '{"prompt": "p", "completion": "abc", "answer": 1}\n\n{"completion": "", "x": null}\n';

Deno.test("reward check --json prints one object: scores, times, errors, refusals", async () => {
  await using temp = await TempModules.write({ "m.js": MODULE, "rows.jsonl": ROWS });
  const { code, out, err } = await reward(
    "check",
    temp.path("m.js"),
    "--data",
    temp.path("rows.jsonl"),
    "--json",
  );
  const report = JSON.parse(out);
  assertEquals(code, 1);
  assertEquals(Object.keys(report), ["functions", "refused"]);
  const { length, reads } = report.functions;
  assertEquals(length.scores, [3, 0]);
  assertEquals(length.error, null);
  assert(typeof length.ms === "number");
  assertEquals(reads.scores, [null, null]);
  assertStringIncludes(reads.error, "read access");
  assertEquals(report.refused, [
    "tried to read /etc/passwd: not granted; add `allow_read` if it must",
  ]);
  assertStringIncludes(err, "[reward length] hello");
});

Deno.test("reward check without --json prints a table and what was refused", async () => {
  await using temp = await TempModules.write({ "m.js": MODULE });
  const { code, out } = await reward("check", temp.path("m.js"));
  assertEquals(code, 1);
  assertStringIncludes(out, "integrity: sha256-");
  assertStringIncludes(out, "length  reads");
  assertStringIncludes(out, "refused: tried to read /etc/passwd");
});

Deno.test("reward bench scores 64 rows and exits 0", async () => {
  const { code, out } = await reward("bench", "builtin:exact_match", "--json");
  const { functions, refused } = JSON.parse(out);
  assertEquals(code, 0);
  assertEquals(functions.exactMatch.scores.length, 64);
  assertEquals(refused, []);
});

Deno.test("reward check of a module that is refused exits 1 and says what it tried", async () => {
  await using temp = await TempModules.write({
    "m.js": 'import x from "/etc/hostname" with { type: "text" }; export const f = () => [x];',
  });
  const { code, out } = await reward("check", temp.path("m.js"), "--json");
  const report = JSON.parse(out);
  assertEquals(code, 1);
  assertEquals(report.functions, {});
  assertStringIncludes(report.refused[0], "tried to import /etc/hostname: it lies outside");
});

Deno.test("a wrong command line or data file exits 2", async () => {
  await using temp = await TempModules.write({ "rows.jsonl": '{"prompt": 1}\n' });
  for (
    const [args, text] of [
      [["check"], "a module"],
      [["score", "x.ts"], "check or bench"],
      [["check", "builtin:format", "--data", temp.path("rows.jsonl")], "rows.jsonl:1"],
      [["check", "builtin:format", "--data", temp.path("none.jsonl")], "no such file"],
      [["check", "builtin:nothing"], "no such built-in reward"],
      [["check", temp.path("none.ts")], "none.ts: there is no such file"],
      [["check", "builtin:format", "--integrity=sha1-x"], "sha256-"],
      [["check", "builtin:format", "--memory", "5"], "memory"],
    ] as const
  ) {
    const { code, err } = await reward(...args);
    assertStringIncludes(err, text);
    assertEquals(code, 2, args.join(" "));
  }
});
