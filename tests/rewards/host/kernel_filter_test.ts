import { assert, assertEquals } from "@std/assert";
import { filterCommand, filterIsKnown } from "../../../src/rewards/host/kernel_filter.ts";
import { TempModules } from "../temp_modules.ts";

const PERL = "/usr/bin/perl";
const perl = filterIsKnown() && await Deno.stat(PERL).then(() => true, () => false);

/** What the kernel has, in the words of the filter's probe. */
async function probe(): Promise<string> {
  if (!perl) return "";
  const [program, ...args] = filterCommand(PERL, { read: [], network: false }, "probe");
  return new TextDecoder().decode((await new Deno.Command(program, { args }).output()).stdout);
}
const both = (await probe()) === "landlock seccomp";

/** Runs a program of Deno's with all of its permissions behind the filter; the lines it prints. */
async function behind(
  grants: { read: string[]; network: boolean },
  main: string,
): Promise<string[]> {
  const [program, ...args] = filterCommand(PERL, grants);
  const { stdout } = await new Deno.Command(program, {
    args: [...args, Deno.execPath(), "run", "-A", "--no-config", "--quiet", dataUrl(main)],
    clearEnv: true,
    env: { DENO_DIR: "/dev/null/none", NO_COLOR: "1" },
    cwd: "/",
  }).output();
  return new TextDecoder().decode(stdout).trim().split("\n");
}

const dataUrl = (text: string): string => `data:text/javascript,${encodeURIComponent(text)}`;

Deno.test({
  name: "the kernel's filter holds where Deno's permissions allow everything",
  ignore: !both, // this system has no Perl, no Landlock or no seccomp
  async fn() {
    await using temp = await TempModules.write({
      "data/five.txt": "12345",
      "secret.txt": "canary",
    });
    await Deno.symlink("../secret.txt", temp.path("data/link.txt"));
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    (async () => {
      for await (const connection of listener) connection.close();
    })().catch(() => {});
    const main = `const ways = {
      read: () => Deno.readTextFileSync(${JSON.stringify(temp.path("data/five.txt"))}),
      link: () => Deno.readTextFileSync(${JSON.stringify(temp.path("data/link.txt"))}),
      secret: () => Deno.readTextFileSync(${JSON.stringify(temp.path("secret.txt"))}),
      write: () => Deno.writeTextFileSync(${JSON.stringify(temp.path("new.txt"))}, "x"),
      remove: () => Deno.removeSync(${JSON.stringify(temp.path("secret.txt"))}),
      chmod: () => Deno.chmodSync(${JSON.stringify(temp.path("secret.txt"))}, 0),
      spawn: () => new Deno.Command("/bin/true").outputSync(),
      signal: () => Deno.kill(Deno.ppid, "SIGCONT"),
      listen: () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
      serve: () => new Promise((resolve, reject) => process.getBuiltinModule("node:net").createServer().on("error", reject).listen(0, resolve)),
      connect: () => Deno.connect({ hostname: "127.0.0.1", port: ${listener.addr.port} }),
    };
    for (const [name, way] of Object.entries(ways)) { try { await way(); console.log(name); } catch {} }
    Deno.exit(0);`;
    assertEquals(await behind({ read: [], network: false }, main), [""]);
    assertEquals(await behind({ read: [temp.path("data")], network: false }, main), ["read"]);
    assertEquals(await behind({ read: [], network: true }, main), ["connect"]);
    assert((await Deno.stat(temp.path("secret.txt"))).isFile);
  },
});
