/**
 * The text of a completion: the string itself, or the model's last message if the data is
 * conversational.
 *
 * @module
 */

/** Text of one completion: of several turns of the model, the last one. */
export function completionText(completion: unknown): string {
  if (typeof completion === "string") return completion;
  if (!Array.isArray(completion)) return "";
  const last = completion.findLast((message: { role?: unknown } | null) =>
    message?.role === "assistant"
  );
  return (last === undefined ? completion : [last]).map((message: { content?: unknown } | null) =>
    typeof message?.content === "string" ? message.content : ""
  ).join("\n");
}

/** The text between the first `<answer>` tags, or null. */
export function answerText(completion: unknown): string | null {
  return /<answer>(.*?)<\/answer>/s.exec(completionText(completion))?.[1] ?? null;
}

/** The text between the first `<answer>` tags; the whole text if there are none. */
export function answerOrAll(completion: unknown): string {
  return answerText(completion) ?? completionText(completion);
}

/** The first of these columns that exists, one value per row; undefined if none does. */
export function column(
  context: Record<string, unknown>,
  ...names: string[]
): unknown[] | undefined {
  for (const name of names) if (Array.isArray(context[name])) return context[name];
  return undefined;
}
