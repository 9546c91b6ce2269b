import { assertEquals, assertRejects } from "@std/assert";
import { ReadAhead } from "../../../src/train/batches/read_ahead.ts";

Deno.test("ReadAhead begins a piece when the one before has posted, and gives them in order", async () => {
  const ahead = new ReadAhead<number>();
  const events: string[] = [];
  const slow = Promise.withResolvers<void>();
  ahead.begin(async ({ posted }) => {
    events.push("first begins");
    await Promise.resolve();
    events.push("first posts");
    posted();
    await slow.promise;
    return 1;
  });
  ahead.begin(() => {
    events.push("second begins");
    return Promise.resolve(2);
  });
  await ahead.posted();
  assertEquals(events, ["first begins", "first posts", "second begins"]);
  slow.resolve();
  assertEquals([await ahead.take(), await ahead.take(), ahead.length], [1, 2, 0]);
});

Deno.test("ReadAhead keeps an error until its piece is taken, and the next piece runs", async () => {
  const ahead = new ReadAhead<number>();
  ahead.begin(() => Promise.reject(new Error("row 3 is broken")));
  ahead.begin(() => Promise.resolve(2));
  await ahead.settled();
  await assertRejects(() => ahead.take(), Error, "row 3 is broken");
  assertEquals(await ahead.take(), 2);
});

Deno.test("ReadAhead drops pieces: one that runs is told, one that waits never begins", async () => {
  const ahead = new ReadAhead<number>();
  const gate = Promise.withResolvers<void>();
  let begun = 0, dropped = false;
  ahead.begin(async ({ throwIfDropped }) => {
    begun++;
    await gate.promise;
    try {
      throwIfDropped();
    } catch (error) {
      dropped = true;
      throw error;
    }
    return 1;
  });
  ahead.begin(() => Promise.resolve(++begun));
  await Promise.resolve();
  ahead.drop();
  assertEquals(ahead.length, 0);
  gate.resolve();
  await ahead.settled();
  assertEquals([begun, dropped], [1, true]);
  ahead.begin(() => Promise.resolve(7));
  assertEquals(await ahead.take(), 7);
});
