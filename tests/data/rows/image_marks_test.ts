import { assertEquals } from "@std/assert";
import { countImageMarks, withoutImageMarks } from "../../../src/data/rows/image_marks.ts";

const texts: [string, string, number][] = [
  ["<image>What?", "What?", 1],
  ["<image>\nWhat?", "What?", 1],
  ["What?\n<image>", "What?", 1],
  ["<image><image>Same?", "Same?", 2],
  ["<image> <image>\nSame?", "Same?", 2],
  ["a<image>b", "a b", 1],
  ["a <image> b", "a b", 1],
  ["a\n<image> b", "a\nb", 1],
  ["a\n\n<image>\n\nb", "a\n\nb", 1],
  ["Compare this\n<image>\nwith\n<image>\nnow.", "Compare this\nwith\nnow.", 2],
  ["no mark", "no mark", 0],
  ["<IMAGE> and <image 1> are other texts", "<IMAGE> and <image 1> are other texts", 0],
  ["<image>", "", 1],
];
for (const [text, without, count] of texts) {
  Deno.test(`withoutImageMarks(${JSON.stringify(text)})`, () => {
    assertEquals(withoutImageMarks(text), without);
    assertEquals(countImageMarks(text), count);
  });
}
