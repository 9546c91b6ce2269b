import { assertEquals, assertThrows } from "@std/assert";
import { expandTemplate } from "../../../src/ops/webgpu/runtime/template.ts";

const expand = (template: string, conditions: Record<string, boolean> = {}): string =>
  expandTemplate(template, { vectors: 4, conditions });

Deno.test("a line with # is repeated for every vector, and SUM adds a term over them", () => {
  assertEquals(expand("let q# = a[#];\nb;").split("\n"), [
    ...[0, 1, 2, 3].map((d) => `let q${d} = a[${d}];`),
    "b;",
  ]);
  assertEquals(
    expand("let s = SUM[dot(q#, k#)];"),
    "let s = dot(q0, k0) + dot(q1, k1) + dot(q2, k2) + dot(q3, k3);",
  );
});

Deno.test("#if keeps the lines of the branch that holds, nested too", () => {
  const template = "#if a\n1\n#if !b\n2\n#else\n3\n#end\n#else\n4\n#end\n5";
  assertEquals(expand(template, { a: true, b: true }), "1\n3\n5");
  assertEquals(expand(template, { a: true, b: false }), "1\n2\n5");
  assertEquals(expand(template, { a: false, b: false }), "4\n5");
});

Deno.test("#for repeats lines for each value, #pairs for each vector with its partner", () => {
  assertEquals(expand("#for w of 0 1\nx$w;\ny$w#;\n#end").split("\n"), [
    ...["x0;", "y00;", "y01;", "y02;", "y03;"],
    ...["x1;", "y10;", "y11;", "y12;", "y13;"],
  ]);
  assertEquals(expand("#pairs\na# = b##;\nc##;\n#end").split("\n"), [
    ...["a0 = b2;", "c2;"],
    ...["a1 = b3;", "c3;"],
  ]);
});

Deno.test("a block without its end and an unknown condition are refused", () => {
  assertThrows(() => expand("#if a\nx", { a: true }), Error, 'no #end for "#if a"');
  assertThrows(() => expand("#if a\nx\n#end"), Error, 'no condition "a"');
});
