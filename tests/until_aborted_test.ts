import { assert, assertEquals, assertRejects } from "@std/assert";
import { untilAborted } from "../src/until_aborted.ts";

Deno.test("untilAborted() returns the result of the work, or throws its error", async () => {
  const { signal } = new AbortController();
  assertEquals(await untilAborted(Promise.resolve(3), signal), 3);
  assertEquals(await untilAborted(Promise.resolve(4), undefined), 4);
  await assertRejects(() => untilAborted(Promise.reject(new Error("own")), signal), Error, "own");
});

Deno.test("untilAborted() stops waiting when its signal aborts, and discards a late result", async () => {
  for (const before of [true, false]) {
    const controller = new AbortController();
    const { promise, resolve } = Promise.withResolvers<string>();
    const freed: string[] = [];
    if (before) controller.abort();
    const waiting = untilAborted(promise, controller.signal, (late) => freed.push(late));
    if (!before) controller.abort();
    const error = await assertRejects(() => waiting);
    assert(error === controller.signal.reason);
    resolve("late");
    await promise;
    await Promise.resolve();
    assertEquals(freed, ["late"]);
  }
});

Deno.test("untilAborted() ignores an error of the work after the abort", async () => {
  const controller = new AbortController();
  const { promise, reject } = Promise.withResolvers<string>();
  const waiting = untilAborted(promise, controller.signal);
  controller.abort();
  await assertRejects(() => waiting);
  reject(new Error("too late"));
  await promise.catch(() => {});
});
