/**
 * How an answer ends: three files can say so, and generation has to stop at what training labels.
 *
 * The chat template writes an end token after an answer, which is what training labels. The
 * tokenizer names one (`eos_token`), and generation_config.json may list some (`eos_token_id`). If
 * they differ, a model that learned its template's end never stops at another one.
 *
 * @module
 */
import type { Tokenizer } from "./tokenizer.ts";

/** The ends of a tokenizer's answers. */
export interface AnswerEnds {
  /** The token with which an answer ends in training. */
  readonly trained: number;
  /** Every token at which generation stops; the trained one first. */
  readonly stops: readonly number[];
  /** What disagrees and the key that mends it; null if all agree. */
  readonly problem: string | null;
}

/** A text that no template contains. */
const PROBE = "xzyvd";

/** The first special token that the chat template writes after an answer, or null. */
function templateEnd(tokenizer: Tokenizer): number | null {
  const answer = { role: "assistant", content: PROBE };
  for (const messages of [[answer], [{ role: "user", content: "q" }, answer]]) {
    let text: string;
    try {
      text = tokenizer.applyChatTemplate(messages);
    } catch {
      continue; // Some templates refuse an answer without a question.
    }
    const at = text.lastIndexOf(PROBE);
    if (at < 0) continue;
    const after = tokenizer.encode(text.slice(at + PROBE.length));
    return after.find((id) => tokenizer.isSpecial(id)) ?? null;
  }
  return null;
}

const known = new WeakMap<Tokenizer, AnswerEnds>();

/**
 * Compares tokenizer, chat template and generation config.
 *
 * @throws {Error} if the tokenizer names no end token and the template writes none
 */
export function answerEnds(tokenizer: Tokenizer): AnswerEnds {
  let ends = known.get(tokenizer);
  if (ends === undefined) known.set(tokenizer, ends = compareEnds(tokenizer));
  return ends;
}

function compareEnds(tokenizer: Tokenizer): AnswerEnds {
  const named = tokenizer.roleId("eos_token");
  const written = tokenizer.chatTemplate === null ? named : templateEnd(tokenizer);
  const listed = tokenizer.files.generationEnds ?? [];
  const trained = written ?? named ?? tokenizer.eosTokenId;
  const stops = [...new Set([trained, ...(named === null ? [] : [named]), ...listed])];
  const text = (id: number) => `${tokenizer.idToToken(id) ?? "an unknown token"} (${id})`;
  const problems: string[] = [];
  if (written === null) {
    problems.push(
      `the chat template writes no end token after an answer, so that training labels none and ` +
        `answers may not end; write ${text(trained)} after it in lm_chat_template`,
    );
  } else if (named !== written) {
    problems.push(
      `the chat template ends an answer with ${text(written)}, but the tokenizer's eos_token is ` +
        `${named === null ? "missing" : text(named)}: generation stops at both; set eos_token in ` +
        `tokenizer_config.json to ${JSON.stringify(tokenizer.idToToken(written))}`,
    );
  }
  if (written !== null && listed.length > 0 && !listed.includes(written)) {
    problems.push(
      `the chat template ends an answer with ${text(written)}, but eos_token_id in ` +
        `generation_config.json is ${listed.map(text).join(", ")}: other programs do not stop ` +
        `there; add ${written} to eos_token_id`,
    );
  }
  return {
    trained,
    stops,
    problem: problems.length === 0 ? null : `How an answer ends: ${problems.join("; and ")}`,
  };
}
