import { assert, assertEquals } from "@std/assert";
import { cleanLine, cleanLines } from "../../../src/rewards/host/printed_text.ts";

Deno.test("cleanLine() removes what controls a terminal or hides text", () => {
  assertEquals(cleanLine("\x1b[31mred\x1b[0m\ttab"), "red tab");
  assertEquals(cleanLine("\x1b]0;title\x07x\x9b2Jy\x00\x08\x7f"), "xy");
  assertEquals(cleanLine("gp\u202en\u200b\u2066.\ufeffe\u2028xe\r"), "gpn.exe");
  assertEquals(cleanLine("ß 🙂 中"), "ß 🙂 中");
});

Deno.test("cleanLines() cuts long lines and many lines, and says so", () => {
  assertEquals(cleanLine("x".repeat(500)).length, 301);
  const lines = cleanLines(["a\nb\r\nc\rd", "", ...Array(30).fill("more")]);
  assertEquals(lines.slice(0, 4), ["a", "b", "c", "d"]);
  assertEquals(lines.length, 21);
  assert(lines[20].includes("more lines"));
});
