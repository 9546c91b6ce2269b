import { formatCompletions } from "./terminal/completions_table.ts";
import { type CompletionRow, CompletionsWriter } from "./files/completions_writer.ts";
import { closingLines, type RunSummary } from "./terminal/closing_lines.ts";
import { formatNumber } from "./terminal/console_table.ts";
import type { EvaluationSample } from "./evaluation_sample.ts";
import { type MetricsRecord, numericMetrics } from "./files/metrics_record.ts";
import { MetricsWriter } from "./files/metrics_writer.ts";
import type { SkippedRow } from "./page/report_contents.ts";
import { PeakMemory } from "./peak_memory.ts";
import {
  Progress,
  type ProgressState,
  type ProgressTerminal,
  standardErrorTerminal,
} from "./terminal/progress.ts";
import { type ReportedAnswers, type ReportedCompletion, ReportFile } from "./files/report_file.ts";
import { RewardWatch } from "./reward_watch.ts";
import type { RunInfo } from "./run_info.ts";
import type { RunDirectory } from "./files/run_directory.ts";
import { TensorBoardWriter } from "./tensorboard/tensorboard_writer.ts";
import { sampleLine } from "./terminal/samples_table.ts";
import { printable } from "./terminal/terminal_text.ts";
import { TrackerSet } from "./trackers/tracker_set.ts";
import { ThroughputMeter } from "./throughput_meter.ts";
import type { Concern } from "./watch/concern.ts";
import { RunWatch } from "./watch/run_watch.ts";

/** Sample answers that the terminal shows at each evaluation. */
const SAMPLES_PRINTED = 3;

/** Sample answers that the terminal shows at the end. */
const SAMPLES_AT_END = 8;

/** The page shows this many different warnings. */
const MAX_WARNINGS = 100;

/**
 * Everything a run shows and writes about itself: progress, metrics.jsonl, completions.jsonl,
 * TensorBoard's event files and report.html. The trainer tells it what happens; it knows nothing
 * of the trainer.
 */
export class Reporter {
  readonly #directory: RunDirectory;
  readonly #terminal: ProgressTerminal;
  readonly #throughput = new ThroughputMeter();
  readonly #memory = new PeakMemory();
  readonly #rewardWatch = new RewardWatch();
  #runWatch = new RunWatch(0);
  readonly #report: ReportFile;
  #progress: Progress | null = null;
  #metrics: MetricsWriter | null = null;
  #completions: CompletionsWriter | null = null;
  #tensorBoard: TensorBoardWriter | null = null;
  #trackers: TrackerSet | null = null;
  #info: RunInfo | null = null;
  #step = 0;
  #loss: number | null = null;
  #logged = false;
  #learningRate: number | null = null;
  #note = "";
  #reportFailed = false;
  #lastSamples: readonly EvaluationSample[] = [];
  #lastCompletions: readonly CompletionRow[] = [];

  /**
   * @param directory the run's folder
   * @param terminal where progress is shown; default: standard error
   */
  constructor(directory: RunDirectory, terminal: ProgressTerminal = standardErrorTerminal()) {
    this.#directory = directory;
    this.#terminal = terminal;
    this.#report = new ReportFile(directory.reportPath);
  }

  /**
   * Opens the files, and cuts off what was written after the checkpoint that the run goes on from.
   *
   * @throws {RunFileError} or `SaveError` if a file cannot be written
   */
  async onStart(info: RunInfo): Promise<void> {
    this.#info = info;
    this.#step = info.resumedFromStep ?? 0;
    await this.#directory.writeConfig(info.configYaml);
    this.#metrics = new MetricsWriter(this.#directory.metricsPath, info.resumedFromStep);
    this.#runWatch = new RunWatch(info.totalSteps);
    for (const record of this.#metrics.earlier) {
      this.#report.add({ ...record });
      this.#runWatch.observe({ ...record });
    }
    if (info.tensorBoard !== false) {
      const path = this.#directory.tensorBoardPath;
      this.#tensorBoard = new TensorBoardWriter(path, info.resumedFromStep);
      const fence = "```";
      this.#tensorBoard.writeText(
        "config",
        `${fence}yaml\n${info.configYaml}\n${fence}`,
        this.#step,
      );
    }
    if (info.resumedFromStep !== undefined && exists(this.#directory.completionsPath)) {
      this.#openCompletions(info.resumedFromStep);
    }
    this.#progress = new Progress(info.label, this.#terminal);
    Object.assign(this.#report.contents, {
      title: info.title,
      label: info.label,
      totalSteps: info.totalSteps,
      step: this.#step,
      startedAtStep: this.#step,
      facts: info.facts,
      configYaml: info.shownConfig ?? info.configYaml,
    });
    if (info.tracking !== undefined) {
      const { trackers, ...run } = info.tracking;
      this.#trackers = new TrackerSet(trackers, (text) => this.onWarning(text));
      const resumed = info.resumedFromStep !== undefined;
      this.#trackers.start(
        { ...run, folder: this.#directory.path, resumed },
        this.#metrics.earlier,
      );
    }
    this.#throughput.start(this.#step);
    await this.#writeReport(true);
  }

  /**
   * An optimizer step is done: moves the bar, and the page if it was not written for a while. It is cheap.
   *
   * @param step optimizer steps done
   * @param tokens tokens of the step
   * @param note a short text such as `reward 0.41`; shown until there is another
   * @param loss of the step; shown until the first logging step has a mean
   */
  async onStep(step: number, tokens: number, note?: string, loss?: number): Promise<void> {
    this.#step = step;
    this.#memory.sample();
    if (loss !== undefined && !this.#logged && this.#info?.label !== "grpo") this.#loss = loss;
    if (note !== undefined) this.#note = note;
    this.#throughput.add(step, tokens);
    this.#progress?.update(this.#state());
    await this.#writeReport(false);
  }

  /**
   * A logging step: adds `tokens_per_second` and `peak_memory_bytes` to the record if they are
   * not in it, writes it everywhere, moves the bar, and warns about a GRPO run that learns nothing.
   *
   * @returns the record as it was written
   * @throws {RunFileError} if it cannot be written, as on a full disk
   */
  async onLog(record: MetricsRecord): Promise<MetricsRecord> {
    const speed = this.#throughput.tokensPerSecond;
    const full: MetricsRecord = {
      ...record,
      ...("tokens_per_second" in record || speed === null
        ? {}
        : { tokens_per_second: Math.round(speed * 10) / 10 }),
      ...("peak_memory_bytes" in record ? {} : { peak_memory_bytes: this.#memory.sample() }),
    };
    this.#step = record.step;
    this.#logged = true;
    if (typeof record.loss === "number") this.#loss = record.loss;
    if (typeof record.learning_rate === "number") this.#learningRate = record.learning_rate;
    const warnings = [
      ...this.#rewardWatch.observe(full),
      ...this.#runWatch.observe(full).map(({ text }) => text),
    ];
    this.#write(this.#withConcerns(full));
    if (typeof record.reward === "number") {
      this.#note = `reward ${formatNumber(record.reward)}`;
      this.#loss = null; // a policy gradient's is about 0, whatever the policy does
    }
    this.#progress?.log(this.#state());
    this.#printCompletions();
    for (const warning of warnings) this.onWarning(warning);
    await this.#writeReport(false);
    return full;
  }

  /**
   * What was measured and answered before the first step; told before that step.
   *
   * @param metrics named `eval_…`; null if only questions were asked
   * @param answers to held-out questions
   */
  async onBefore(
    metrics: Readonly<Record<string, number>> | null,
    answers: ReportedAnswers,
  ): Promise<void> {
    await this.#report.showBefore(metrics, answers);
    await this.#writeReport(true);
  }

  /**
   * An evaluation is done.
   *
   * @param record its metrics, named `eval_…`
   * @param samples questions and answers, those that the page shows
   * @param all of them, if the samples are a choice; pictures are not needed
   * @throws {RunFileError} if it cannot be written
   */
  async onEvaluate(
    record: MetricsRecord,
    samples: readonly EvaluationSample[] = [],
    all: readonly EvaluationSample[] = samples,
  ): Promise<void> {
    const concerns = this.#runWatch.observe(record, all);
    this.#write(this.#withConcerns(record));
    const words = numericMetrics(record)
      .filter(([name]) => /^eval_(?!.*(runtime|per_second))/.test(name))
      .map(([name, value]) => `${name} ${formatNumber(value)}`);
    this.#print(`step ${record.step}: ${words.join("  ")}`);
    // The same questions each time show how answers change.
    for (const sample of all.slice(0, SAMPLES_PRINTED)) this.#print(sampleLine(sample));
    for (const { text } of concerns) this.onWarning(text);
    if (samples.length > 0) {
      this.#lastSamples = all.slice(0, SAMPLES_AT_END);
      if (all === samples) await this.#report.showSamples(record.step, samples);
      else await this.#report.showAnswers(record.step, { shown: samples, all });
    }
    await this.#writeReport(true);
  }

  /**
   * Completions were sampled and scored: all go to completions.jsonl, some to the page, and with
   * the next log some to the terminal.
   *
   * @throws {RunFileError} if they cannot be written
   */
  onCompletions(rows: readonly ReportedCompletion[]): void {
    const bare = rows.map(({ pictures: _, ...row }): CompletionRow => row);
    this.#openCompletions(undefined).write(bare);
    this.#lastCompletions = bare;
    this.#report.showCompletions(rows);
  }

  /** Something the user should know: said once, counted after that. */
  onWarning(text: string): void {
    const { warnings } = this.#report.contents;
    const known = warnings.find((warning) => warning.text === text);
    if (known !== undefined) {
      known.count++;
      return;
    }
    if (warnings.length < MAX_WARNINGS) warnings.push({ step: this.#step, text, count: 1 });
    this.#print(`warning: ${text.split("\n").map(printable).join("\n  ")}`);
  }

  /**
   * A line of a reward module, which names the module. It is shown as the module's, in a list of its
   * own: it cannot pass for a warning of the trainer, nor take the place of one.
   */
  onModuleLine(text: string): void {
    const { moduleLines } = this.#report.contents;
    if (moduleLines.length < MAX_WARNINGS) moduleLines.push(text);
    this.#print(printable(text));
  }

  /**
   * Reports rows that could not be used; called with all of them so far.
   *
   * @param rows place and reason of each
   * @param total rows that the data has, 0 if unknown
   */
  onSkipped(rows: readonly SkippedRow[], total: number): void {
    this.#report.contents.skipped = { count: rows.length, total, rows: rows.slice(0, 1000) };
  }

  /**
   * Does work that is not training (an evaluation, a checkpoint), so that its time does not count as
   * training time.
   *
   * @param work what to do
   * @returns what it returns
   */
  async apart<T>(work: () => Promise<T>): Promise<T> {
    const began = performance.now();
    try {
      return await work();
    } finally {
      this.#memory.sample();
      this.#throughput.exclude(performance.now() - began);
    }
  }

  /**
   * The run is over: prints results, sample answers and what to run next, writes the last page and
   * closes the files.
   *
   * @throws {RunFileError} if the last of it cannot be written
   */
  async onEnd(ended: RunSummary): Promise<void> {
    const { contents } = this.#report;
    const summary = this.#withDoubts(ended);
    const { status } = summary;
    const tracked = await this.#trackers?.finish(status === "doubtful" ? "done" : status) ?? [];
    this.#trackers = null;
    contents.status = summary.status;
    contents.message = summary.message ?? null;
    contents.tables = summary.tables ?? [];
    contents.headlines = summary.headlines ?? [];
    if (summary.answers) await this.#report.showAnswers(this.#step, summary.answers);
    contents.next = summary.next ?? [];
    this.#progress?.finish();
    await this.#writeReport(true);
    const { startedAt, updatedAt } = contents;
    const lines = closingLines({
      label: this.#info?.label ?? "run",
      step: this.#step,
      seconds: (updatedAt - startedAt) / 1000,
      samples: this.#lastSamples,
      reportPath: this.#reportFailed ? null : this.#report.path,
      width: this.#terminal.columns(),
      skipped: contents.skipped,
      summary,
    });
    for (const line of [...lines, ...tracked]) this.#print(line);
    this.close();
  }

  /** Closes the files and gives the terminal back; onEnd() does it too. */
  close(): void {
    this.#progress?.finish();
    this.#trackers?.close();
    this.#trackers = null;
    const open = [this.#metrics, this.#completions, this.#tensorBoard];
    [this.#metrics, this.#completions, this.#tensorBoard] = [null, null, null];
    let failure: { error: unknown } | null = null;
    for (const file of open) {
      try {
        file?.close();
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure !== null) throw failure.error;
  }

  #active(): Concern[] {
    return [...this.#rewardWatch.active, ...this.#runWatch.active];
  }

  /** A record of metrics.jsonl names what is wrong at that step. */
  #withConcerns(record: MetricsRecord): MetricsRecord {
    const names = this.#active().map(({ name }) => name);
    return names.length === 0 ? record : { ...record, concerns: names.join(", ") };
  }

  /** A run that is done and went wrong is not simply done. */
  #withDoubts(summary: RunSummary): RunSummary {
    if (summary.status !== "done") return summary;
    const found = summary.concerns ?? [];
    for (const { text } of found) this.onWarning(text);
    if (found.length > 0) {
      this.#write({ step: this.#step, concerns: found.map(({ name }) => name).join(", ") });
    }
    const texts = [...this.#active(), ...found].map(({ text }) => text);
    if (texts.length === 0) return summary;
    const message = [summary.message ?? [], texts].flat().join("\n");
    return { ...summary, status: "doubtful", message };
  }

  #printCompletions(): void {
    const rows = this.#lastCompletions;
    this.#lastCompletions = [];
    const toPrint = this.#info?.completionsToPrint ?? 0;
    if (toPrint === 0 || rows.length === 0) return;
    this.#print(formatCompletions(rows, toPrint, this.#terminal.columns()));
  }

  #openCompletions(resumedFromStep: number | undefined): CompletionsWriter {
    this.#completions ??= new CompletionsWriter(this.#directory.completionsPath, resumedFromStep);
    return this.#completions;
  }

  #write(record: MetricsRecord): void {
    this.#metrics?.write(record);
    this.#tensorBoard?.write(record);
    this.#trackers?.log(record);
    this.#report.add(record);
  }

  #print(text: string): void {
    if (this.#progress !== null) this.#progress.print(text);
    else this.#terminal.write(text.endsWith("\n") ? text : text + "\n");
  }

  #state(): ProgressState {
    const totalSteps = this.#info?.totalSteps ?? 0;
    return {
      step: this.#step,
      totalSteps,
      loss: this.#loss,
      learningRate: this.#learningRate,
      tokensPerSecond: this.#throughput.tokensPerSecond,
      secondsLeft: this.#throughput.secondsLeft(totalSteps),
      note: this.#note,
    };
  }

  /** The page is a convenience: if it cannot be written, the run says so once and continues. */
  async #writeReport(force: boolean): Promise<void> {
    this.#report.contents.step = this.#step;
    this.#report.contents.secondsLeft = this.#state().secondsLeft ?? null;
    if (this.#step > 0) this.#report.contents.peakMemoryBytes = this.#memory.sample();
    try {
      await this.#report.write(force);
    } catch (error) {
      if (!this.#reportFailed) {
        this.onWarning(error instanceof Error ? error.message : String(error));
      }
      this.#reportFailed = true;
    }
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
