import { assertEquals } from "@std/assert";
import { batch_one_question_a_row } from "../../../examples/one_question_a_row.ts";

Deno.test("batch_one_question_a_row() repeats a row's other columns for each of its questions", () => {
  const rows = batch_one_question_a_row({
    image: ["A", "B"],
    texts: [
      [{ user: "one?", assistant: "1" }, { user: "two?", assistant: "2" }],
      [{ user: "three?", assistant: "3" }],
    ],
  });
  assertEquals(rows, {
    image: ["A", "A", "B"],
    prompt: ["one?", "two?", "three?"],
    question: ["one?", "two?", "three?"],
    answer: ["1", "2", "3"],
  });
});
