import { writeTextAtomically } from "../../atomic_write.ts";
import { wrongFirst } from "../choose_answers.ts";
import type { CompletionRow } from "./completions_writer.ts";
import type { EvaluationSample } from "../evaluation_sample.ts";
import type { MetricsRecord } from "./metrics_record.ts";
import { confusions } from "../page/confusion.ts";
import { type ChartLibrary, loadChartLibrary } from "../page/chart_library.ts";
import { type Picture, thumbnailUrl } from "../page/picture.ts";
import type { EarlierAnswer, ReportContents, ShownSample } from "../page/report_contents.ts";
import { renderReport } from "../page/report_page.ts";

/** A completion with the pictures that its prompt shows. */
export interface ReportedCompletion extends CompletionRow {
  /**
   * The pictures; small copies of a few go into the report, none into completions.jsonl.
   * Completions of one prompt should share one array.
   */
  readonly pictures?: readonly Picture[];
}

/** Answers to held-out questions. */
export interface ReportedAnswers {
  /** Those that become cards, with their pictures. */
  readonly shown: readonly EvaluationSample[];
  /** All of them; pictures are not needed. */
  readonly all: readonly EvaluationSample[];
}

/** The page keeps this many records in memory; metrics.jsonl keeps all. */
const MAX_RECORDS = 20_000;
/** The page shows the prompts of so many completions. */
const SHOWN = 24;
/** Answers that the page shows. */
const SHOWN_SAMPLES = 48;

/** report.html on the disk: whole at any moment, at a twentieth of the run's time at most. */
export class ReportFile {
  /** Where the page is. */
  readonly path: string;
  /** What the page shows; the reporter changes it in place. */
  readonly contents: ReportContents;
  readonly #firstAnswers = new Map<string, EarlierAnswer>();
  #drawn: ReadonlyMap<string, readonly string[]> = new Map();
  #completions: readonly ReportedCompletion[] = [];
  #library: ChartLibrary | null = null;
  #nextWriteAt = 0;

  /** @param path where report.html is or will be */
  constructor(path: string) {
    this.path = path;
    this.contents = {
      title: "A run",
      label: "",
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
      before: null,
      headlines: [],
      samples: [],
      samplesStep: 0,
      judged: null,
      confusions: [],
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

  /**
   * Keeps what was measured and answered before the first step.
   *
   * @param metrics named `eval_…`; null if there are answers alone
   * @param answers with the same `id` as later ones to the same questions
   */
  async showBefore(
    metrics: Readonly<Record<string, number>> | null,
    answers: ReportedAnswers,
  ): Promise<void> {
    if (metrics !== null) {
      this.contents.before = metrics;
      if (this.contents.records.length === 0) this.add({ step: 0, ...metrics });
    }
    await this.showAnswers(0, answers);
  }

  /** Shows an evaluation's samples, wrong ones first, and what was answered to them at first. */
  async showSamples(step: number, samples: readonly EvaluationSample[]): Promise<void> {
    this.#remember(step, samples);
    const shown: ShownSample[] = [];
    const drawn = new Map<string, readonly string[]>();
    for (const [key, sample] of keyed(samples).slice(0, SHOWN_SAMPLES)) {
      const first = this.#firstAnswers.get(key);
      const earlier = first !== undefined && first.step < step ? first : null;
      const pictures = this.#drawn.get(key) ?? await thumbnails(sample.pictures ?? []);
      drawn.set(key, pictures);
      shown.push({ ...sample, earlier, pictures });
    }
    this.#drawn = drawn;
    Object.assign(this.contents, {
      samples: wrongFirst(shown),
      samplesStep: step,
      judged: null,
      confusions: [],
    });
  }

  /** Shows the answers to many questions: some as cards, all in tables of what is mixed up. */
  async showAnswers(step: number, { shown, all }: ReportedAnswers): Promise<void> {
    this.#remember(step, all);
    await this.showSamples(step, shown);
    const judged = all.filter(({ correct }) => correct !== null);
    const right = judged.filter(({ correct }) => correct === true).length;
    this.contents.judged = { right, total: judged.length };
    this.contents.confusions = confusions(
      all.flatMap(({ expected, answer, type = null, pair }) =>
        expected === null || pair !== undefined ? [] : [{ expected, answer, type }]
      ),
    );
  }

  /** Keeps the first answer to each question. */
  #remember(step: number, samples: readonly EvaluationSample[]): void {
    for (const [key, { answer, correct, pair }] of keyed(samples)) {
      if (this.#firstAnswers.has(key)) continue;
      this.#firstAnswers.set(key, { step, answer, correct, margin: pair?.margin ?? null });
    }
  }

  /** Shows completions of whole prompts; their pictures are not drawn before the page is written. */
  showCompletions(rows: readonly ReportedCompletion[]): void {
    const prompts = new Set<unknown>();
    this.#completions = rows.filter(({ group, prompt }, i) => {
      if (i < SHOWN) prompts.add(group ?? prompt);
      return prompts.has(group ?? prompt);
    });
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

/** Samples with what names them among those of the run. */
function keyed(samples: readonly EvaluationSample[]): [string, EvaluationSample][] {
  return samples.map((sample, i) => [sample.id ?? `${i}\n${sample.question}`, sample]);
}

/** A picture that cannot be shown is an empty string, and the page says so. */
async function thumbnails(pictures: readonly Picture[]): Promise<string[]> {
  const urls: string[] = [];
  for (const picture of pictures) urls.push(await thumbnailUrl(picture) ?? "");
  return urls;
}
