/**
 * `runs`.
 *
 * @module
 */
import { RunsServer } from "../src/serve/runs_server.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { listenOnLoopback } from "./listen.ts";
import { UsageError } from "./usage_error.ts";

const options: readonly OptionSpec[] = [
  {
    name: "port",
    kind: "integer",
    min: 0,
    max: 65535,
    value: "N",
    summary: "the port (8001); 0 takes a free one",
  },
];

/** The command. */
export const command: Command = {
  name: "runs",
  summary: "show the runs below a folder, any two beside each other",
  usage: "DIR [options]",
  options,
  onInterrupt: "closing the page",
  async run(args, { signal }) {
    const parsed = parseOptions(args, options, ["DIR"]);
    const [folder] = parsed.positionals;
    if (!await Deno.stat(folder).then(({ isDirectory }) => isDirectory, () => false)) {
      throw new UsageError(`there is no folder ${folder}; give the one that holds your runs`);
    }
    const runs = new RunsServer(folder);
    await using listening = listenOnLoopback(
      parsed.number("port") ?? 8001,
      (request) => runs.handle(request),
    );
    console.error(`runs in ${folder}: ${listening.url}`);
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    return 130;
  },
};
