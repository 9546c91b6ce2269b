import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { decode } from "imagescript";
import { RowSkipped } from "../../../src/data/data_error.ts";
import { blindBaseline } from "../../../src/data/embedded/blind_baseline.ts";
import { colorDistance } from "../../../src/data/embedded/drawing_colors.ts";
import { drawDrawing } from "../../../src/data/embedded/drawing_picture.ts";
import {
  type DrawingScene,
  type FreeShape,
  placeOf,
} from "../../../src/data/embedded/drawing_scene.ts";
import {
  type Drawing,
  drawingGrpoRows,
  drawingPreferenceRows,
  drawings,
  drawingsFolder,
  drawingVqaRows,
} from "../../../src/data/embedded/drawings.ts";
import {
  everyAnswer,
  everyQuestion,
} from "../../../src/data/embedded/embedded_shapes_questions.ts";
import { embeddedDataset } from "../../../src/data/embedded/embedded_dataset.ts";

const train = drawings("train", { trainPictures: 3000 });
const test = drawings("test");
const questionsOf = (some: readonly Drawing[]) => some.flatMap(({ questions }) => questions);
const keyOf = ({ shapes }: DrawingScene) =>
  JSON.stringify(shapes.map(({ centerX, centerY, radius }) => [centerX, centerY, radius]));

Deno.test("drawings() shows no held-out scene in training, and draws the same for the same seed", () => {
  const seen = new Set(train.map(({ scene }) => keyOf(scene)));
  assertEquals(seen.size, train.length);
  assertEquals(test.filter(({ scene }) => seen.has(keyOf(scene))), []);
  assertEquals(drawings("train", { trainPictures: 5 }), train.slice(0, 5));
  assertNotEquals(drawings("test", { testPictures: 5, seed: 1 }), test.slice(0, 5));
});

Deno.test("held-out shapes lie anywhere, have many sizes, stand out from grounds of all kinds, and do not touch", () => {
  const shapes = test.flatMap(({ scene }) => scene.shapes);
  const share = (of: (shape: typeof shapes[number]) => boolean) =>
    shapes.filter(of).length / shapes.length;
  assert(share(({ centerX, centerY }) => centerX < 0.5 && centerY < 0.5) > 0.15);
  assert(
    share(({ radius }) => radius < 0.13) > 0.15 && share(({ radius }) => radius > 0.25) > 0.04,
  );
  const grey = test.map(({ scene: { ground } }) => Math.max(...ground));
  assert(grey.filter((level) => level < 80).length > 60);
  assert(grey.filter((level) => level > 180).length > 60);
  for (const { scene } of test) {
    scene.shapes.forEach((one, i) => {
      assert(colorDistance(one.shade, scene.ground) > 80, JSON.stringify(one));
      assert(Math.min(one.centerX, one.centerY) > one.radius);
      assert(Math.max(one.centerX, one.centerY) < 1 - one.radius);
      for (const other of scene.shapes.slice(0, i)) {
        const apart = Math.hypot(one.centerX - other.centerX, one.centerY - other.centerY);
        assert(apart > 1.1 * (one.radius + other.radius));
      }
    });
  }
});

Deno.test("every answer about a drawing follows from its scene, and no question comes twice", () => {
  for (const { scene, questions } of [...train, ...test]) {
    assert(questions.length >= 1 && questions.length <= 5);
    assertEquals(new Set(questions.map(({ question }) => question)).size, questions.length);
    for (const { kind, question, answer, wrongAnswers } of questions) {
      assert(everyQuestion().includes(question) && everyAnswer().includes(answer));
      assert(!wrongAnswers.includes(answer) && wrongAnswers.length > 0);
      if (kind === "count") assertEquals(answer, String(scene.shapes.length));
      if (kind === "where") {
        const [{ centerX, centerY }, ...others] = scene.shapes;
        assertEquals([placeOf(centerX, centerY), others.length], [answer, 0]);
      }
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

Deno.test("answers about drawings are balanced: without the picture, few can be guessed", () => {
  const counts = new Map<string, number>();
  for (const { kind, answer } of questionsOf(train)) {
    counts.set(`${kind} ${answer}`, (counts.get(`${kind} ${answer}`) ?? 0) + 1);
  }
  for (const kind of ["shape", "color", "where", "count", "there"]) {
    const some = [...counts].filter(([key]) => key.startsWith(kind)).map(([, count]) => count);
    assert(Math.max(...some) < 1.6 * Math.min(...some), `${kind}: ${some}`);
  }
  const blind = blindBaseline(questionsOf(train), questionsOf(test));
  assert(blind < 0.36, `blind accuracy ${blind}`);
});

Deno.test("drawDrawing() covers the area of a shape, whether its edges are smooth or hard", () => {
  const [{ scene }] = test;
  const square: FreeShape = {
    ...scene.shapes[0],
    ...{ shape: "square", centerX: 0.5, centerY: 0.5, radius: 0.3, rotation: 0, aspect: 1 },
    ...{ shade: [255, 255, 255], border: null },
  };
  for (const smooth of [true, false]) {
    const { data, width } = drawDrawing({
      ...scene,
      ...{ shapes: [square], ground: [0, 0, 0], size: 80, smooth, light: [0, 0] },
      ...{ noise: 0, blurred: false },
    });
    assertEquals(width, 80);
    const area = data.reduce((sum, value) => sum + value, 0) / (3 * 255);
    const wanted = (2 * 0.86 * 0.3 * 80) ** 2;
    assert(Math.abs(area / wanted - 1) < (smooth ? 0.01 : 0.06), `${area}, wanted ${wanted}`);
    assertEquals([...data.slice(3 * (40 * 80 + 40), 3 * (40 * 80 + 40) + 3)], [255, 255, 255]);
  }
});

Deno.test("rows of drawings name pictures, which are drawn when they are read", async () => {
  const some = train.slice(0, 6);
  const rows = drawingVqaRows(some);
  assertEquals(rows.map(({ images }) => images), some.map((_, i) => [`${i}.png`]));
  assertEquals(drawingGrpoRows(some).length, questionsOf(some).length);
  drawingPreferenceRows(some).forEach(({ chosen, rejected, prompt }, i) => {
    const { question, answer, wrongAnswers } = questionsOf(some)[i];
    assertEquals([prompt, chosen], [question, answer]);
    assert(wrongAnswers.includes(String(rejected)));
  });
  const folder = drawingsFolder(some);
  const picture = await decode(await folder.read("3.png"));
  assertEquals(picture.width, some[3].scene.size);
  await assertRejects(() => folder.read("6.png"), RowSkipped, "no drawing 6.png");
});

Deno.test("builtin:drawings has texts without a picture being drawn, and pictures by example", async () => {
  const dataset = await embeddedDataset(
    "test",
    { format: "vqa", splitTurns: true, maxSamples: 4 },
    "builtin:drawings",
  );
  const texts = await Array.fromAsync(dataset.texts());
  const asked = questionsOf(test.slice(0, 4));
  assertEquals(texts.map(({ turns }) => turns[0].user), asked.map(({ question }) => question));
  const { images, turns, columns } = await dataset.get(1);
  assertEquals([images.length, turns[0].assistant], [1, asked[1].answer]);
  assertEquals(columns.answer_type, asked[1].kind);
});
