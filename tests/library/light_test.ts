/** The sources load a part of tfjs: it must have all that they used before, and nothing more. */
import { assert, assertEquals } from "@std/assert";

const root = new URL("../../", import.meta.url);

/** Runs a module of this project in a process of its own; returns what it prints as JSON. */
async function run(code: string): Promise<unknown> {
  const file = await Deno.makeTempFile({
    dir: new URL("tests/library/", root).pathname,
    suffix: ".ts",
  });
  try {
    await Deno.writeTextFile(file, code);
    const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--quiet", file],
      cwd: root,
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    return JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!);
  } finally {
    await Deno.remove(file);
  }
}

/** Kernels with a gradient, chained ops, and backends of the engine. */
const LIST = `
const kernels = Object.values(core).filter((value) => typeof value === "string");
const gradients = [...new Set(kernels)].filter((name) => core.getGradient(name) !== undefined);
const ops = Object.getOwnPropertyNames(core.Tensor.prototype);
console.log(JSON.stringify({
  gradients: gradients.sort(), ops: ops.sort(), cpu: core.findBackend("cpu") !== null,
}));`;

interface Listed {
  readonly gradients: readonly string[];
  readonly ops: readonly string[];
  readonly cpu: boolean;
}

Deno.test("src/tfjs.ts has every gradient and chained op that npm:@tensorflow/tfjs has", async () => {
  const ours = await run(`import * as core from "../../src/tfjs.ts";${LIST}`) as Listed;
  const whole = await run(`import * as core from "@tensorflow/tfjs";${LIST}`) as Listed;
  assert(ours.gradients.length > 80, `${ours.gradients.length} gradients`);
  assertEquals(ours, whole);
});

Deno.test("who imports npm:@tensorflow/tfjs beside the sources has the same engine and tensors", async () => {
  const same = await run(`
import * as whole from "@tensorflow/tfjs";
import * as ours from "../../src/tfjs.ts";
await ours.setBackend("cpu");
const gradient = whole.grad((x) => ours.sum(x.mul(x)))(ours.tensor1d([1, 2]));
console.log(JSON.stringify([
  whole.engine() === ours.engine(), ours.tensor1d([1]) instanceof whole.Tensor,
  [...gradient.dataSync()],
]));`);
  assertEquals(same, [true, true, [2, 4]]);
});

Deno.test("the sources import neither the rest of tfjs nor what tests alone use", async () => {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "mod.ts"],
    cwd: root,
  }).output();
  const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as {
    modules: {
      specifier: string;
      dependencies?: { specifier: string; code?: { specifier?: string } }[];
    }[];
  };
  const heavy =
    /npm:\/?(@tensorflow\/tfjs(-layers|-data|-converter|-backend-webgl)?@|playwright|axe|openai)/;
  const found = modules.flatMap(({ specifier, dependencies = [] }) =>
    dependencies.filter(({ code }) => heavy.test(code?.specifier ?? ""))
      .map((dependency) => `${specifier} imports ${dependency.specifier}`)
  );
  assertEquals(found, []);
  assert(modules.some(({ specifier }) => specifier.endsWith("/src/tfjs.ts")));
});
