/**
 * Saves for ever, until it is killed: checkpoints of rising steps, and one folder over and over.
 * Each file of a generation is full of its number.
 */
import { writeFolderAtomically } from "../../../src/atomic_write.ts";
import {
  newestCheckpoint,
  prepareOutputFolder,
  rotateCheckpoints,
  writeCheckpoint,
} from "../../../src/train/checkpoint/checkpoint_folder.ts";
import { writeSafetensors } from "../../../src/model/safetensors/safetensors.ts";

const outputDir = Deno.args[0];
await prepareOutputFolder(outputDir);
const first = (await newestCheckpoint(outputDir))?.step ?? 0;
console.log("ready");
for (let step = first + 1;; step++) {
  const write = async (folder: string): Promise<void> => {
    for (const name of ["weights", "optimizer"]) {
      await writeSafetensors(`${folder}/${name}.safetensors`, [
        { name: "x", shape: [60_000], data: new Float32Array(60_000).fill(step) },
      ]);
    }
    await Deno.mkdir(`${folder}/sub`);
    await Deno.writeTextFile(`${folder}/sub/state.json`, JSON.stringify({ step }));
  };
  await writeCheckpoint(outputDir, step, write);
  await rotateCheckpoints(outputDir, 2);
  await writeFolderAtomically(`${outputDir}/model`, write);
}
