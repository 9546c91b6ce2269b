import { writeTextAtomically } from "../../atomic_write.ts";
import type { CompletionRow } from "./completions_writer.ts";
import type { EvaluationSample } from "../evaluation_sample.ts";
import type { MetricsRecord } from "./metrics_record.ts";
import { type ChartLibrary, loadChartLibrary } from "../page/chart_library.ts";
import { type Picture, thumbnailUrl } from "../page/picture.ts";
import type { ReportContents, ShownSample } from "../page/report_contents.ts";
import { renderReport } from "../page/report_page.ts";

/** A completion with the pictures that its prompt shows. */
export interface ReportedCompletion extends CompletionRow {
  /**
   * The pictures; small copies of a few go into the report, none into completions.jsonl.
   * Completions of one prompt should share one array.
   */
  readonly pictures?: readonly Picture[];
}

/** The page keeps this many records in memory; metrics.jsonl keeps all. */
const MAX_RECORDS = 20_000;
/** How many samples and completions the page shows. */
const SHOWN = 24;

/** report.html on the disk: whole at any moment, at a twentieth of the run's time at most. */
export class ReportFile {
  /** Where the page is. */
  readonly path: string;
  /** What the page shows; the reporter changes it in place. */
  readonly contents: ReportContents;
  readonly #firstAnswers = new Map<string, { step: number; answer: string }>();
  #completions: readonly ReportedCompletion[] = [];
  #library: ChartLibrary | null = null;
  #nextWriteAt = 0;

  /** @param path where report.html is or will be */
  constructor(path: string) {
    this.path = path;
    this.contents = {
      title: "A run",
      status: "running",
      message: null,
      startedAt: Date.now(),
      startedAtStep: 0,
      updatedAt: Date.now(),
      step: 0,
      totalSteps: 0,
      secondsLeft: null,
      peakMemoryBytes: null,
      facts: [],
      configYaml: "",
      records: [],
      samples: [],
      samplesStep: 0,
      completions: [],
      tables: [],
      skipped: { count: 0, total: 0, rows: [] },
      warnings: [],
      moduleLines: [],
      next: [],
    };
  }

  /** Adds a measurement to the curves. */
  add(record: MetricsRecord): void {
    const { records } = this.contents;
    records.push(record);
    if (records.length <= MAX_RECORDS) return;
    // Of the older half every second record is dropped, except evaluations.
    this.contents.records = records.filter((old, i) =>
      i > MAX_RECORDS / 2 || i % 2 === 0 || "eval_loss" in old
    );
  }

  /** Shows an evaluation's samples, and what was answered to the same questions at first. */
  async showSamples(step: number, samples: readonly EvaluationSample[]): Promise<void> {
    const shown: ShownSample[] = [];
    for (const [i, sample] of samples.slice(0, SHOWN).entries()) {
      const { pictures, ...words } = sample;
      const key = `${i}\n${sample.question}`;
      const first = this.#firstAnswers.get(key) ?? { step, answer: sample.answer };
      this.#firstAnswers.set(key, first);
      const earlier = first.answer === sample.answer ? null : first;
      shown.push({ ...words, earlier, pictures: await thumbnails(pictures ?? []) });
    }
    this.contents.samples = shown;
    this.contents.samplesStep = step;
  }

  /** Shows completions; their pictures are not drawn before the page is written. */
  showCompletions(rows: readonly ReportedCompletion[]): void {
    this.#completions = rows.slice(0, SHOWN);
  }

  /**
   * Writes the page, unless it was written a moment ago.
   *
   * @param force writes it in any case
   * @throws {SaveError} if it cannot be written; the older page is then untouched
   */
  async write(force = false): Promise<void> {
    const began = performance.now();
    if (!force && began < this.#nextWriteAt) return;
    await this.#drawCompletions();
    this.contents.updatedAt = Date.now();
    this.#library ??= await loadChartLibrary();
    await writeTextAtomically(this.path, await renderReport(this.contents, this.#library));
    const ended = performance.now();
    this.#nextWriteAt = ended + Math.max(5000, 20 * (ended - began));
  }

  async #drawCompletions(): Promise<void> {
    if (this.#completions.length === 0) return;
    const drawn = new Map<readonly Picture[], string[]>();
    const shown = [];
    for (const { pictures, ...row } of this.#completions) {
      const urls = pictures === undefined ? [] : drawn.get(pictures) ?? await thumbnails(pictures);
      if (pictures !== undefined) drawn.set(pictures, urls);
      shown.push({ ...row, pictures: urls });
    }
    this.contents.completions = shown;
    this.#completions = [];
  }
}

/** A picture that cannot be shown is an empty string, and the page says so. */
async function thumbnails(pictures: readonly Picture[]): Promise<string[]> {
  const urls: string[] = [];
  for (const picture of pictures) urls.push(await thumbnailUrl(picture) ?? "");
  return urls;
}
