import { assert, assertEquals, assertMatch } from "@std/assert";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
/** A folder with MPICH: `bin/mpiexec.hydra` and `lib/libmpi.so.12`. */
const mpich = Deno.env.get("NANOVLM_TEST_MPICH") ?? "";

async function run(ranks: number, words: readonly string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await new Deno.Command(`${mpich}/bin/mpiexec.hydra`, {
    args: [
      ...["-n", String(ranks), Deno.execPath(), "run", "-A", "--no-check", "--quiet"],
      ...["tests/distributed/rank_program.ts", ...words],
    ],
    cwd: root,
    env: { NANOVLM_MPI: `${mpich}/lib/libmpi.so.12`, NANOVLM_THREADS: "1", NO_COLOR: "1", ...env },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

const missing = mpich === "" ? " [skipped: NANOVLM_TEST_MPICH names no folder]" : "";

Deno.test({
  name: `ranks sum, gather, exchange and broadcast over MPICH${missing}`,
  ignore: mpich === "",
  async fn() {
    const { code, stdout, stderr } = await run(3, []);
    assertEquals(code, 0, stderr);
    // The launcher may put the output of two ranks on one line.
    const lines = (stdout.match(/\{[^{}]*\}/g) ?? []).map((line) => JSON.parse(line));
    assertEquals(lines.map(({ rank }) => rank).sort(), [0, 1, 2]);
    for (const { rank, onHeap, integers, many, exchanged, large, gathered, told } of lines) {
      assertEquals(onHeap, new Array(5).fill(4.5));
      assertEquals([integers, many], [[3 * 2 ** 24 + 3], [3]]);
      assertEquals(
        exchanged,
        [0, 10, 20].flatMap((from) => [from + 2 * rank, from + 2 * rank + 1]),
      );
      assertEquals([large, gathered, told], [[0, 100_000, 200_000], [0, 2, 4], [7, 7, 7]]);
    }
  },
});

Deno.test({
  name: `a rank that hangs under MPICH is named${missing}`,
  ignore: mpich === "",
  async fn() {
    const { code, stderr } = await run(3, ["hang"], { NANOVLM_RANK_TIMEOUT: "2" });
    assert(code !== 0);
    assertMatch(stderr, /waited 2 s for the values on a heap; does not come: rank 1 \(/);
  },
});
