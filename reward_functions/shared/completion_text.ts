/**
 * The text of a completion: itself, or the content of its messages where the data is
 * conversational.
 *
 * @module
 */

/** Text of one completion. */
export function completionText(completion: unknown): string {
  if (typeof completion === "string") return completion;
  if (!Array.isArray(completion)) return "";
  return completion.map((message: { content?: unknown } | null) =>
    typeof message?.content === "string" ? message.content : ""
  ).join("\n");
}

/** What stands between the first `<answer>` tags, or null. */
export function answerText(completion: unknown): string | null {
  return /<answer>(.*?)<\/answer>/s.exec(completionText(completion))?.[1] ?? null;
}

/** What stands between the first `<answer>` tags; the whole text where there are none. */
export function answerOrAll(completion: unknown): string {
  return answerText(completion) ?? completionText(completion);
}

/** A column as the rows see it: row i's value, or undefined where the column is missing. */
export function column(
  context: Record<string, unknown>,
  ...names: string[]
): unknown[] | undefined {
  for (const name of names) if (Array.isArray(context[name])) return context[name];
  return undefined;
}
