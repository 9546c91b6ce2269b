import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DataError, RowSkipped } from "../../../src/data/data_error.ts";
import { hubDataFiles } from "../../../src/data/sources/hub_files.ts";
import { localDataFiles } from "../../../src/data/sources/open_source.ts";
import { loadDataset } from "../../../src/data/load_dataset.ts";
import { declaredSplits } from "../../../src/hub/dataset_config.ts";
import { HubClient } from "../../../src/hub/hub_client.ts";
import { HubError } from "../../../src/hub/hub_error.ts";
import { globToRegExp } from "../../../src/hub/glob.ts";
import { type FakeHub, type FakeRepo, startFakeHub } from "../../hub/fake_hub.ts";
import { RED_PIXEL, writeVqaParquet } from "./parquet_fixture.ts";

async function withDataset(
  repo: FakeRepo,
  run: (hub: FakeHub, load: (split?: string) => ReturnType<typeof loadVqa>) => Promise<void>,
): Promise<void> {
  const cacheDir = await Deno.makeTempDir();
  const hub = startFakeHub({ datasets: { "org/data": repo } });
  const settings = { endpoint: hub.endpoint, token: null, cacheDir, offline: false };
  const client = new HubClient(settings);
  try {
    await run(hub, (split) => loadVqa(client, split));
  } finally {
    await hub.close();
    await Deno.remove(cacheDir, { recursive: true });
  }
}

function loadVqa(client: HubClient, split?: string) {
  return loadDataset({
    path: "org/data",
    split,
    format: "vqa",
    resolveFiles: (id) => hubDataFiles(id, { client }),
  });
}

function parquet(rows: number, prefix: string): Uint8Array {
  const path = Deno.makeTempFileSync();
  try {
    writeVqaParquet(path, rows, 1000, prefix);
    return Deno.readFileSync(path);
  } finally {
    Deno.removeSync(path);
  }
}

const line = JSON.stringify({ texts: [{ user: "q", assistant: "a" }], image: "pictures/a.png" });

Deno.test("a data set of the Hub loads by file names, downloading the wanted split alone", () =>
  withDataset({
    "README.md": "# no head",
    "data/train-00000-of-00002.parquet": parquet(20, "a"),
    "data/train-00001-of-00002.parquet": parquet(10, "b"),
    "data/test-00000-of-00001.parquet": parquet(5, "c"),
  }, async (hub, load) => {
    const dataset = await load("train[-1:]");
    assertEquals(dataset.length, 1);
    assertEquals((await dataset.get(0)).turns[0].user, "b 9?");
    assertEquals(hub.requests.some((r) => r.path.includes("test-")), false);
    const before = hub.requests.filter((r) => r.at === "storage").length;
    assertEquals((await load()).length, 30);
    assertEquals(hub.requests.filter((r) => r.at === "storage").length, before);
    await assertRejects(() => load("validation"), DataError, "it has train, test");
  }));

Deno.test("a README's configs decide if there are any", () =>
  withDataset({
    "README.md": [
      "---",
      "license: mit",
      "configs:",
      "- config_name: default",
      "  data_files:",
      "  - split: train",
      "    path: shards/part-*.jsonl",
      "  - split: extra",
      "    path: [more.jsonl]",
      "---",
      "# Data",
    ].join("\n"),
    "shards/part-0.jsonl": `${line}\n${line}\n`,
    "shards/part-1.jsonl": `${line}\n`,
    "more.jsonl": `${line}\n`,
    "train.jsonl": `${line}\n`.repeat(9),
  }, async (_hub, load) => {
    assertEquals((await load("train")).length, 3);
    assertEquals((await load("extra")).length, 1);
  }));

Deno.test("images given as paths come from the repository, and from nowhere else", () =>
  withDataset({
    "train.jsonl": [
      line,
      line.replace("pictures/a.png", "../../secret"),
      line.replace("pictures/a.png", "/etc/hostname"),
      line.replace("pictures/a.png", "gone.png"),
    ].join("\n"),
    "pictures/a.png": RED_PIXEL,
  }, async (_hub, load) => {
    const dataset = await load();
    assertEquals((await dataset.get(0)).images[0].bytes, RED_PIXEL);
    await assertRejects(() => dataset.get(1), RowSkipped, "is outside the data set");
    await assertRejects(() => dataset.get(2), RowSkipped, "is outside the data set");
    await assertRejects(() => dataset.get(3), RowSkipped, "has no such file");
  }));

Deno.test("a data set with nothing to read names what it has; an absent one says local too", () =>
  withDataset({ "loader.py": "x", "images.tar": "x" }, async (hub, load) => {
    await assertRejects(() => load(), DataError, "but images.tar, loader.py");
    const settings = { endpoint: hub.endpoint, token: null, cacheDir: "none", offline: false };
    const client = new HubClient(settings);
    await assertRejects(
      () =>
        loadDataset({
          path: "org/none",
          format: "vqa",
          resolveFiles: (id) => hubDataFiles(id, { client }),
        }),
      HubError,
      "Cannot load the data org/none: there is no such file or folder here, and as a data set of",
    );
  }));

Deno.test("declaredSplits() reads strings, lists and maps, and refuses to guess a config", () => {
  const paths = ["a/x.parquet", "a/y.parquet", "b/z.parquet"];
  const read = (yaml: string) => {
    const splits = declaredSplits(`---\n${yaml}\n---\n`, paths, "org/data");
    return splits === null ? null : Object.fromEntries(splits);
  };
  assertEquals(read("license: mit"), null);
  assertEquals(read("configs:\n- data_files: '**/*.parquet'"), { train: paths });
  assertEquals(read("configs:\n- data_files: ['a/*', b/z.parquet]"), { train: paths });
  assertEquals(read("configs:\n- data_dir: a\n  data_files:\n    test: '{x,q}.parquet'"), {
    test: ["a/x.parquet"],
  });
  const two = (extra: string) =>
    `configs:\n- config_name: one\n  data_files: a/x*\n- config_name: two\n  data_files: b/*${extra}`;
  assertThrows(() => read(two("")), HubError, "one, two and no default");
  assertEquals(read(two("\n  default: true")), { train: ["b/z.parquet"] });
  assertThrows(() => read("configs:\n- data_files: c/*"), HubError, "it has no such files");
  const named = (name: string) =>
    declaredSplits(`---\n${two("")}\n---\n`, paths, "org/data", [name]);
  assertEquals(named("two"), new Map([["train", ["b/z.parquet"]]]));
  assertThrows(() => named("three"), HubError, '"three" of org/data: it has one, two');
});

Deno.test("several configurations of a data set are named alone, as a list, or all", () => {
  const readme = `---
configs:
- config_name: charts
  data_files: charts/*.jsonl
- config_name: docs
  data_files: docs/*.jsonl
---
`;
  const rows = (name: string, count: number) =>
    Array.from({ length: count }, (_, i) => JSON.stringify({ question: name + i, answer: "a" }))
      .join("\n");
  const repo = {
    "README.md": readme,
    "charts/x.jsonl": rows("chart", 2),
    "docs/x.jsonl": rows("doc", 3),
  };
  return withDataset(repo, async (hub, load) => {
    await assertRejects(() => load(), HubError, "it has the configurations charts, docs");
    const cacheDir = await Deno.makeTempDir();
    const client = new HubClient({ endpoint: hub.endpoint, token: null, cacheDir, offline: false });
    const questions = async (...configs: string[]) => {
      const dataset = await loadDataset({
        path: "org/data",
        format: "vqa",
        configs,
        resolveFiles: (id, configs) => hubDataFiles(id, { client, configs }),
      });
      return await Array.fromAsync(dataset, ({ turns }) => turns[0].user);
    };
    const [charts, docs] = [["chart0", "chart1"], ["doc0", "doc1", "doc2"]];
    try {
      assertEquals(await questions("docs"), docs);
      assertEquals(await questions("docs", "charts"), [...docs, ...charts]);
      assertEquals(await questions("all"), [...charts, ...docs]);
      await assertRejects(() => questions("doc"), HubError, 'configuration "doc" of org/data');
    } finally {
      await Deno.remove(cacheDir, { recursive: true });
    }
  });
});

Deno.test("a configuration without a README is the folder of its name, on the Hub and in a copy", () =>
  withDataset({
    "Full/test-00000-of-00001.parquet": parquet(2, "full"),
    "Lite/test-00000-of-00001.parquet": parquet(1, "lite"),
  }, async (hub) => {
    const folder = await Deno.makeTempDir();
    const settings = {
      endpoint: hub.endpoint,
      token: null,
      cacheDir: `${folder}/c`,
      offline: false,
    };
    const { splits } = await hubDataFiles("org/data", {
      client: new HubClient(settings),
      configs: ["Lite"],
    });
    assertEquals(splits.get("test"), ["Lite/test-00000-of-00001.parquet"]);
    try {
      await Deno.mkdir(`${folder}/Full`);
      writeVqaParquet(`${folder}/Full/test-00000-of-00001.parquet`, 1);
      writeVqaParquet(`${folder}/test.parquet`, 1);
      const local = await localDataFiles(folder, { configs: ["Full"] });
      assertEquals(local.splits.get("test"), [`${folder}/Full/test-00000-of-00001.parquet`]);
      const other = await localDataFiles(`${folder}/Full`, { configs: ["Full"], orWhole: true });
      assertEquals(other.splits.get("test"), local.splits.get("test"));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }));

Deno.test("globToRegExp() keeps * within a folder and takes dots as they are", () => {
  assertEquals(globToRegExp("data/train-*").test("data/train-0.parquet"), true);
  assertEquals(globToRegExp("data/*").test("data/a/b"), false);
  assertEquals(globToRegExp("**/b").test("b"), true);
  assertEquals(globToRegExp("*.json").test("ajson"), false);
  assertEquals(globToRegExp("a[0-9]?.x").test("a1b.x"), true);
});
