/**
 * The question of a benchmark's row, as lmms-eval's `doc_to_text` of the task writes it.
 *
 * @module
 */
import { RowSkipped } from "../../data/data_error.ts";
import {
  type Cell,
  cellText,
  describeCell,
  isList,
  type Row,
  scalarText,
} from "../../data/rows/row.ts";
import { strip } from "../metrics/python_text.ts";
import type { Benchmark } from "./benchmark.ts";
import { parsePythonList } from "./python_list.ts";

/** Removed where a suffix says how to answer. */
const YES_NO = " Please answer yes or no.";
/** MMMU's suffix of questions without options. */
const MMMU_OPEN = "\n\nAnswer the question using a single word or phrase.";

/** `A`, `B`, … */
export function optionLetter(i: number): string {
  return String.fromCharCode("A".charCodeAt(0) + i);
}

function textOf(row: Row, column: string): string {
  const text = cellText(row[column]);
  if (text === null) {
    throw new RowSkipped(`${column} holds ${describeCell(row[column])}, want text`);
  }
  return text;
}

/**
 * The options of a row; none if the benchmark has no column of them.
 *
 * @throws {RowSkipped} if the column does not hold a list
 */
export function rowOptions({ columns }: Benchmark, row: Row): string[] {
  if (columns.options === undefined) return [];
  const cell: Cell | undefined = row[columns.options];
  const list = isList(cell) ? cell.map(scalarText) : parsePythonList(cellText(cell) ?? "");
  if (list === null || list.some((option) => option === null)) {
    throw new RowSkipped(`${columns.options} holds ${describeCell(cell)}, want a list of options`);
  }
  return list as string[];
}

const optionLines = (options: readonly string[]) =>
  options.map((option, i) => `${optionLetter(i)}. ${option}`).join("\n");

/** Python's `str.capitalize()`. */
function capitalized(text: string): string {
  const [first = "", ...rest] = text;
  return first.toUpperCase() + rest.join("").toLowerCase();
}

/** Whether a row of MMMU has options to choose from. */
export function isMultipleChoice(row: Row): boolean {
  return row.question_type === "multiple-choice";
}

/**
 * The text that the model is asked, without the pictures.
 *
 * @throws {RowSkipped} if a cell does not hold what it should
 */
export function promptOf(benchmark: Benchmark, row: Row): string {
  const { columns, suffix } = benchmark;
  const question = textOf(row, columns.question);
  switch (benchmark.prompt) {
    case "question":
      return question + suffix;
    case "stripped":
      return strip(question) + suffix;
    case "stripped_yes_no":
      return strip(question).replaceAll(YES_NO, "") + suffix;
    case "capitalized":
      return capitalized(question) + suffix;
    case "options":
      return `${question}\n${optionLines(rowOptions(benchmark, row))}${suffix}`;
    case "hint_options": {
      const hint = cellText(row[columns.hint ?? "hint"]) ?? "";
      const context = hint === "" ? "" : `Context: ${hint}\n`;
      return `${context}${question}\n${optionLines(rowOptions(benchmark, row))}${suffix}`;
    }
    case "mmmu":
      return isMultipleChoice(row)
        ? `${question}\n${optionLines(rowOptions(benchmark, row))}${suffix}`
        : question + MMMU_OPEN;
  }
}

/** The columns whose pictures stand before the question, in order. */
export function pictureColumnsOf(benchmark: Benchmark, row: Row): readonly string[] {
  if (benchmark.prompt !== "mmmu") return benchmark.columns.pictures;
  // Those that question and options name, by name.
  const named = promptOf(benchmark, row).matchAll(/<image (\d+)>/g);
  return [...new Set([...named].map(([, number]) => `image_${number}`))].sort();
}
