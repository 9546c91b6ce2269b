import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { RunFileError } from "../../../src/report/files/run_file_error.ts";
import {
  tensorBoardTag,
  TensorBoardWriter,
} from "../../../src/report/tensorboard/tensorboard_writer.ts";
import { fillDisk, onSmallDisk, whyNoDisk } from "../files/small_disk.ts";
import { inTemporaryFolder } from "../temporary_folder.ts";

/** The first Python here that has the real TensorBoard (`pip install tensorboard==2.21.0`). */
async function findTensorBoard(): Promise<string | null> {
  for (const python of ["python3", "python"]) {
    try {
      const { success } = await new Deno.Command(python, {
        args: ["-c", "import tensorboard.backend.event_processing.event_accumulator"],
        stdout: "null",
        stderr: "null",
      }).output();
      if (success) return python;
    } catch {
      // No Python of that name.
    }
  }
  return null;
}

const python = await findTensorBoard();

const READ_EVENTS = `
import json, sys
from tensorboard.backend.event_processing import event_accumulator as ea
events = ea.EventAccumulator(sys.argv[1], size_guidance={ea.SCALARS: 0, ea.TENSORS: 0})
events.Reload()
tags = events.Tags()
print(json.dumps({
  "version": events.file_version if hasattr(events, "file_version") else None,
  "scalars": {t: [[e.step, e.value, e.wall_time] for e in events.Scalars(t)] for t in tags["scalars"]},
  "texts": {t: [x.decode() for e in events.Tensors(t) for x in e.tensor_proto.string_val]
            for t in tags["tensors"]},
  "plugins": {t: events.SummaryMetadata(t).plugin_data.plugin_name for t in tags["tensors"]},
}))
`;

interface ReadEvents {
  scalars: Record<string, [number, number, number][]>;
  texts: Record<string, string[]>;
  plugins: Record<string, string>;
}

async function readEvents(dir: string): Promise<ReadEvents> {
  const { success, stdout, stderr } = await new Deno.Command(python ?? "", {
    args: ["-c", READ_EVENTS, dir],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

Deno.test("tensorBoardTag() names metrics as Transformers does", () => {
  assertEquals(tensorBoardTag("loss"), "train/loss");
  assertEquals(tensorBoardTag("eval_loss"), "eval/loss");
  assertEquals(tensorBoardTag("rewards/a/mean"), "train/rewards/a/mean");
});

Deno.test("TensorBoardWriter names its files so that they sort by time, and never overwrites one", async () => {
  await inTemporaryFolder((dir) => {
    const paths = [1000, 1500, 2_000_000_000_000].map((now) => {
      const writer = new TensorBoardWriter(dir, undefined, () => now);
      writer.close();
      return writer.path.slice(dir.length + 1);
    });
    for (const path of paths) assertMatch(path, /^events\.out\.tfevents\.\d{10}\.nanovlm\.\d{3}$/);
    assertEquals(new Set(paths).size, 3);
    assertEquals(paths.toSorted(), paths);
  });
});

Deno.test({
  name: `the real TensorBoard reads scalars and texts${
    python === null ? " (skipped: no Python with tensorboard here)" : ""
  }`,
  ignore: python === null,
  fn: async () => {
    await inTemporaryFolder(async (dir) => {
      const writer = new TensorBoardWriter(dir, undefined, () => 1_700_000_000_250);
      const config = "```yaml\ntitle: é日本\n" + "long: x\n".repeat(100) + "```";
      writer.writeText("config", config);
      for (const step of [0, 1, 127, 128, 300, 70_000, 2 ** 33]) {
        writer.write({ step, loss: step + 0.5, eval_loss: -1e-9, bad: null, words: "no number" });
      }
      writer.write({ step: 2 ** 33 + 1, words: "nothing to draw" });
      writer.close();
      const events = await readEvents(dir);
      assertEquals(Object.keys(events.scalars).toSorted(), ["eval/loss", "train/loss"]);
      assertEquals(
        events.scalars["train/loss"],
        [0, 1, 127, 128, 300, 70_000, 2 ** 33].map((
          step,
        ) => [step, Math.fround(step + 0.5), 1_700_000_000.25]),
      );
      assertEquals(events.scalars["eval/loss"][0][1], Math.fround(-1e-9));
      assertEquals(events.texts, { config: [config] });
      assertEquals(events.plugins, { config: "text" });
    });
  },
});

Deno.test({
  name: `the real TensorBoard forgets what a resumed run does again${
    python === null ? " (skipped: no Python with tensorboard here)" : ""
  }`,
  ignore: python === null,
  fn: async () => {
    await inTemporaryFolder(async (dir) => {
      let now = 1_700_000_000_000;
      const first = new TensorBoardWriter(dir, undefined, () => now++);
      for (let step = 1; step <= 6; step++) first.write({ step, loss: 100 });
      // A kill can leave half a record at the end.
      first.close();
      Deno.writeFileSync(first.path, new Uint8Array([40, 0, 0, 0, 0, 0]), { append: true });
      const second = new TensorBoardWriter(dir, 4, () => now++);
      for (let step = 5; step <= 8; step++) second.write({ step, loss: 200 });
      second.close();
      const { scalars } = await readEvents(dir);
      assertEquals(scalars["train/loss"].map(([step, value]) => [step, value]), [
        [1, 100],
        [2, 100],
        [3, 100],
        [4, 100],
        [5, 200],
        [6, 200],
        [7, 200],
        [8, 200],
      ]);
    });
  },
});

Deno.test({
  name: `TensorBoardWriter says so when the disk is full${
    whyNoDisk === null ? "" : ` (skipped: ${whyNoDisk})`
  }`,
  ignore: whyNoDisk !== null,
  fn: async () => {
    await onSmallDisk((dir) => {
      const writer = new TensorBoardWriter(`${dir}/runs`);
      fillDisk(dir);
      assertThrows(
        () => {
          for (let step = 1; step < 1000; step++) writer.write({ step, loss: 1, grad_norm: 2 });
        },
        RunFileError,
        "disk is full",
      );
      writer.close();
    });
  },
});
