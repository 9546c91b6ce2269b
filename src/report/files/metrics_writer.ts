import { JsonLinesFile } from "./json_lines_file.ts";
import type { MetricsRecord } from "./metrics_record.ts";

/** Writes metrics.jsonl: one JSON object a line, readable at any moment while the run goes on. */
export class MetricsWriter {
  readonly #earlier: MetricsRecord[] = [];
  readonly #file: JsonLinesFile<MetricsRecord>;

  /**
   * @param path where metrics.jsonl is or will be
   * @param resumedFromStep the step of the checkpoint that the run goes on from: records after
   *   it are cut off, so that the file reads as if the run had never stopped; default: the file
   *   starts empty
   * @throws {RunFileError} if the file cannot be opened
   */
  constructor(path: string, resumedFromStep?: number) {
    this.#file = new JsonLinesFile<MetricsRecord>(
      path,
      "metrics",
      resumedFromStep === undefined ? undefined : (record) => {
        const keep = typeof record.step === "number" && record.step <= resumedFromStep;
        if (keep) this.#earlier.push(record);
        return keep;
      },
    );
  }

  /** What was recorded up to the step that the run was resumed from. */
  get earlier(): readonly MetricsRecord[] {
    return this.#earlier;
  }

  /**
   * Appends one record. Numbers that are not finite become null.
   *
   * @throws {RunFileError} if it cannot be written, with the path and the way out
   */
  write(record: MetricsRecord): void {
    this.#file.append(record);
  }

  /** Syncs and closes the file. */
  close(): void {
    this.#file.close();
  }
}
