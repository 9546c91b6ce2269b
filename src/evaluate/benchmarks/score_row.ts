/**
 * The score of one answer to a row of a benchmark, as lmms-eval's `process_results` of the task.
 *
 * @module
 */
import { RowSkipped } from "../../data/data_error.ts";
import { type Cell, isList, isStruct, type Row, scalarText } from "../../data/rows/row.ts";
import { parseMetric } from "../metrics/metric_tally.ts";
import { strip } from "../metrics/python_text.ts";
import { scoreAnswer } from "../metrics/score_answer.ts";
import type { Benchmark } from "./benchmark.ts";
import { isRightOpenAnswer, mmmuLetter } from "./mmmu_answer.ts";
import { isMultipleChoice, optionLetter, rowOptions } from "./prompt.ts";

/**
 * The accepted answers of a row; the number of an option becomes its letter.
 *
 * @throws {RowSkipped} if there is none, as in splits whose answers are kept secret
 */
export function rowAnswers(benchmark: Benchmark, row: Row): string[] {
  const { columns, score } = benchmark;
  const cell: Cell | undefined = row[columns.answer];
  const cells = isList(cell) ? cell : [cell];
  const texts = cells.map((one) => scalarText(isStruct(one) ? one.answer : one))
    .filter((text) => text !== null);
  if (texts.length === 0) throw new RowSkipped(`${columns.answer} holds no answer`);
  if (score !== "letter_first" && score !== "letter_or_text") return texts;
  const number = Number(texts[0]);
  if (!Number.isInteger(number) || number < 0 || number >= rowOptions(benchmark, row).length) {
    throw new RowSkipped(`${columns.answer} holds ${texts[0]}, want the number of an option`);
  }
  return [optionLetter(number)];
}

const PUNCTUATION = /[!-/:-@[-`{-~]/g;
const right = (isRight: boolean) => isRight ? 1 : 0;

/** ScienceQA: the letter alone in any case, or a capital and a period at the start. */
function letterFirst(answer: string, wanted: string): number {
  if (answer.toLowerCase() === wanted.toLowerCase()) return 1;
  return right(/^\p{Lu}\./u.test(answer) && answer[0].toLowerCase() === wanted.toLowerCase());
}

/** AI2D: a capital and a period at the start stand for the whole answer. */
function letterOrText(answer: string, wanted: string): number {
  const plain = (text: string) => text.toLowerCase().replace(PUNCTUATION, "");
  return right(plain(/^([A-Z])\./.exec(answer)?.[1] ?? answer) === plain(wanted));
}

/** RealWorldQA: a choice if the answer is a letter, else the same text. */
function choiceOrText(answer: string, wanted: string): number {
  if (/^[ABCD]$/.test(wanted.toUpperCase())) return scoreAnswer("choice", answer, [wanted]);
  return right(strip(answer.toLowerCase()).replace(/\.+$/, "") === wanted.toLowerCase());
}

/** MME: yes or no alone, by its first letter alone, or within the first four characters. */
function mmeLabel(answer: string): string {
  const text = strip(answer.toLowerCase()).replaceAll(".", "");
  if (text === "y") return "yes";
  if (text === "n") return "no";
  if ([...text].length === 1) return "other";
  const start = [...text].slice(0, 4).join("");
  return start.includes("yes") ? "yes" : start.includes("no") ? "no" : "other";
}

function mmmu(answer: string, row: Row, options: readonly string[], answers: readonly string[]) {
  if (!isMultipleChoice(row)) return right(isRightOpenAnswer(answer, answers));
  return right(answers.includes(mmmuLetter(answer, options, String(row.id))));
}

/**
 * Scores an answer.
 *
 * @param row the benchmark's row
 * @param prediction the model's answer; outer white space does not count
 * @returns 0 … 1
 * @throws {RowSkipped} if the row has no answer to compare with
 */
export function scoreRow(benchmark: Benchmark, row: Row, prediction: string): number {
  const answer = strip(prediction);
  const answers = rowAnswers(benchmark, row);
  const [first] = answers.map(strip);
  switch (benchmark.score) {
    case "letter_first":
      return letterFirst(answer, first);
    case "letter_or_text":
      return letterOrText(answer, first);
    case "choice_or_text":
      return choiceOrText(answer, first);
    case "mme":
      return right(mmeLabel(answer) === first.toLowerCase().replaceAll(".", ""));
    case "mmmu":
      return mmmu(answer, row, rowOptions(benchmark, row), answers);
    case "ocrbench": {
      const style = row.dataset === "HME100k" ? "no_spaces" : "text";
      return scoreAnswer("contains", answer, answers, { style });
    }
    default: {
      const { name, ...options } = parseMetric(benchmark.score);
      return scoreAnswer(name, answer, answers, options);
    }
  }
}
