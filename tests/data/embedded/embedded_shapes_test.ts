import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { decode } from "imagescript";
import { blindBaseline } from "../../../src/data/embedded/blind_baseline.ts";
import {
  embeddedShapes,
  type ShapePicture,
  shapesGrpoRows,
  shapesPreferenceRows,
  shapesVqaRows,
} from "../../../src/data/embedded/embedded_shapes.ts";
import { encodePng } from "../../../src/data/embedded/embedded_shapes_png.ts";
import {
  everyAnswer,
  everyQuestion,
} from "../../../src/data/embedded/embedded_shapes_questions.ts";

const { train, test } = embeddedShapes({ trainPictures: 1500, testPictures: 300 });
const questionsOf = (pictures: ShapePicture[]) => pictures.flatMap(({ questions }) => questions);

Deno.test("embeddedShapes() shows no held-out picture in training", () => {
  const seen = new Set(train.map(({ image }) => image.data.join()));
  assertEquals(test.filter(({ image }) => seen.has(image.data.join())), []);
});

Deno.test("embeddedShapes() draws the same held-out pictures whatever the size of training", () => {
  const other = embeddedShapes({ trainPictures: 3, testPictures: 300 });
  assertEquals(other.test, test);
  assertEquals(other.train, train.slice(0, 3));
  assertNotEquals(
    embeddedShapes({ trainPictures: 3, testPictures: 0, seed: 1 }).train,
    other.train,
  );
});

Deno.test("an answerer that never sees the picture stays under 40 percent", () => {
  const accuracy = blindBaseline(questionsOf(train), questionsOf(test));
  assert(accuracy < 0.32, `blind accuracy ${accuracy}`);
  for (const kind of ["shape", "color", "where", "count"]) {
    const some = questionsOf(test).filter((question) => question.kind === kind);
    const blind = blindBaseline(questionsOf(train), some);
    assert(blind < 0.4, `${kind}: blind accuracy ${blind}`);
  }
});

Deno.test("every answer follows from the scene, is one word, and is not among the wrong ones", () => {
  for (const { scene, questions } of train) {
    for (const { kind, question, answer, wrongAnswers } of questions) {
      assert(everyQuestion().includes(question), question);
      assert(everyAnswer().includes(answer), answer);
      assert(!wrongAnswers.includes(answer) && wrongAnswers.length > 0);
      if (kind === "count") assertEquals(answer, String(scene.shapes.length));
      if (kind === "where") assertEquals(answer, String(scene.place));
      if (kind === "shape") assert(scene.shapes.every(({ shape }) => shape === answer));
      if (kind === "color") assert(scene.shapes.every(({ color }) => color === answer));
      if (kind === "there") {
        const thing = question.replace(" shape", "").match(/a (\w+)\?/)?.[1] ?? "";
        const isThere = scene.shapes.some(({ shape, color }) => thing === shape || thing === color);
        assertEquals(answer, isThere ? "yes" : "no");
      }
    }
  }
});

Deno.test("every kind of answer is about as frequent as the others of its kind", () => {
  const counts = new Map<string, number>();
  for (const { kind, answer } of questionsOf(train)) {
    counts.set(`${kind} ${answer}`, (counts.get(`${kind} ${answer}`) ?? 0) + 1);
  }
  for (const kind of ["shape", "color", "where", "count", "there"]) {
    const some = [...counts].filter(([key]) => key.startsWith(kind)).map(([, count]) => count);
    assert(Math.max(...some) < 1.6 * Math.min(...some), `${kind}: ${some}`);
  }
});

Deno.test("rows have the columns of their format, with pictures as PNG", async () => {
  const some = train.slice(0, 5);
  const [vqa] = shapesVqaRows(some);
  assertEquals(Object.keys(vqa), ["images", "texts", "answer_type"]);
  assertEquals(shapesVqaRows(some, true).length, 15);
  const preferences = shapesPreferenceRows(some);
  assertEquals(preferences.length, 15);
  preferences.forEach((row, i) => {
    const question = questionsOf(some)[i];
    assertEquals([row.prompt, row.chosen], [question.question, question.answer]);
    assert(question.wrongAnswers.includes(String(row.rejected)));
  });
  assertEquals(shapesGrpoRows(some)[0].answer, some[0].questions[0].answer);

  const decoded = await decode(encodePng(some[0].image));
  assert("bitmap" in decoded);
  const { width, height, bitmap } = decoded;
  assertEquals([width, height], [32, 32]);
  const rgb = Uint8Array.from(some[0].image.data, (_, i) => bitmap[Math.floor(i / 3) * 4 + i % 3]);
  assertEquals(rgb, some[0].image.data);
});

Deno.test("blindBaseline() answers an unknown text with the most frequent answer of all", () => {
  const known = [
    { question: "a", answer: "x" },
    { question: "b", answer: "y" },
    { question: "c", answer: "y" },
  ];
  assertEquals(blindBaseline(known, [{ question: "d", answer: "y" }]), 1);
  assertEquals(blindBaseline(known, []), 0);
});

Deno.test("embeddedShapes() refuses a number of questions that it does not have", () => {
  assertThrows(() => embeddedShapes({ turns: 4 }), RangeError, "want 1, 2 or 3");
});
