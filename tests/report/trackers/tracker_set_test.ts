import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { MetricsRecord } from "../../../src/report/files/metrics_record.ts";
import type { Tracker } from "../../../src/report/trackers/tracker.ts";
import { TrackerSet } from "../../../src/report/trackers/tracker_set.ts";

const RUN = { folder: "f", name: "n", project: "p", config: {}, resumed: false };

function fakeTracker(over: Partial<Tracker> = {}) {
  const batches: number[][] = [];
  let closed = 0;
  const tracker: Tracker = {
    name: "fake",
    start: () => {},
    send: async (records) => {
      await Promise.resolve();
      batches.push(records.map(({ step }) => step));
    },
    finish: () => "look here",
    close: () => {
      closed++;
    },
    ...over,
  };
  return { tracker, batches, closed: () => closed };
}

const record = (step: number): MetricsRecord => ({ step, loss: 1 });

Deno.test("TrackerSet sends every record in order, those that gather in one request", async () => {
  const { tracker, batches } = fakeTracker();
  const warnings: string[] = [];
  const set = new TrackerSet([tracker], (text) => warnings.push(text));
  set.start(RUN, []);
  for (let step = 1; step <= 5; step++) set.log(record(step));
  assertEquals(batches, [], "nothing waits for a tracker");
  assertEquals(await set.finish("done"), ["look here"]);
  assertEquals(batches.flat(), [1, 2, 3, 4, 5]);
  assertEquals(batches.length, 1);
  assertEquals(warnings, []);
});

Deno.test("a tracker that fails is said once and left out; the others go on", async () => {
  for (const part of ["start", "send", "finish"] as const) {
    const bad = fakeTracker({
      name: "bad",
      [part]: () => {
        throw new Error("No disk");
      },
    });
    const good = fakeTracker();
    const warnings: string[] = [];
    const set = new TrackerSet([bad.tracker, good.tracker], (text) => warnings.push(text));
    set.start(RUN, []);
    for (let step = 1; step <= 3; step++) {
      set.log(record(step));
      await Promise.resolve();
    }
    assertEquals(await set.finish("done"), ["look here"], part);
    assertEquals(good.batches.flat(), [1, 2, 3]);
    assertEquals(warnings.length, 1, part);
    assertStringIncludes(warnings[0], "bad gets no further metrics: No disk. The run goes on");
    assert(bad.closed() > 0);
  }
});

Deno.test("the end of a run does not wait for a tracker that never answers", async () => {
  const { tracker } = fakeTracker({ send: () => new Promise(() => {}) });
  const warnings: string[] = [];
  const set = new TrackerSet([tracker], (text) => warnings.push(text), 20);
  set.start(RUN, []);
  set.log(record(1));
  set.log(record(2));
  assertEquals(await set.finish("interrupted"), []);
  assertEquals(warnings.length, 1);
  assertStringIncludes(warnings[0], "No answer within");
});
