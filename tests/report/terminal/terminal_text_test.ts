import { assertEquals } from "@std/assert";
import {
  displayWidth,
  printable,
  truncateToWidth,
  wrapToWidth,
} from "../../../src/report/terminal/terminal_text.ts";

Deno.test("printable() removes everything that could control the terminal", () => {
  assertEquals(printable("\x1b[31mred\x1b[0m\x1b]0;title\x07\x08\u009b2J"), "red");
  assertEquals(printable("a\r\nb\nc\td"), "a↵b↵c d");
  assertEquals(printable("abc\u202edcba\u2066\u200f"), "abcdcba");
  assertEquals(printable("👨‍👩‍👧 é 日本"), "👨‍👩‍👧 é 日本");
});

Deno.test("displayWidth() counts wide characters as two columns and combining marks as none", () => {
  assertEquals(displayWidth("abc"), 3);
  assertEquals(displayWidth("日本"), 4);
  assertEquals(displayWidth("👨‍👩‍👧"), 2);
  assertEquals(displayWidth("e\u0301"), 1);
});

Deno.test("truncateToWidth() never splits a character nor exceeds the width", () => {
  assertEquals(truncateToWidth("hello", 5), "hello");
  assertEquals(truncateToWidth("hello", 4), "hel…");
  assertEquals(truncateToWidth("日本語", 4), "日…");
  assertEquals(truncateToWidth("👨‍👩‍👧👨‍👩‍👧", 3), "👨‍👩‍👧…");
  for (let width = 1; width < 12; width++) {
    const cut = truncateToWidth("a日e\u0301👨‍👩‍👧bc日", width);
    assertEquals(displayWidth(cut) <= width, true, `${width}: ${cut}`);
  }
});

Deno.test("wrapToWidth() breaks between words if possible, and ends in an ellipsis", () => {
  assertEquals(wrapToWidth("the quick brown fox", 10, 5), ["the quick", "brown fox"]);
  assertEquals(wrapToWidth("the quick brown fox", 10, 1), ["the quick…"]);
  assertEquals(wrapToWidth("abcdefghij", 4, 3), ["abcd", "efgh", "ij"]);
  assertEquals(wrapToWidth("日本語日本語", 4, 3), ["日本", "語日", "本語"]);
  assertEquals(wrapToWidth("", 4, 3), [""]);
});
