/** A missing permission is named as such, with the flag to add. */
import { assertEquals, assertStringIncludes } from "@std/assert";

const entry = new URL("../../mod.ts", import.meta.url).pathname;

async function run(flags: readonly string[], ...args: string[]) {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "--no-prompt", ...flags, entry, ...args],
    stdin: "null",
  }).output();
  return { code, err: new TextDecoder().decode(stderr) };
}

Deno.test("a command that lacks a permission names the flag to add", async (t) => {
  const root = await Deno.makeTempDir();
  const config = `${root}/config.yaml`;
  await Deno.writeTextFile(
    config,
    "model: { model_name_or_path: initialize }\ndataset: { train_data_path: builtin:shapes }\n",
  );
  const train = ["train", "sft", `--config=${config}`, `--output-dir=${root}/out`];
  try {
    for (
      const [missing, given] of [
        ["--allow-read", []],
        ["--allow-env", ["--allow-read"]],
        ["--allow-net", ["--allow-read", "--allow-env", "--allow-sys", "--allow-ffi"]],
      ] as const
    ) {
      await t.step(missing, async () => {
        const { code, err } = await run(given, ...train, "--backend=cpu");
        assertEquals(code, 1, err);
        assertStringIncludes(err, `a permission is missing: add ${missing} to the command`);
        assertEquals(err.includes("not YAML"), false, err);
      });
    }
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
