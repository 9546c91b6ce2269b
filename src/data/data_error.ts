import { cleanLine, cleanText } from "../clean_text.ts";

/** Data that cannot be read at all: a missing or corrupt file, a column or split that is not there. */
export class DataError extends Error {
  /** The name that logs show. */
  override name = "DataError";

  /** The message may quote foreign data: it gets no control characters, and a bounded length. */
  constructor(message: string, options?: ErrorOptions) {
    super(cleanText(message), options);
  }
}

/** One row that cannot be used. It is left out, counted and named; training goes on. */
export class RowSkipped extends Error {
  /** The name that logs show. */
  override name = "RowSkipped";
  /** Why the row cannot be used, without its place. */
  readonly reason: string;
  /** File and line or row of the row; empty until it is known. */
  readonly place: string;

  /**
   * @param reason why the row cannot be used
   * @param place file and line or row
   */
  constructor(reason: string, place = "", options?: ErrorOptions) {
    const shown = cleanLine(reason, 1000), where = cleanLine(place, 1000);
    super(where ? `Skipped ${where}: ${shown}` : `Skipped a row: ${shown}`, options);
    this.reason = shown;
    this.place = where;
  }

  /** The same with its place, if it had none. */
  at(place: string): RowSkipped {
    return this.place ? this : new RowSkipped(this.reason, place, { cause: this.cause });
  }
}
