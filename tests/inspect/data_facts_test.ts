import { assertEquals, assertRejects } from "@std/assert";
import { DataError } from "../../src/data/data_error.ts";
import { chooseSplits, dataFacts, recogniseFormat } from "../../src/inspect/data_facts.ts";
import { RED_PIXEL } from "../data/sources/parquet_fixture.ts";

Deno.test("recogniseFormat() knows the three formats, and usual names of other columns", () => {
  assertEquals(recogniseFormat(["prompt", "chosen", "rejected"])?.format, "preference");
  assertEquals(recogniseFormat(["image", "texts"]), { format: "vqa", renames: {} });
  assertEquals(recogniseFormat(["prompt", "solution"])?.format, "grpo");
  assertEquals(recogniseFormat(["Problem", "label"]), {
    format: "vqa",
    renames: { Problem: "question", label: "answer" },
  });
  assertEquals(recogniseFormat(["picture", "size"]), null);
});

Deno.test("chooseSplits() trains on train and evaluates on another split, if there is one", () => {
  const of = (...splits: [string, string[]][]) => chooseSplits({ splits: new Map(splits) });
  assertEquals(of(["train", ["a"]], ["test", ["b"]], ["validation", ["c"]]), {
    train: "train",
    evaluation: "validation",
  });
  // A file answers to every split.
  assertEquals(of(["train", ["a"]], ["test", ["a"]]), { train: "train", evaluation: null });
  assertEquals(of(["all", ["a"]]), { train: "all", evaluation: null });
});

Deno.test("dataFacts() counts rows, questions, pictures, sizes and lengths", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeFile(`${folder}/red.png`, RED_PIXEL);
    const rows = [
      {
        image: "red.png",
        texts: [
          { user: "Colour?", assistant: "red" },
          { user: "Why is it so?", assistant: "it was drawn in that colour" },
        ],
      },
      { image: "red.png", texts: [{ user: "Colour?", assistant: "red" }] },
    ];
    const file = `${folder}/rows.jsonl`;
    await Deno.writeTextFile(file, rows.map((row) => JSON.stringify(row) + "\n").join(""));
    const facts = await dataFacts(file);
    assertEquals([facts.format, facts.train, facts.evaluation], ["vqa", "train", null]);
    assertEquals([facts.rows, facts.examples, facts.rowsWithPictures], [2, 3, 2]);
    assertEquals([facts.mostPictures, facts.pictureSide, facts.answerWords], [1, 1, 1]);
    assertEquals(facts.longestTokens > 10, true);
    assertEquals(facts.example.question, "Colour?");
    await Deno.writeTextFile(file, '{"a": 1, "b": 2}\n');
    await assertRejects(() => dataFacts(file), DataError, "its columns are a, b");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
