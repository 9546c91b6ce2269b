import { assert, assertEquals, assertMatch } from "@std/assert";
import { runJob, withMpirun } from "./mpirun.ts";

const PROGRAM = ["tests/distributed/rank_program.ts"];

Deno.test(withMpirun("ranks sum, gather and broadcast, on the heap too", async () => {
  const { code, stdout, stderr } = await runJob(3, PROGRAM);
  assertEquals(code, 0, stderr);
  const lines = stdout.trim().split("\n").map((line) => JSON.parse(line));
  lines.sort((a, b) => a.rank - b.rank);
  assertEquals(lines.map(({ rank }) => rank), [0, 1, 2]);
  for (const line of lines) {
    assertEquals(line, {
      rank: line.rank,
      size: 3,
      hosts: 3,
      onHeap: new Array(5).fill(4.5),
      doubles: [1e-12 + 1e-12 + 1e-12, 3],
      integers: [3 * 2 ** 24 + 3],
      many: [3],
      exchanged: [0, 10, 20].flatMap((from) => [from + 2 * line.rank, from + 2 * line.rank + 1]),
      large: [0, 100_000, 200_000],
      gathered: [0, 2, 4],
      told: [7, 7, 7],
    });
  }
}));

Deno.test(withMpirun("a rank that hangs is named, and the job ends", async () => {
  const { code, stderr } = await runJob(3, [...PROGRAM, "hang"], {
    env: { NANOVLM_RANK_TIMEOUT: "2" },
  });
  assert(code !== 0);
  assertMatch(stderr, /waited 2 s for the values on a heap; does not come: rank 1 \(/);
}));

Deno.test(withMpirun("a rank that fails ends the job", async () => {
  const { code, stderr } = await runJob(3, [...PROGRAM, "fail"]);
  assert(code !== 0);
  assertMatch(stderr, /Cannot go on: a test wants that/);
}));

Deno.test(withMpirun("one process under mpirun loads nothing and is alone", async () => {
  const { code, stdout, stderr } = await runJob(1, PROGRAM, { env: { NANOVLM_MPI: "/none" } });
  assertEquals(code, 0, stderr);
  assertEquals(JSON.parse(stdout).size, 1);
}));

Deno.test(withMpirun("a library that is not there ends the job with the reason", async () => {
  const { code, stderr } = await runJob(2, PROGRAM, { env: { NANOVLM_MPI: "/none.so" } });
  assert(code !== 0);
  assertMatch(stderr, /Cannot train as one of 2 ranks: .*NANOVLM_MPI/);
}));
