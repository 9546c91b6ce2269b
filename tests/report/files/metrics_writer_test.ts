import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { MetricsWriter } from "../../../src/report/files/metrics_writer.ts";
import { RunFileError } from "../../../src/report/files/run_file_error.ts";
import { fillDisk, onSmallDisk, whyNoDisk } from "./small_disk.ts";
import { inTemporaryFolder } from "../temporary_folder.ts";

Deno.test("MetricsWriter writes one JSON object a line, at once", async () => {
  await inTemporaryFolder((dir) => {
    const path = `${dir}/metrics.jsonl`;
    const writer = new MetricsWriter(path);
    writer.write({ step: 1, loss: 2.5, "rewards/a/mean": null });
    assertEquals(Deno.readTextFileSync(path), `{"step":1,"loss":2.5,"rewards/a/mean":null}\n`);
    writer.write({ step: 2, loss: NaN, note: "a\nb" });
    writer.close();
    assertEquals(
      Deno.readTextFileSync(path).split("\n")[1],
      `{"step":2,"loss":null,"note":"a\\nb"}`,
    );
  });
});

Deno.test("MetricsWriter starts empty if nothing is resumed", async () => {
  await inTemporaryFolder((dir) => {
    Deno.writeTextFileSync(`${dir}/metrics.jsonl`, `{"step":9}\n`);
    const writer = new MetricsWriter(`${dir}/metrics.jsonl`);
    writer.write({ step: 1 });
    writer.close();
    assertEquals(Deno.readTextFileSync(`${dir}/metrics.jsonl`), `{"step":1}\n`);
  });
});

Deno.test("MetricsWriter resumed reads as if the run had never stopped", async () => {
  await inTemporaryFolder((dir) => {
    const [undisturbed, resumed] = [`${dir}/a.jsonl`, `${dir}/b.jsonl`];
    const write = (writer: MetricsWriter, from: number, to: number) => {
      for (let step = from; step <= to; step++) writer.write({ step, loss: 1 / step });
      writer.close();
    };
    write(new MetricsWriter(undisturbed), 1, 20);
    write(new MetricsWriter(resumed), 1, 13);
    const second = new MetricsWriter(resumed, 10);
    assertEquals(second.earlier.map((record) => record.step), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    write(second, 11, 20);
    assertEquals(Deno.readTextFileSync(resumed), Deno.readTextFileSync(undisturbed));
  });
});

Deno.test("MetricsWriter removes a last line that a kill has cut, at whatever byte", async () => {
  await inTemporaryFolder((dir) => {
    const path = `${dir}/metrics.jsonl`;
    const whole = `{"step":1,"text":"é日本"}\n`;
    const torn = new TextEncoder().encode(whole + `{"step":2,"text":"é日本"}\n`);
    const start = new TextEncoder().encode(whole).length;
    for (let length = start; length < torn.length; length++) {
      Deno.writeFileSync(path, torn.subarray(0, length));
      const writer = new MetricsWriter(path, 2);
      writer.write({ step: 3 });
      writer.close();
      assertEquals(Deno.readTextFileSync(path), whole + `{"step":3}\n`, `torn at byte ${length}`);
    }
  });
});

Deno.test("MetricsWriter resumes a file that is longer than one piece of reading", async () => {
  await inTemporaryFolder((dir) => {
    const path = `${dir}/metrics.jsonl`;
    const line = (step: number) => JSON.stringify({ step, text: "x".repeat(700) }) + "\n";
    const all = Array.from({ length: 4000 }, (_, i) => line(i + 1));
    Deno.writeTextFileSync(path, all.join(""));
    const writer = new MetricsWriter(path, 3210);
    writer.close();
    assertEquals(writer.earlier.length, 3210);
    assertEquals(Deno.readTextFileSync(path), all.slice(0, 3210).join(""));
  });
});

Deno.test({
  name: `MetricsWriter says where and what to do when the disk is full${
    whyNoDisk === null ? "" : ` (skipped: ${whyNoDisk})`
  }`,
  ignore: whyNoDisk !== null,
  fn: async () => {
    await onSmallDisk((dir) => {
      const path = `${dir}/metrics.jsonl`;
      const writer = new MetricsWriter(path);
      writer.write({ step: 1, loss: 1 });
      fillDisk(dir);
      const error = assertThrows(() => {
        for (let step = 2; step < 1000; step++) writer.write({ step, text: "x".repeat(100) });
      }, RunFileError);
      assertStringIncludes(error.message, path);
      assertStringIncludes(error.message, "disk is full");
      assertStringIncludes(error.message, "training.output_dir");
      assert(error.diskFull);
      const text = Deno.readTextFileSync(path);
      assert(text.endsWith("\n"), "no half of a line stays");
      for (const line of text.trimEnd().split("\n")) JSON.parse(line);
      Deno.removeSync(`${dir}/filler`);
      writer.write({ step: 1000 });
      writer.close();
      assert(Deno.readTextFileSync(path).endsWith(`\n{"step":1000}\n`), "and it can go on");
    });
  },
});
