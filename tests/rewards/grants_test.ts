import { assertEquals, assertStringIncludes } from "@std/assert";
import { RewardSandbox, type SandboxGrants } from "../../src/rewards/mod.ts";
import { batchOf, TempModules } from "./temp_modules.ts";

const MODULE = `
export async function reads({ path }) { return [Number(await Deno.readTextFile(path[0]))]; }
export async function reaches({ url }) { return [Number(await (await fetch(url[0])).text())]; }
export function sees({ name }) { return [Number(Deno.env.get(name[0]))]; }
export async function besides({ path }) {
  return [Number(await Deno.readTextFile(new URL("./own.txt", import.meta.url)))];
}
`;

async function outcome(
  grants: SandboxGrants,
): Promise<{ errors: Record<string, string | null>; total: number | null; refused: string[] }> {
  await using modules = await TempModules.write({
    "module.js": MODULE,
    "data/number.txt": "3",
    "own.txt": "11",
  });
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    () => new Response("5"),
  );
  Deno.env.set("NANOVLM_NUMBER", "7");
  try {
    const replace = (text: string): string =>
      text.replace("HOST", `127.0.0.1:${server.addr.port}`).replace("FOLDER", modules.folder);
    const filled = structuredClone(grants);
    for (const list of [filled.allowNet, filled.allowRead]) {
      if (Array.isArray(list)) list.forEach((item, i) => list[i] = replace(item));
    }
    await using sandbox = await RewardSandbox.start([
      { module: modules.path("module.js"), ...filled },
    ], { log: () => {} });
    const { functions, total } = await sandbox.score(batchOf(["x"], {
      path: [modules.path("data/number.txt")],
      url: [`http://127.0.0.1:${server.addr.port}/`],
      name: ["NANOVLM_NUMBER"],
    }));
    const errors = Object.fromEntries(functions.map(({ name, error }) => [name, error]));
    return { errors, total: total[0], refused: functions.flatMap(({ refused }) => refused) };
  } finally {
    Deno.env.delete("NANOVLM_NUMBER");
    await server.shutdown();
  }
}

Deno.test("without grants every attempt is refused in words that name the grant", async () => {
  const { total, refused } = await outcome({});
  assertEquals(total, null);
  assertStringIncludes(refused[0], "tried to read ");
  assertStringIncludes(refused[0], "number.txt: not granted; add `allow_read` if it must");
  assertStringIncludes(refused[1], "tried to reach http://127.0.0.1");
  assertStringIncludes(refused[1], "allow_net");
  assertStringIncludes(refused[2], "environment variable NANOVLM_NUMBER");
  assertStringIncludes(refused[2], "allow_env");
});

Deno.test("each grant allows only what it names", async () => {
  const read = await outcome({ allowRead: ["FOLDER/data"] });
  assertEquals(read.errors.reads, null);
  assertEquals(read.total, 3);
  const net = await outcome({ allowNet: ["HOST"] });
  assertEquals(net.errors.reaches, null);
  assertEquals(net.total, 5);
  const env = await outcome({ allowEnv: ["NANOVLM_NUMBER"] });
  assertEquals(env.errors.sees, null);
  assertEquals(env.total, 7);
});

Deno.test("a module that may read its own folder gets its URL from import.meta.url", async () => {
  assertEquals((await outcome({ allowRead: ["FOLDER"] })).total, 3 + 11);
});
