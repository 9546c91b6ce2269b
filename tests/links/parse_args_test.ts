// These hold for jsr:@std/cli too: the suite must pass with `links` pointed at the real package.
import { assertEquals } from "@std/assert";
import { parseArgs } from "@std/cli";

/** Compares as plain records: the real package's types follow the options. */
function parsed(args: string[], options: Parameters<typeof parseArgs>[1] = {}): unknown {
  return JSON.parse(JSON.stringify(parseArgs(args, options)));
}

Deno.test("parseArgs() takes the value after an option or after its first equals sign", () => {
  assertEquals(parsed(["--config", "a.yaml", "--set=a=b", "-n5", "-k", "v"]), {
    _: [],
    config: "a.yaml",
    set: "a=b",
    n: 5,
    k: "v",
  });
});

Deno.test("parseArgs() makes numbers of values unless they are declared strings", () => {
  assertEquals(parsed(["--a", "1e3", "--b", "1e3", "7"], { string: ["b"] }), {
    _: [7],
    a: 1000,
    b: "1e3",
  });
  assertEquals(parsed(["7", "x"], { string: ["_"] }), { _: ["7", "x"] });
});

Deno.test("parseArgs() leaves the argument after a boolean alone, but for true and false", () => {
  assertEquals(parsed(["--json", "file"], { boolean: ["json"] }), { _: ["file"], json: true });
  assertEquals(parsed(["--json", "false"], { boolean: ["json"] }), { _: [], json: false });
  assertEquals(parsed(["--json=true"], { boolean: ["json"] }), { _: [], json: true });
  assertEquals(parsed([], { boolean: ["json"] }), { _: [], json: false });
});

Deno.test("parseArgs() gives an empty string where a string option has no value", () => {
  const options = { string: ["resume"], boolean: ["dry"] };
  assertEquals(parsed(["--resume", "--dry"], options), { _: [], resume: "", dry: true });
  assertEquals(parsed(["--resume"], options), { _: [], resume: "", dry: false });
});

Deno.test("parseArgs() takes nothing after an equals sign as an empty string", () => {
  assertEquals(parsed(["--prompt=", "x"], { string: ["prompt"] }), { _: ["x"], prompt: "" });
});

Deno.test("parseArgs() collects every value of a collected option, and none as an empty list", () => {
  const options = { string: ["set"], collect: ["set"] };
  assertEquals(parsed(["--set", "a=1", "--set=b=2"], options), { _: [], set: ["a=1", "b=2"] });
  assertEquals(parsed([], options), { _: [], set: [] });
});

Deno.test("parseArgs() takes the last value of an option that is not collected", () => {
  assertEquals(parsed(["--a", "x", "--a", "y"]), { _: [], a: "y" });
});

Deno.test("parseArgs() sets aliases together", () => {
  const options = { alias: { help: ["h"] }, boolean: ["help"] };
  assertEquals(parsed(["-h"], options), { _: [], h: true, help: true });
});

Deno.test("parseArgs() fills in defaults, and lets arguments win over them", () => {
  const options = { default: { seed: 0, name: "x" } };
  assertEquals(parsed(["--seed", "3"], options), { _: [], seed: 3, name: "x" });
});

Deno.test("parseArgs() negates negatable options alone", () => {
  const options = { boolean: ["color"], negatable: ["color"], default: { color: true } };
  assertEquals(parsed(["--no-color"], options), { _: [], color: false });
  assertEquals(parsed(["--no-other"]), { _: [], "no-other": true });
});

Deno.test("parseArgs() takes everything after -- as positionals, or under -- where asked", () => {
  assertEquals(parsed(["a", "--", "--b"]), { _: ["a", "--b"] });
  assertEquals(parsed(["a", "--", "--b"], { "--": true }), { _: ["a"], "--": ["--b"] });
});

Deno.test("parseArgs() asks unknown() about options and positionals it does not know", () => {
  const seen: unknown[] = [];
  const result = parsed(["--known", "v", "--other=1", "-x", "pos"], {
    string: ["known"],
    unknown: (arg: string, key?: string) => {
      seen.push([arg, key ?? null]);
      return false;
    },
  });
  assertEquals(result, { _: [], known: "v" });
  assertEquals(seen, [["--other=1", "other"], ["-x", "x"]]);
});

Deno.test("parseArgs() reads bundles of short options", () => {
  assertEquals(parsed(["-abc"]), { _: [], a: true, b: true, c: true });
  assertEquals(parsed(["-n=5", "-v9"]), { _: [], n: 5, v: 9 });
});

Deno.test("parseArgs() nests dotted names", () => {
  assertEquals(parsed(["--a.b", "1", "--a.c=x"]), { _: [], a: { b: 1, c: "x" } });
});

Deno.test("parseArgs() stops at the first positional where asked", () => {
  assertEquals(parsed(["--a", "1", "run", "--b"], { stopEarly: true }), {
    _: ["run", "--b"],
    a: 1,
  });
});
