/** Model folders that cannot be used: exit code 1, what and where, and nothing is written. */
import { assertEquals } from "@std/assert";
import { assertFails, CommandLine, pathsBelow, tinyTraining } from "./command_line.ts";

/** A model of 4 numbers in a folder: every fault below is found before they would matter. */
const TENSORS = {
  a: { dtype: "F32", shape: [2], data_offsets: [0, 8] },
  b: { dtype: "F32", shape: [2], data_offsets: [8, 16] },
};

/** A safetensors file, however wrong. */
function forged(header: unknown, dataBytes: number, claimedLength?: bigint): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, claimedLength ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

/** The embedded model's own file, with bytes of it changed. */
type Change = (folder: string, weights: Uint8Array) => void | Promise<void>;

const write = (bytes: Uint8Array): Change => (folder) =>
  Deno.writeFile(`${folder}/model.safetensors`, bytes);

const faults: [name: string, change: Change, says: (string | RegExp)[]][] = [
  [
    "weights cut within their data",
    (folder, weights) => Deno.writeFile(`${folder}/model.safetensors`, weights.subarray(0, -400)),
    ["model.safetensors", "the file has only", "get the file again"],
  ],
  [
    "weights cut within their header",
    (folder, weights) => Deno.writeFile(`${folder}/model.safetensors`, weights.subarray(0, 900)),
    [/claim a header of \d+ bytes, but 892 follow/],
  ],
  ["weights of no bytes", write(new Uint8Array()), ["it has 0 bytes"]],
  ["a header of 2^60 bytes", write(forged(TENSORS, 16, 2n ** 60n)), [
    "claim a header of 1152921504606846976 bytes",
  ]],
  [
    "a tensor of 2^60 bytes",
    write(forged({ a: { dtype: "U8", shape: [2 ** 60], data_offsets: [0, 2 ** 60] } }, 16)),
    ["tensor a", "model.safetensors"],
  ],
  [
    "a tensor whose shape multiplies beyond any file",
    write(
      forged({ a: { dtype: "F32", shape: [2 ** 31, 2 ** 31, 2 ** 31], data_offsets: [0, 8] } }, 8),
    ),
    ["tensor a", "model.safetensors"],
  ],
  [
    "a tensor beyond the file's end",
    write(forged({ ...TENSORS, b: { ...TENSORS.b, data_offsets: [8, 4096], shape: [1022] } }, 16)),
    ["tensor b ends at byte 4096 of the data, but the file has only 16"],
  ],
  [
    "tensors that overlap",
    write(forged({ ...TENSORS, b: { ...TENSORS.b, data_offsets: [4, 12] } }, 12)),
    ["overlaps tensor a"],
  ],
  ["weights of another model", write(forged(TENSORS, 16)), ["Cannot load the weights in"]],
  [
    "shapes that do not match the config",
    async (folder) => {
      const config = JSON.parse(await Deno.readTextFile(`${folder}/config.json`));
      await Deno.writeTextFile(
        `${folder}/config.json`,
        JSON.stringify({ ...config, lm_hidden_dim: 128 }),
      );
    },
    [/decoder\.\S+ is \[192,64\], the config wants \[192,128\] \(by lm_hidden_dim, lm_inter_dim\)/],
  ],
  ["no config.json", (folder) => Deno.remove(`${folder}/config.json`), ["it has no config.json"]],
  [
    "a config.json that is no JSON",
    (folder) => Deno.writeTextFile(`${folder}/config.json`, "{nope"),
    ["config.json", "JSON at position 1"],
  ],
  ["no weights", (folder) => Deno.remove(`${folder}/model.safetensors`), [
    "neither model.safetensors nor model.safetensors.index.json",
  ]],
  [
    "a tokenizer with no vocabulary",
    (folder) => Deno.writeTextFile(`${folder}/tokenizer.json`, "{}"),
    ["tokenizer.json", 'it has no "model.vocab"'],
  ],
];

Deno.test("a model that cannot be used exits with 1, says what is wrong with which file, and writes nothing", async (t) => {
  const root = await Deno.makeTempDir({ prefix: "model faults " });
  const good = `${root}/good`, output = `${root}/out`;
  try {
    await using cli = new CommandLine();
    const made = await cli.run(
      tinyTraining(`${root}/made`, ["training.max_steps=1", `save.save_model_path=${good}`]),
    );
    assertEquals(made.code, 0, made.stderr);
    const weights = await Deno.readFile(`${good}/model.safetensors`);
    for (const [i, [name, change, says]] of faults.entries()) {
      await t.step(name, async () => {
        const folder = `${root}/model-${i}`;
        await Deno.mkdir(folder);
        for (const { name } of Deno.readDirSync(good)) {
          await Deno.copyFile(`${good}/${name}`, `${folder}/${name}`);
        }
        await change(folder, weights);
        const outcome = await cli.run(tinyTraining(output, [`model.model_name_or_path=${folder}`]));
        assertFails(outcome, 1, folder, ...says);
      });
    }
    await t.step("a folder that is not there", async () => {
      const outcome = await cli.run(tinyTraining(output, [`model.model_name_or_path=${root}/no`]));
      assertFails(outcome, 2, `${root}/no: there is no such folder`);
    });
    await t.step("adapters for layers that are not there", async () => {
      const settings = ["model.use_lora=true", "model.lora_config.target_modules=[o_proj]"];
      const outcome = await cli.run(tinyTraining(output, settings));
      assertFails(outcome, 1, "o_proj matches nothing", "out_proj");
    });
    assertEquals(pathsBelow(output), []);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
