import type { MetricsRecord } from "./files/metrics_record.ts";
import { RunDirectory } from "./files/run_directory.ts";
import { Reporter } from "./reporter.ts";
import { printable } from "./terminal/terminal_text.ts";

/** Writes and shows nothing: for the ranks of a run beside rank 0, which reports for all. */
export class SilentReporter extends Reporter {
  readonly #name: string;

  /** @param name of the rank, in front of what a reward module prints */
  constructor(name: string) {
    super(RunDirectory.none());
    this.#name = name;
  }

  override onStart(): Promise<void> {
    return Promise.resolve();
  }

  override onStep(): Promise<void> {
    return Promise.resolve();
  }

  override onLog(record: MetricsRecord): Promise<MetricsRecord> {
    return Promise.resolve(record);
  }

  override onBefore(): Promise<void> {
    return Promise.resolve();
  }

  override onEvaluate(): Promise<void> {
    return Promise.resolve();
  }

  override onCompletions(): void {}

  override onWarning(): void {}

  override onModuleLine(text: string): void {
    console.error(printable(`${this.#name}: ${text}`));
  }

  override onSkipped(): void {}

  override async apart<T>(work: () => Promise<T>): Promise<T> {
    return await work();
  }

  override onEnd(): Promise<void> {
    return Promise.resolve();
  }

  override close(): void {}
}
