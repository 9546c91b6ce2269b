import { assert, assertEquals } from "@std/assert";
import { COMMANDS } from "../../tasks/commands.ts";

const root = new URL("../../", import.meta.url);

/** The flags of each command in the README's table. */
async function documentedFlags(): Promise<Map<string, string>> {
  const page = await Deno.readTextFile(new URL("README.md", root));
  const flags = new Map<string, string>();
  for (const [, names, cell] of page.matchAll(/^\| (`[\w`, ]+`) +\| `((?:--?[\w-]+ ?)+)`/gm)) {
    for (const [, name] of names.matchAll(/`(\w+)`/g)) flags.set(name, cell.trim());
  }
  return flags;
}

Deno.test("the README has the permissions of every command's task, as deno.json grants them", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root))) as {
    tasks: Record<string, string>;
  };
  const flags = await documentedFlags();
  for (const name of COMMANDS.keys()) {
    const granted = /^deno run (.*) mod\.ts /.exec(tasks[name] ?? "")?.[1];
    assert(granted !== undefined, `deno.json has no task ${name}`);
    assertEquals(flags.get(name), granted, name);
  }
});
