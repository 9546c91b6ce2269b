import { assertEquals, assertStringIncludes } from "@std/assert";
import { TempModules } from "./temp_modules.ts";

const root = new URL("../../", import.meta.url);

/** A program that scores with a built-in reward and its own reward, with the library at `library`. */
function program(library: string, folder: string): string {
  return `import { RewardSandbox } from ${JSON.stringify(library)};
    await using sandbox = await RewardSandbox.start(
      [{ module: "builtin:reward_functions" }, { module: "own.ts" }],
      { base: ${JSON.stringify(folder)} },
    );
    const { rewards } = await sandbox.score({
      prompts: ["?"], completions: ["<think>x</think><answer>B</answer>"], columns: { answer: ["B"] },
    });
    console.log(JSON.stringify(rewards));`;
}

const OWN = {
  "own.ts":
    `import { five } from "./five.ts"; export const own = ({ completions }: { completions: string[] }) => completions.map(() => five);`,
  "five.ts": "export const five: number = 5;",
};
const RIGHT = "[[1,1,5]]\n";

async function outcome(
  args: string[],
  options: { cwd?: string; prefix?: string[]; env?: Record<string, string> } = {},
): Promise<string> {
  const [command, ...rest] = [...options.prefix ?? [], Deno.execPath(), ...args];
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args: rest,
    cwd: options.cwd,
    env: { NO_COLOR: "1", ...options.env },
  }).output();
  const text = new TextDecoder();
  return success ? text.decode(stdout) : text.decode(stderr);
}

/** Copies the files of the sandbox. */
async function copyLibrary(to: string): Promise<void> {
  for (
    const folder of [
      "src",
      "src/rewards",
      "src/rewards/child",
      "src/rewards/environment",
      "src/rewards/graph",
      "src/rewards/host",
      "src/config",
      "reward_functions",
      "reward_functions/shared",
      "src/evaluate/metrics",
    ]
  ) {
    await Deno.mkdir(`${to}/${folder}`, { recursive: true });
    for (const entry of Deno.readDirSync(new URL(`${folder}/`, root))) {
      if (!entry.isFile) continue;
      await Deno.copyFile(
        new URL(`${folder}/${entry.name}`, root),
        `${to}/${folder}/${entry.name}`,
      );
    }
  }
}

Deno.test("the sandbox works if the library is loaded over http, with no file of it on disk", async () => {
  await using temp = await TempModules.write(OWN);
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    async (request) => {
      try {
        const path = new URL(request.url).pathname.slice(1);
        return new Response(await Deno.readFile(new URL(path, root)), {
          headers: { "content-type": "text/typescript" },
        });
      } catch {
        return new Response("none", { status: 404 });
      }
    },
  );
  const origin = `http://127.0.0.1:${server.addr.port}`;
  const main = temp.path("main.ts");
  await Deno.writeTextFile(main, program(`${origin}/src/rewards/mod.ts`, temp.folder));
  // An earlier run may have used the same port: its modules in the cache of Deno are not this library.
  const args = ["run", "-A", "--no-lock", "--no-config", `--reload=${origin}`, main];
  const got = await outcome(args, { cwd: temp.folder });
  await server.shutdown();
  assertEquals(got, RIGHT);
});

Deno.test("the sandbox works in a folder with spaces and odd letters", async () => {
  await using temp = await TempModules.write(OWN);
  const folder = temp.path("my lab #1 50% é");
  await copyLibrary(folder);
  await Deno.writeTextFile(`${folder}/own.ts`, OWN["own.ts"]);
  await Deno.writeTextFile(`${folder}/five.ts`, OWN["five.ts"]);
  await Deno.writeTextFile(`${folder}/main.ts`, program("./src/rewards/mod.ts", folder));
  const args = ["run", "-A", "--no-lock", "--no-config", "main.ts"];
  assertEquals(await outcome(args, { cwd: folder }), RIGHT);
});

Deno.test({
  name: "the sandbox works as an ordinary user, from a read-only checkout that another user owns",
  ignore: Deno.build.os !== "linux" || Deno.uid() !== 0,
  async fn() {
    await using temp = await TempModules.write(OWN);
    await copyLibrary(temp.folder);
    await Deno.writeTextFile(temp.path("main.ts"), program("./src/rewards/mod.ts", temp.folder));
    await new Deno.Command("chmod", { args: ["-R", "a+rX,a-w", temp.folder] }).output();
    await Deno.mkdir(temp.path("cache"));
    await Deno.chmod(temp.path("cache"), 0o777);
    const asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    const got = await outcome(["run", "-A", "--no-lock", "--no-config", "main.ts"], {
      cwd: temp.folder,
      prefix: asNobody,
      env: { DENO_DIR: temp.path("cache"), HOME: "/nonexistent" },
    });
    assertEquals(got, RIGHT);
  },
});

const SYSTEMS = {
  "has no kernel walls": { unshare: null, setpriv: null, prlimit: null, perl: null },
  "forbids the kernel walls": {
    unshare: "/bin/false",
    setpriv: "/bin/false",
    prlimit: "/bin/false",
    perl: "/bin/false",
  },
  "no longer has a kernel wall": { unshare: "/nonexistent/unshare", setpriv: null, prlimit: null },
};
for (const [what, walls] of Object.entries(SYSTEMS)) {
  Deno.test(`the sandbox works on a system that ${what}`, async () => {
    await using temp = await TempModules.write(OWN);
    const library = new URL("src/rewards/", root).href;
    await Deno.writeTextFile(
      temp.path("main.ts"),
      `import { assumeSystemWalls } from "${library}host/system_walls.ts";
       assumeSystemWalls(${JSON.stringify(walls)});
       ${program(`${library}mod.ts`, temp.folder)}`,
    );
    const args = ["run", "-A", "--no-lock", "--no-config", temp.path("main.ts")];
    assertEquals(await outcome(args), RIGHT);
  });
}

Deno.test("a host without --allow-run gets a clear error", async () => {
  await using temp = await TempModules.write(OWN);
  const library = new URL("src/rewards/mod.ts", root).href;
  await Deno.writeTextFile(temp.path("main.ts"), program(library, temp.folder));
  const args = ["run", "--allow-read", "--no-prompt", "--no-lock", "--no-config"];
  assertStringIncludes(await outcome([...args, temp.path("main.ts")]), "run with --allow-run");
});

Deno.test("the permissions of the reward task suffice", async () => {
  await using temp = await TempModules.write(OWN);
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  const flags = (tasks.reward as string).split(" ").filter((part) => part.startsWith("--allow"));
  const library = new URL("src/rewards/mod.ts", root).href;
  await Deno.writeTextFile(temp.path("main.ts"), program(library, temp.folder));
  const args = ["run", ...flags, "--no-prompt", "--no-lock", "--no-config", temp.path("main.ts")];
  assertEquals(await outcome(args), RIGHT);
});
