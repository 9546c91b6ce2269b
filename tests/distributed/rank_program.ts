import { startRanks } from "../../src/distributed/start_ranks.ts";

/** What a test runs on each rank: every call once, and what it gave as a line of JSON. */
if (import.meta.main) {
  const ranks = await startRanks();
  const [what] = Deno.args;
  if (what === "hang" && ranks.rank === 1) Deno.kill(Deno.pid, "SIGSTOP");
  if (what === "fail" && ranks.rank === 1) throw new Error("Cannot go on: a test wants that");
  const heap = new WebAssembly.Memory({ initial: 20, maximum: 20, shared: true });
  const onHeap = new Float32Array(heap.buffer, 64, 5).fill(ranks.rank + 0.5);
  await ranks.sum(onHeap, "the values on a heap");
  const doubles = Float64Array.of(1e-12, ranks.rank);
  await ranks.sum(doubles, "the doubles");
  const integers = Int32Array.of(2 ** 24 + ranks.rank);
  await ranks.sum(integers, "the integers");
  // More than one call takes in this thread.
  const many = new Float32Array(300_000).fill(ranks.rank);
  await ranks.sum(many, "many values");
  const parts = Uint8Array.from({ length: 2 * ranks.size }, (_, i) => 10 * ranks.rank + i);
  const exchanged = await ranks.exchange(parts, "some parts");
  const large = await ranks.gather(new Uint8Array(100_000 * ranks.rank), "large parts");
  const gathered = await ranks.gather(
    new TextEncoder().encode("x".repeat(2 * ranks.rank)),
    "some texts",
  );
  const told = new Uint8Array(3).fill(ranks.rank + 7);
  await ranks.broadcast(told, "some bytes", { patient: true });
  await ranks.barrier("the end", { patient: true });
  console.log(JSON.stringify({
    rank: ranks.rank,
    size: ranks.size,
    hosts: ranks.hosts.length,
    onHeap: Array.from(onHeap),
    doubles: Array.from(doubles),
    integers: Array.from(integers),
    many: Array.from(new Set(many)),
    exchanged: Array.from(exchanged),
    large: large.map(({ length }) => length),
    gathered: gathered.map(({ length }) => length),
    told: Array.from(told),
  }));
  await ranks.close();
}
