import { assert, assertEquals, assertRejects } from "@std/assert";
import { readSafetensors, writeSafetensors } from "../../../src/model/safetensors/safetensors.ts";
import { RandomStream } from "../../../src/random.ts";
import { recoverFolder, SaveError, writeFolderAtomically } from "../../../src/atomic_write.ts";
import {
  checkpointProblem,
  listCheckpoints,
  newestCheckpoint,
  prepareOutputFolder,
  rotateCheckpoints,
  writeCheckpoint,
} from "../../../src/train/checkpoint/checkpoint_folder.ts";

const root = await Deno.makeTempDir();
const mounts: string[] = [];
globalThis.addEventListener("unload", () => {
  for (const path of mounts) new Deno.Command("umount", { args: [path] }).outputSync();
  Deno.removeSync(root, { recursive: true });
});

const names = (folder: string): string[] => [...Deno.readDirSync(folder)].map((e) => e.name).sort();
const writeState = (text: string) => async (folder: string): Promise<void> => {
  await Deno.writeTextFile(`${folder}/trainer_state.json`, text);
};

/** A small file system of its own, or null if this user may not mount one. */
function smallDisk(name: string, options: string): string | null {
  const path = `${root}/${name}`;
  Deno.mkdirSync(path);
  try {
    const { success } = new Deno.Command("mount", {
      args: ["-t", "tmpfs", "-o", options, "tmpfs", path],
    }).outputSync();
    if (!success) return null;
  } catch {
    return null;
  }
  mounts.push(path);
  return path;
}
const disk = smallDisk("disk", "size=1m");
const readOnlyDisk = smallDisk("read-only", "size=1m");
if (readOnlyDisk !== null) {
  Deno.mkdirSync(`${readOnlyDisk}/run`);
  new Deno.Command("mount", { args: ["-o", "remount,ro", readOnlyDisk] }).outputSync();
}
const needsMount = disk === null ? " (skipped: this user may not mount a tmpfs)" : "";

/** Checks that a folder holds one generation and returns its number. */
async function generation(folder: string): Promise<number> {
  const { step }: { step: number } = JSON.parse(
    await Deno.readTextFile(`${folder}/sub/state.json`),
  );
  for (const name of ["weights", "optimizer"]) {
    const tensors = await readSafetensors(`${folder}/${name}.safetensors`);
    const data = tensors.get("x")?.data ?? [];
    assertEquals(data.length, 60_000);
    for (const x of data) if (Number(x) !== step) throw new Error(`${x} in generation ${step}`);
  }
  return step;
}

Deno.test("writeCheckpoint() killed at random moments always leaves the newest one whole", async () => {
  const outputDir = `${root}/killed`;
  const random = new RandomStream(11, "moments to kill");
  let newest = 0;
  let modelGeneration = 0;
  let midway = 0;
  // A busy machine needs more rounds, and longer ones, before something is saved at all.
  const isShown = () => newest > 0 && modelGeneration > 0 && midway > 0;
  for (let round = 0; round < 24 || (!isShown() && round < 100); round++) {
    const longestMs = isShown() ? 60 : 60 + 20 * round;
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--no-check",
        "--quiet",
        new URL("./saving_child.ts", import.meta.url).pathname,
        outputDir,
      ],
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const reader = child.stdout.getReader();
    await reader.read();
    await new Promise((resolve) => setTimeout(resolve, random.nextInt(longestMs)));
    child.kill("SIGKILL");
    await child.status;
    await reader.cancel();
    if (names(outputDir).some((name) => name.startsWith("."))) midway++;

    const checkpoint = await newestCheckpoint(outputDir, (text) => {
      throw new Error(text);
    });
    if (checkpoint !== null) {
      assertEquals(await generation(checkpoint.path), checkpoint.step);
      assert(checkpoint.step >= newest);
      newest = checkpoint.step;
    }
    await recoverFolder(`${outputDir}/model`);
    if (modelGeneration > 0 || names(outputDir).includes("model")) {
      const now = await generation(`${outputDir}/model`);
      assert(now >= modelGeneration);
      modelGeneration = now;
    }
  }
  assert(newest > 0 && modelGeneration > 0, "no round saved anything");
  assert(midway > 0, "no round was killed in the middle of a save");
  await prepareOutputFolder(outputDir);
  assertEquals(names(outputDir).filter((name) => name.startsWith(".")), []);
});

Deno.test({
  name: `writeCheckpoint() on a full disk says so and keeps what is there${needsMount}`,
  ignore: disk === null,
  async fn() {
    const outputDir = `${disk}/run`;
    await writeCheckpoint(outputDir, 1, writeState("one"));
    const big = (folder: string): Promise<number> =>
      writeSafetensors(`${folder}/w.safetensors`, [
        { name: "w", shape: [500_000], data: new Float32Array(500_000) },
      ]);
    for (const step of [2, 1]) {
      const error = await assertRejects(
        () => writeCheckpoint(outputDir, step, async (folder) => void await big(folder)),
        SaveError,
      );
      assert(error.message.includes(`${outputDir}/checkpoint-${step}: no space is left`));
      assertEquals(names(outputDir), ["checkpoint-1"]);
      assertEquals((await newestCheckpoint(outputDir))?.step, 1);
    }
    const error = await assertRejects(() => big(outputDir), SaveError, "no space is left");
    assert(error.message.includes(`${outputDir}/w.safetensors`));
    assertEquals(names(outputDir), ["checkpoint-1"]);
  },
});

Deno.test({
  name: `prepareOutputFolder() tells a read-only file system before anything runs${needsMount}`,
  ignore: readOnlyDisk === null,
  async fn() {
    for (const folder of [`${readOnlyDisk}/run`, `${readOnlyDisk}/new/run`]) {
      await assertRejects(() => prepareOutputFolder(folder), SaveError, "read-only");
    }
  },
});

Deno.test("writeFolderAtomically() names a file that is in the way, and a refused permission", async () => {
  await Deno.writeTextFile(`${root}/file`, "");
  await assertRejects(
    () => writeFolderAtomically(`${root}/file/out`, () => {}),
    SaveError,
    "a file, not a folder",
  );
  const code = `import { prepareOutputFolder } from ${
    JSON.stringify(
      new URL("../../../src/train/checkpoint/checkpoint_folder.ts", import.meta.url).href,
    )
  };
await prepareOutputFolder("${root}/forbidden").catch((e) => console.log(e.name, e.message));`;
  const script = `${root}/forbidden.ts`;
  await Deno.writeTextFile(script, code);
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--no-prompt", "--allow-read", "--quiet", script],
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert(text.startsWith("SaveError Cannot save"), text);
  assert(text.includes("--allow-write="), text);
});

Deno.test("writeFolderAtomically() keeps the old folder if writing the new one fails", async () => {
  const target = `${root}/kept`;
  await writeFolderAtomically(target, writeState("old"));
  await assertRejects(
    () =>
      writeFolderAtomically(target, async (folder) => {
        await writeState("new")(folder);
        throw new RangeError("half way");
      }),
    RangeError,
    "half way",
  );
  assertEquals(await Deno.readTextFile(`${target}/trainer_state.json`), "old");
  await writeFolderAtomically(`${target}/`, (folder) => Deno.writeTextFile(`${folder}/b`, "new"));
  assertEquals(names(target), ["b"]);
  await writeFolderAtomically(target, writeState("newer"), { existing: "update" });
  assertEquals(names(target), ["b", "trainer_state.json"]);
  assertEquals(names(root).filter((name) => name.startsWith(".")), []);
});

Deno.test("recoverFolder() restores the old folder if a kill came between the renames", async () => {
  const parent = `${root}/between`;
  await Deno.mkdir(`${parent}/.model.old-01234567`, { recursive: true });
  await Deno.mkdir(`${parent}/.model.tmp-01234567`);
  await Deno.writeTextFile(`${parent}/.model.old-01234567/a`, "old");
  await recoverFolder(`${parent}/model`);
  assertEquals(names(parent), ["model"]);
  assertEquals(await Deno.readTextFile(`${parent}/model/a`), "old");
});

Deno.test("newestCheckpoint() skips torn, cut and half-listed checkpoints", async () => {
  const outputDir = `${root}/torn`;
  for (const step of [5, 10, 20, 100, 200]) {
    await writeCheckpoint(outputDir, step, writeState(`step ${step}`));
  }
  assertEquals((await listCheckpoints(outputDir)).map(({ step }) => step), [5, 10, 20, 100, 200]);
  await Deno.writeTextFile(`${outputDir}/checkpoint-200/trainer_state.json`, "STEP 200");
  await Deno.writeTextFile(`${outputDir}/checkpoint-100/trainer_state.json`, "step");
  await Deno.remove(`${outputDir}/checkpoint-20/trainer_state.json`);
  await Deno.writeTextFile(`${outputDir}/checkpoint-10/checkpoint_manifest.json`, "{");
  await Deno.mkdir(`${outputDir}/checkpoint-300`);
  await Deno.mkdir(`${outputDir}/checkpoint-best`);
  const problems: string[] = [];
  const newest = await newestCheckpoint(outputDir, (text) => problems.push(text));
  assertEquals(newest?.step, 5);
  assertEquals(problems.length, 5);
  for (const what of ["those that were written", "has 4 bytes", "is missing", "damaged", "nor"]) {
    assert(problems.some((text) => text.includes(what)), what);
  }
  // Python's checkpoints have no manifest.
  await Deno.writeTextFile(`${outputDir}/checkpoint-300/trainer_state.json`, "{}");
  assertEquals((await newestCheckpoint(outputDir))?.step, 300);
  assertEquals(await checkpointProblem(`${outputDir}/checkpoint-5`), null);
  assertEquals(await newestCheckpoint(`${root}/nowhere`), null);
});

Deno.test("rotateCheckpoints() keeps the best and the last whatever the limit", async () => {
  const outputDir = `${root}/rotated`;
  for (const step of [1, 2, 3, 4, 5]) await writeCheckpoint(outputDir, step, writeState("x"));
  const steps = async (): Promise<number[]> =>
    (await listCheckpoints(outputDir)).map(({ step }) => step);
  assertEquals(await rotateCheckpoints(outputDir, null), []);
  await rotateCheckpoints(outputDir, 3, `${outputDir}/checkpoint-1`);
  assertEquals(await steps(), [1, 4, 5]);
  const removed = await rotateCheckpoints(outputDir, 1, `${outputDir}/checkpoint-1/`);
  assertEquals(removed, [`${outputDir}/checkpoint-4`]);
  assertEquals(await steps(), [1, 5]);
  await rotateCheckpoints(outputDir, 1);
  assertEquals(await steps(), [5]);
  assertEquals(names(outputDir), ["checkpoint-5"]);
});
