import { assertEquals } from "@std/assert";
import { splitsOfFiles } from "../../../src/data/splits/split_files.ts";

function splits(...paths: string[]): Record<string, string[]> {
  return Object.fromEntries(splitsOfFiles(paths));
}

Deno.test("splitsOfFiles() finds shards in data/, whatever the split is called", () => {
  assertEquals(
    splits(
      "data/train-00001-of-00002.parquet",
      "data/train-00000-of-00002.parquet",
      "data/hard_ones-00000-of-00001.parquet",
      "README.md",
    ),
    {
      train: ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
      hard_ones: ["data/hard_ones-00000-of-00001.parquet"],
    },
  );
});

Deno.test("splitsOfFiles() finds shards with hashes after their numbers", () => {
  assertEquals(splits("data/train-00000-of-00001-1a2b3c.parquet"), {
    train: ["data/train-00000-of-00001-1a2b3c.parquet"],
  });
});

Deno.test("splitsOfFiles() finds splits by the names of files, aliases included", () => {
  assertEquals(splits("test.jsonl", "train.jsonl", "valid.jsonl"), {
    train: ["train.jsonl"],
    validation: ["valid.jsonl"],
    test: ["test.jsonl"],
  });
  assertEquals(splits("my-train_v2.csv", "dev.csv", "evaluation.csv"), {
    train: ["my-train_v2.csv"],
    validation: ["dev.csv"],
    test: ["evaluation.csv"],
  });
  assertEquals(splits("train-00000-of-00001.parquet"), {
    train: ["train-00000-of-00001.parquet"],
  });
});

Deno.test("splitsOfFiles() finds splits by folder before it looks at file names", () => {
  assertEquals(splits("train/a.jsonl", "train/test_like.jsonl", "test/a.jsonl"), {
    train: ["train/a.jsonl", "train/test_like.jsonl"],
    test: ["test/a.jsonl"],
  });
});

Deno.test("splitsOfFiles() takes everything for train if no name says otherwise", () => {
  assertEquals(splits("b.parquet", "a.parquet", "retrained.parquet"), {
    train: ["a.parquet", "b.parquet", "retrained.parquet"],
  });
});

Deno.test("splitsOfFiles() leaves out hidden files and metadata", () => {
  assertEquals(
    splits(".cache/train.jsonl", "__pycache__/x.json", "dataset_info.json", "train.jsonl"),
    { train: ["train.jsonl"] },
  );
});

Deno.test("splitsOfFiles() takes parquet alone if the same rows are there as JSON too", () => {
  assertEquals(splits("train.parquet", "train.jsonl"), { train: ["train.parquet"] });
});
