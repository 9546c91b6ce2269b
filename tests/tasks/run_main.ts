/**
 * The command line with three further commands that fail, save and wait, for tests.
 *
 * @module
 */
import type { Command } from "../../tasks/command.ts";
import { COMMANDS } from "../../tasks/commands.ts";
import { main } from "../../tasks/main.ts";

const base = { summary: "", usage: "", options: [] };

const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

const commands: readonly Command[] = [
  {
    ...base,
    name: "fail",
    run: () => Promise.reject(new Error("on purpose", { cause: new Error("of a test") })),
  },
  {
    ...base,
    name: "save",
    onInterrupt: "saving a checkpoint",
    async run(_args, { signal }) {
      console.log("ready");
      while (!signal.aborted) await sleep(10);
      console.log("saving");
      await sleep(1000);
      console.log("saved");
      throw signal.reason;
    },
  },
  {
    ...base,
    name: "wait",
    async run() {
      console.log("ready");
      await sleep(60_000);
      return 0;
    },
  },
];

if (import.meta.main) {
  const known = COMMANDS as Map<string, { summary: string; load(): Promise<Command> }>;
  for (const command of commands) {
    // Only here: the list of commands is fixed for everybody else.
    if (["fail", "save", "wait"].includes(Deno.args[0])) {
      known.set(command.name, { summary: "", load: () => Promise.resolve(command) });
    }
  }
  Deno.exit(await main(Deno.args));
}
