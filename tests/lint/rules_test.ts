import { assertEquals } from "@std/assert";
import plugin, { LONG_PARAMETER_LISTS, REASON_FILES } from "../../lint/rules.ts";

/** The rules that find something in a source, without the plugin's name. */
function found(source: string, path = "/project/src/data/new_file.ts"): string[] {
  return Deno.lint.runPlugin(plugin, path, source).map(({ id }) => id.replace("nanovlm/", ""));
}

Deno.test("an error text starts with a capital letter", () => {
  assertEquals(found('throw new Error("file is missing");'), ["error-start"]);
  assertEquals(found("throw new DataError(`file ${path} is missing`);"), ["error-start"]);
  assertEquals(found('throw new Error("Cannot read a.json: it is not JSON");'), []);
  assertEquals(found("throw new Error(`${path} is missing`);"), []);
  assertEquals(found('throw new Error("lm_n_heads 3 does not divide 64");'), []);
});

Deno.test("error-start leaves out clauses and texts that the class makes", () => {
  assertEquals(found('throw new UsageError("wants --config");'), []);
  assertEquals(found('throw new RunFileError("write to", path, error);'), []);
  assertEquals(found('throw new HubError("not found", "Cannot find it");'), []);
  assertEquals(found('throw new HubError("not found", "cannot find it");'), ["error-start"]);
});

Deno.test("an error text has no period at its end", () => {
  assertEquals(found('throw new Error("Cannot read it.");'), ["error-end"]);
  assertEquals(found('throw new Error("Cannot read it: " + `${path} is empty. `);'), ["error-end"]);
  assertEquals(found('throw new Error("Cannot read it. Look for...");'), []);
});

Deno.test("an error text is more than a value", () => {
  assertEquals(found("throw new Error(`${path}`);"), ["error-value"]);
  assertEquals(found("throw new Error(`${path}: ${reason}`);"), []);
  assertEquals(found("throw new Error(message);"), []);
});

Deno.test("an exported function and a method have four positional parameters at most", () => {
  assertEquals(found("export function f(a, b, c, d, e) {}"), ["positional-parameters"]);
  assertEquals(found("export function f(a, b, c, d) {}"), []);
  assertEquals(found("function f(a, b, c, d, e) {}"), []);
  assertEquals(found("class A { m(a, b, c, d, e) {} }"), ["positional-parameters"]);
  assertEquals(found("class A { #m(a, b, c, d, e) {} }"), []);
});

Deno.test("an op has six positional parameters at most", () => {
  const path = "/project/src/ops/new_op.ts";
  assertEquals(found("export function f(q, k, v, a, b, c) {}", path), []);
  assertEquals(found("export function f(q, k, v, a, b, c, d) {}", path), ["positional-parameters"]);
});

Deno.test("a label that is ignored has its name", () => {
  assertEquals(found("const label = -100;"), ["ignored-label"]);
  assertEquals(found("labels.fill(-100);"), ["ignored-label"]);
  assertEquals(found("export const IGNORED_LABEL = -100;"), []);
  assertEquals(found("const x = a - 100;"), []);
  assertEquals(found("labels.fill(-100);", "/project/tests/new_test.ts"), []);
});

Deno.test("every file of the list of long parameter lists still has one", async () => {
  const unused: string[] = [];
  for (const path of LONG_PARAMETER_LISTS) {
    const source = await Deno.readTextFile(new URL(`../../${path}`, import.meta.url))
      .catch(() => "");
    const under = path.startsWith("src/ops/") ? "/project/src/ops/x.ts" : "/project/src/x.ts";
    if (!found(source, under).includes("positional-parameters")) unused.push(path);
  }
  assertEquals(unused, []);
});

Deno.test("every file of the list of reasons still has an error text that is one", async () => {
  const unused: string[] = [];
  for (const path of REASON_FILES) {
    const source = await Deno.readTextFile(new URL(`../../${path}`, import.meta.url))
      .catch(() => "");
    if (!found(source).includes("error-start")) unused.push(path);
  }
  assertEquals(unused, []);
});
