/**
 * A fresh copy of the repository is walked through its README, command by command, with a data set
 * of 160 rows of the form that the README shows, and an empty HOME. Runs are cut to a few steps;
 * README_WALK=full takes the commands as they are.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { dirname } from "node:path";
import { encodePng } from "../../src/data/embedded/embedded_shapes_png.ts";
import { type ReadmeStep, readmeSteps } from "./readme_blocks.ts";

const root = new URL("../../", import.meta.url).pathname;
const ROWS = 160;
const isFull = Deno.env.get("README_WALK") === "full";

const COLOURS: readonly (readonly [name: string, rgb: readonly number[]])[] = [
  ["red", [220, 40, 40]],
  ["green", [40, 170, 70]],
  ["blue", [50, 90, 230]],
  ["yellow", [235, 210, 50]],
];

const colourOf = (i: number, others = 0) => COLOURS[(i * 7 + (i >> 2) + others) % COLOURS.length];

/** A disc of a colour on white, somewhere else in each picture. */
function drawDisc(i: number): Uint8Array {
  const [width, height] = [80, 60];
  const [x0, y0, radius] = [20 + (i * 13) % 40, 18 + (i * 11) % 24, 9 + i % 6];
  const data = new Uint8Array(3 * width * height).fill(250);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if ((x - x0) ** 2 + (y - y0) ** 2 > radius ** 2) continue;
      data.set(colourOf(i)[1], 3 * (y * width + x));
    }
  }
  return encodePng({ width, height, data });
}

/** Writes 160 rows of the form of the README's, with their pictures. */
async function writeRows(folder: string, { file, row }: ReadmeStep & { kind: "rows" }) {
  const path = `${folder}/${file}`;
  await Deno.mkdir(dirname(path), { recursive: true });
  const lines: string[] = [];
  for (let i = 1; i <= ROWS; i++) {
    const [right, wrong] = [colourOf(i)[0], colourOf(i, 1)[0]];
    const image = row.image.replace("1.png", `${i}.png`);
    assert(image !== row.image || i === 1, `${row.image} names no picture 1.png`);
    const named = row.image.includes("/") && file.includes("/") ? dirname(path) : folder;
    await Deno.mkdir(dirname(`${named}/${image}`), { recursive: true });
    await Deno.writeFile(`${named}/${image}`, drawDisc(i));
    const answers: Record<string, string> = { answer: right, chosen: right, rejected: wrong };
    lines.push(JSON.stringify({ ...row, image, ...pick(answers, Object.keys(row)) }));
  }
  await Deno.writeTextFile(path, lines.join("\n") + "\n");
}

function pick(values: Record<string, string>, keys: readonly string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(values).filter(([key]) => keys.includes(key)));
}

/** The tracked files of the working tree, in a folder of their own; null without git. */
async function freshCopy(): Promise<string | null> {
  const listed = await new Deno.Command("git", { args: ["ls-files", "-z"], cwd: root }).output()
    .catch(() => null);
  if (listed === null || !listed.success) return null;
  const folder = await Deno.makeTempDir({ prefix: "readme walk " });
  for (const name of new TextDecoder().decode(listed.stdout).split("\0")) {
    if (name === "" || name.startsWith("tests/")) continue;
    await Deno.mkdir(dirname(`${folder}/${name}`), { recursive: true });
    await Deno.copyFile(`${root}/${name}`, `${folder}/${name}`).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error; // removed, not yet committed
    });
  }
  return folder;
}

/** The steps of a run that is cut short, by its trainer. */
const CUT: Readonly<Record<string, number>> = { sft: 30, dpo: 6, grpo: 2 };

/** The arguments of the program for a command line of the README. */
function argumentsOf(words: readonly string[]): string[] {
  const own = words.slice(words.indexOf("deno") + 1);
  assertEquals(own[0], "task", `${words.join(" ")} is no task`);
  const cut = own[1] === "train" && !isFull ? ["--set", `training.max_steps=${CUT[own[2]]}`] : [];
  // The address of the page is not part of the walk; any free port serves.
  return [...own, ...cut, ...(own[1] === "serve" ? ["--port", "0"] : [])];
}

const git = await new Deno.Command("git", { args: ["rev-parse"], cwd: root }).output()
  .then(({ success }) => success, () => false);

Deno.test({
  name: "a newcomer walks through the README, with 160 rows of their own" +
    (git ? "" : " (skipped: no git checkout)"),
  ignore: !git,
  async fn(t) {
    const folder = (await freshCopy())!;
    const home = await Deno.makeTempDir();
    const info = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
    const { denoDir } = JSON.parse(new TextDecoder().decode(info.stdout));
    const env = {
      ...pick(Deno.env.toObject(), [
        "PATH",
        "XDG_RUNTIME_DIR",
        "VK_DRIVER_FILES",
        "NPM_CONFIG_REGISTRY",
      ]),
      HOME: home,
      DENO_DIR: denoDir,
      NO_COLOR: "1",
      HF_HUB_OFFLINE: "1",
    };
    const start = (args: string[]) =>
      new Deno.Command(Deno.execPath(), {
        args,
        cwd: folder,
        env,
        clearEnv: true,
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      });
    let commands = 0;
    try {
      for (const step of readmeSteps(await Deno.readTextFile(`${folder}/README.md`))) {
        if (step.kind === "rows") {
          await writeRows(folder, step);
          continue;
        }
        commands++;
        await t.step(step.line, async () => {
          const args = argumentsOf(step.words);
          if (args[1] === "serve") return await seePage(start(args));
          const { code, stdout, stderr } = await start(args).output();
          const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
          assertEquals(code, 0, `${step.line}\n${out}\n${err}`);
          assert(!/undefined|\[object|NaN/.test(out + err), out + err);
          await checkOutcome(folder, args, out, err);
        });
      }
      assert(commands >= 11, `the README has ${commands} commands`);
    } finally {
      await Deno.remove(folder, { recursive: true });
      await Deno.remove(home, { recursive: true });
    }
  },
});

/** What a command of the README has promised. */
async function checkOutcome(
  folder: string,
  args: readonly string[],
  out: string,
  err: string,
): Promise<void> {
  const [, command, what] = args;
  if (command === "init") {
    const file = /^wrote (\S+)$/m.exec(out)?.[1];
    const yaml = await Deno.readTextFile(`${folder}/${file}`);
    assertStringIncludes(yaml, `train_split: train # all ${ROWS} rows`);
    assert(!yaml.includes("train["), yaml);
    assertEquals(out.match(/^ {2}deno task /gm)?.length, 3);
  } else if (command === "train" && args.includes("--dry-run")) {
    assertStringIncludes(out, "data: 128 examples to train on, 32 held out, 0 skipped");
    assertMatch(out, /^run: \d+ steps of \d+ examples/m);
  } else if (command === "train") {
    const report = /^report: (\S+)$/m.exec(err)?.[1];
    assert(report !== undefined, err);
    assert((await Deno.stat(`${folder}/${report}`)).isFile);
    assert(err.split("\n").filter((line) => line.startsWith(`${what}: step `)).length >= 2, err);
    if (isFull && what === "sft") {
      const scores = [...err.matchAll(/^(never sees the picture|this model) .* ([\d.]+) %$/gm)];
      assert(Number(scores[1][2]) > Number(scores[0][2]), err);
    }
  } else if (command === "generate") {
    assert(out.trim() !== "", err);
    assertStringIncludes(err, "probability of this answer: ");
  }
}

/** The server names its page, and the page is there. */
async function seePage(command: Deno.Command): Promise<void> {
  await using child = command.spawn();
  let said = "";
  const pieces = child.stderr.pipeThrough(new TextDecoderStream());
  for await (const piece of pieces) {
    said += piece;
    const address = /http:\/\/127\.0\.0\.1:\d+\/\S*/.exec(said)?.[0];
    if (address === undefined || !said.endsWith("\n")) continue;
    const response = await fetch(address);
    assertEquals(response.status, 200, address);
    assertStringIncludes(await response.text(), "<html");
    break;
  }
  child.kill("SIGTERM");
  await child.stdout.cancel();
}
