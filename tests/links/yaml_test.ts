// These hold for jsr:@std/yaml too: the suite must pass with `links` pointed at the real package.
import { assertEquals, assertThrows } from "@std/assert";
import { parse, stringify } from "@std/yaml";

Deno.test("parse() reads YAML 1.2 scalars, and 5e-5 as a number", () => {
  assertEquals(parse("a: 5e-5\nb: null\nc: no\nd: [1, two]\ne: true"), {
    a: 5e-5,
    b: null,
    c: "no",
    d: [1, "two"],
    e: true,
  });
});

Deno.test("parse() throws a SyntaxError for text that is no YAML", () => {
  assertThrows(() => parse("a: [1"), SyntaxError);
});

Deno.test("stringify() writes what parse() reads back", () => {
  const value = {
    number: 1e-8,
    whole: 3,
    text: "5e-5",
    word: "no",
    truth: "true",
    long: "x ".repeat(100),
    lines: "a\nb\n",
    list: [],
    none: null,
    odd: "# : {",
  };
  assertEquals(parse(stringify(value)), value);
});
