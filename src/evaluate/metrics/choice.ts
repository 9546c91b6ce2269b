/**
 * Multiple choice, the metric of MMStar, MMMU, AI2D and ScienceQA: the letter that a text chooses.
 *
 * A letter is looked for in several forms. The form with the highest rank wins; within a form, the
 * place nearest to the end. Letters are capitals; "b" chooses nothing.
 *
 * Source: values as `extract_mcq_answer` of lmms-eval's `tasks/_task_utils/mcq_extract.py`, its oddities
 * included: after a phrase such as "the answer is" it takes the letter that is found last, and if no
 * form matches it takes any capital of the choices, even inside a word.
 *
 * @module
 */
import { isAlphabetic, strip, stripCharacter } from "./python_text.ts";

/** The letters that are looked for by default. */
export const DEFAULT_CHOICES: readonly string[] = ["A", "B", "C", "D"];

const PHRASES = [
  ...["answer", "correct answer", "best answer", "correct option", "best option", "choice"]
    .flatMap((noun) => [`the ${noun} is`, `${noun} is`]),
  ...["the correct choice is", "correct choice is", "my answer is", "my choice is"],
  ...["i choose", "i select", "i pick"],
  ...["옵션", "정답은", "답은", "답:", "答案是", "答案为", "选", "答えは"],
];

const RANK = {
  start: 10,
  end: 9,
  phrase: 7,
  parentheses: 6,
  period: 5,
  colon: 4,
  closing: 3,
  space: 2,
  anywhere: 0,
} as const;

interface Candidate {
  readonly letter: string;
  /** In characters from the beginning. */
  readonly place: number;
  readonly rank: number;
}

/** A text by its characters, since the reference counts code points. */
class Characters {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  #count(end: number): number {
    return end < 0 ? -1 : [...this.#text.slice(0, end)].length;
  }

  last(part: string): number {
    return this.#count(this.#text.lastIndexOf(part));
  }

  first(part: string): number {
    return this.#count(this.#text.indexOf(part));
  }

  firstFrom(part: string, from: number): number {
    const start = [...this.#text].slice(0, from).join("").length;
    return this.#count(this.#text.indexOf(part, start));
  }
}

function* candidatesOf(text: string, letters: readonly string[]): Generator<Candidate> {
  const padded = ` ${text} `;
  const characters = new Characters(padded);
  const forms = [
    ["parentheses", (letter: string) => `(${letter})`],
    ["period", (letter: string) => `${letter}.`],
    ["colon", (letter: string) => `${letter}:`],
    ["closing", (letter: string) => `${letter})`],
    ["space", (letter: string) => `${letter} `],
  ] as const;
  for (const [form, write] of forms) {
    for (const letter of letters) {
      const place = characters.last(write(letter));
      if (place >= 0) yield { letter, place, rank: RANK[form] };
    }
  }
  const lowerCase = new Characters(padded.toLowerCase());
  for (const phrase of PHRASES) {
    const at = lowerCase.first(phrase);
    if (at < 0) continue;
    for (const letter of letters) {
      const place = characters.firstFrom(letter, at + [...phrase].length);
      if (place >= 0) yield { letter, place, rank: RANK.phrase };
    }
  }
  const inner = [...strip(padded)];
  const wholeText = inner.join("");
  for (const letter of letters) {
    if (wholeText.startsWith(letter) && (inner.length === 1 || !isAlphabetic(inner[1]))) {
      yield { letter, place: 0, rank: RANK.start };
    }
  }
  for (const letter of letters) {
    if (wholeText.endsWith(letter) && (inner.length === 1 || !isAlphabetic(inner.at(-2)!))) {
      yield { letter, place: [...padded].length - 1, rank: RANK.end };
    }
  }
}

/** Any occurrence, if no form was found. */
function* anywhere(text: string, letters: readonly string[]): Generator<Candidate> {
  const characters = new Characters(` ${text} `);
  for (const letter of letters) {
    const place = characters.last(letter);
    if (place >= 0) yield { letter, place, rank: RANK.anywhere };
  }
}

/**
 * The letter that a text chooses.
 *
 * @param letters capitals to look for
 * @returns one of `letters`, or "" if there is none
 */
export function chosenLetter(
  prediction: string,
  letters: readonly string[] = DEFAULT_CHOICES,
): string {
  let text = strip(prediction);
  if (text === "") return "";
  for (const mark of [",", ".", "!", "?", ";", ":", "'", '"']) text = stripCharacter(text, mark);
  const found = [...candidatesOf(text, letters)];
  const candidates = found.length > 0 ? found : [...anywhere(text, letters)];
  let best: Candidate | undefined;
  for (const candidate of candidates) {
    if (
      best === undefined || candidate.rank > best.rank ||
      (candidate.rank === best.rank && candidate.place > best.place)
    ) best = candidate;
  }
  return best?.letter ?? "";
}

/**
 * Whether the letter that a prediction chooses is an accepted one.
 *
 * @param answers letters, in any case
 * @returns 0 or 1
 */
export function choice(
  prediction: string,
  answers: readonly string[],
  letters: readonly string[] = DEFAULT_CHOICES,
): number {
  const letter = chosenLetter(prediction, letters);
  return answers.some((answer) => strip(answer).toUpperCase() === letter) ? 1 : 0;
}
