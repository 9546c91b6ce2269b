import { assertEquals, assertRejects } from "@std/assert";
import { SandboxCallError, SandboxedFunctions } from "../../src/rewards/mod.ts";
import { TempModules } from "./temp_modules.ts";

Deno.test("SandboxedFunctions names functions in the order of their definition", async () => {
  await using modules = await TempModules.write({
    "order.ts": `export { third } from "./other.ts";
      export function zebra(row: unknown): unknown { return row; }
      export const apple = (row: unknown): unknown => row;
      export async function batch_middle(rows: unknown): Promise<unknown> { return rows; }
      function inner(): void {}
      export { inner as aaa };
      export class Shape {}
      export const number = 3;`,
    "other.ts": "export function third(): void {}",
  });
  await using functions = await SandboxedFunctions.start(modules.path("order.ts"));
  assertEquals(functions.names, ["third", "zebra", "apple", "batch_middle", "aaa"]);
});

Deno.test("rows with image bytes pass in both directions", async () => {
  await using modules = await TempModules.write({
    "rows.js": `export function mirror(row) {
        return { ...row, image: { bytes: row.image.bytes.toReversed(), path: null }, seen: [row.n] };
      }
      export function batch_double(columns) {
        return { n: columns.n.flatMap((n) => [n, n]) };
      }`,
  });
  await using functions = await SandboxedFunctions.start(modules.path("rows.js"));
  const bytes = new Uint8Array(200_000).map((_, i) => i % 251);
  const row = { n: 1n, image: { bytes, path: "x.png" }, when: new Date(5), text: null };
  assertEquals(await functions.call("mirror", [row]), {
    ...row,
    image: { bytes: bytes.toReversed(), path: null },
    seen: [1n],
  });
  assertEquals(await functions.call("batch_double", [{ n: [1, 2] }]), { n: [1, 1, 2, 2] });
});

Deno.test("an unsupported result or argument is an error, and the module stays usable", async () => {
  await using modules = await TempModules.write({
    "odd.js": `export const odd = (kind) => ({
        map: () => new Map(), fn: () => () => 1, proxy: () => new Proxy({}, {}), fine: () => "fine",
        cycle: () => { const a = []; a.push(a); return a; },
      })[kind]();
      export const slow = () => new Promise(() => {});`,
  });
  await using functions = await SandboxedFunctions.start(modules.path("odd.js"));
  for (const kind of ["map", "fn", "proxy", "cycle"]) {
    await assertRejects(() => functions.call("odd", [kind]), SandboxCallError);
  }
  const late = await assertRejects(
    () => functions.call("slow", [], { timeoutMs: 200 }),
    SandboxCallError,
  );
  assertEquals(late.timedOut, true);
  assertEquals(await functions.call("odd", ["fine"]), "fine");
  await assertRejects(() => functions.call("odd", [() => 1]), TypeError, "plain data");
  await assertRejects(() => functions.call("none", []), TypeError, "exports odd,slow");
});
