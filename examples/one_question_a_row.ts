/**
 * A preprocessing module: rows of questions and answers about a picture (`texts`) → one row a
 * question with `prompt` and `answer`, as GRPO and its rewards want them, and with `question` and
 * `answer` for SFT. Then the questions of a step are about as many pictures.
 *
 * dataset:
 *   dataset_format: grpo
 *   preprocessing_fn: examples/one_question_a_row.ts
 *
 * @module
 */

/** One turn of `texts`. */
interface Turn {
  readonly user: string;
  readonly assistant: string;
}

/** Columns of many rows → columns of as many rows as they have turns. */
export function batch_one_question_a_row(
  columns: Record<string, unknown[]>,
): Record<string, unknown[]> {
  const texts = columns.texts as Turn[][];
  const others = Object.entries(columns).filter(([name]) => name !== "texts");
  const repeated = others.map(([name, cells]): [string, unknown[]] => [
    name,
    texts.flatMap((turns, row) => turns.map(() => cells[row])),
  ]);
  const questions = texts.flatMap((turns) => turns.map(({ user }) => user));
  return {
    ...Object.fromEntries(repeated),
    prompt: questions,
    question: questions,
    answer: texts.flatMap((turns) => turns.map(({ assistant }) => assistant)),
  };
}
