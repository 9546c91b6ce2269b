/**
 * `deno task test [--group NAME]… [PATH]… [flags of deno test]`: runs the paths, or the groups of
 * `groups.ts`, by default all of them. Each group has a process of its own. Flags with a value are
 * written `--filter=text`.
 *
 * @module
 */
import { groupTests, readTestSources, TEST_GROUPS, type TestGroup } from "./groups.ts";

/** How each group is run. Its tests have the types checked by `deno check`. */
const FLAGS: Record<TestGroup, readonly string[]> = {
  quick: [
    ...["--allow-read", "--allow-write", "--allow-env", "--allow-sys", "--allow-ffi"],
    ...["--deny-run", "--deny-net", "--no-prompt", "--parallel", "--preload=tests/no_adapter.ts"],
  ],
  // One file after the other: a software adapter takes all cores anyway.
  gpu: ["--allow-all"],
  slow: ["--allow-all", "--parallel"],
};

/**
 * Vulkan alone on Linux: libEGL frees a thread's state twice if the thread ends while the process
 * exits, and test files run in threads (docs/runs/exit_crash.md).
 */
function environment(): Record<string, string> {
  const isChosen = Deno.env.has("DENO_WEBGPU_BACKEND");
  return Deno.build.os === "linux" && !isChosen ? { DENO_WEBGPU_BACKEND: "vulkan" } : {};
}

/** Runs `deno test` and returns its exit code. */
async function denoTest(args: readonly string[]): Promise<number> {
  const { code, signal } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "--no-check", ...args],
    cwd: new URL("../", import.meta.url),
    env: environment(),
    stdin: "null",
  }).spawn().status;
  if (signal !== null) console.error(`deno test was ended by ${signal}`);
  return code;
}

function takeGroups(args: readonly string[]): { groups: TestGroup[]; rest: string[] } {
  const groups: TestGroup[] = [], rest: string[] = [];
  for (let i = 0; i < args.length; i++) {
    if (args[i] !== "--group") {
      rest.push(args[i]);
      continue;
    }
    const name = args[++i];
    const group = TEST_GROUPS.find((known) => known === name);
    if (group === undefined) {
      console.error(`Cannot run test group "${name}": expected ${TEST_GROUPS.join(", ")}`);
      Deno.exit(2);
    }
    groups.push(group);
  }
  return { groups, rest };
}

const { groups, rest } = takeGroups(Deno.args);
const paths = rest.filter((arg) => !arg.startsWith("-"));
if (groups.length === 0 && paths.length > 0) Deno.exit(await denoTest(["--allow-all", ...rest]));

const groupOf = groupTests(await readTestSources());
let worst = 0;
for (const group of groups.length > 0 ? groups : TEST_GROUPS) {
  const files = [...groupOf].filter(([, its]) => its === group).map(([path]) => path);
  console.error(`== ${group}: ${files.length} files`);
  worst = Math.max(worst, await denoTest([...FLAGS[group], ...rest, ...files]));
}
Deno.exit(worst);
