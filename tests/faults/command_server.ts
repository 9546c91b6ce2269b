/**
 * Runs command lines one after another in one process, as `mod.ts` would each in its own: loading
 * everything once saves seconds a case. A line of JSON on stdin is a command line; after each, a
 * marker with the exit code goes to both outputs.
 *
 * @module
 */
import { main } from "../../tasks/main.ts";

/** Ends a command's output; the exit code follows. */
export const END_MARKER = "\u0004exit ";

async function* lines(): AsyncGenerator<string> {
  let text = "";
  for await (const chunk of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const parts = (text + chunk).split("\n");
    text = parts.pop() ?? "";
    yield* parts;
  }
}

if (import.meta.main) {
  for await (const line of lines()) {
    const { args, env } = JSON.parse(line) as { args: string[]; env: Record<string, string> };
    const before = Object.entries(env).map(([name, value]): [string, string | undefined] => {
      const old = Deno.env.get(name);
      Deno.env.set(name, value);
      return [name, old];
    });
    const code = await main(args);
    for (const [name, old] of before) {
      if (old === undefined) Deno.env.delete(name);
      else Deno.env.set(name, old);
    }
    const end = new TextEncoder().encode(`${END_MARKER}${code}\n`);
    Deno.stdout.writeSync(end);
    Deno.stderr.writeSync(end);
  }
}
