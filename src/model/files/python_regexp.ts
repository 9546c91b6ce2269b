/**
 * Regular expressions of PEFT, which are Python's (`re`), as JavaScript's.
 *
 * The two syntaxes differ, so a pattern that one of them reads in another way, or not at all, would
 * choose other layers than PEFT does. What both can express is translated; the rest is refused by
 * name. A pattern that passes here is also one that Python reads.
 *
 * @module
 */

/** A pattern is not a regular expression of Python's, or not one that can be translated. */
export class PythonRegExpError extends Error {
  override name = "PythonRegExpError";
}

/** Escapes that mean the same in both. */
const SAME_ESCAPES = new Set([..."dDwWsSbBntrfv"]);
const JS_SYNTAX = new Set([...String.raw`^$\.*+?()[]{}|/-`]);

/** Reads a pattern from left to right and writes JavaScript's. */
class Translator {
  #at = 0;
  #flags = "";
  #groups = 0;
  readonly #names = new Set<string>();

  constructor(readonly pattern: string) {}

  translate(): RegExp {
    const start = /^\(\?([a-zA-Z]+)\)/.exec(this.pattern);
    if (start !== null) {
      for (const flag of start[1]) {
        if ("ims".includes(flag)) this.#flags += this.#flags.includes(flag) ? "" : flag;
        else if (!"au".includes(flag)) this.#fail(`the flag (?${flag})`);
      }
      this.#at = start[0].length;
    }
    const body = this.#alternatives(false);
    if (this.#at < this.pattern.length) this.#wrong("an unbalanced parenthesis");
    try {
      return new RegExp(`^(?:${body})$`, this.#flags.replace("m", ""));
    } catch (error) {
      throw this.#error(`it is not valid (${error instanceof Error ? error.message : error})`);
    }
  }

  #error(what: string): PythonRegExpError {
    return new PythonRegExpError(
      `Cannot use the regular expression ${JSON.stringify(this.pattern)}: ${what}; PEFT's are ` +
        "those of Python's re; a list of layer names always works",
    );
  }

  #fail(construct: string): never {
    throw this.#error(`${construct} at ${this.#at} is not supported`);
  }

  #wrong(what: string): never {
    throw this.#error(`it has ${what} at ${this.#at}, which Python refuses`);
  }

  #next(length = 1): string {
    return this.pattern.slice(this.#at, this.#at + length);
  }

  #take(text: string): boolean {
    if (!this.pattern.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  /** @param fixedWidth inside a lookbehind, where Python wants a fixed width */
  #alternatives(fixedWidth: boolean): string {
    let out = "";
    while (this.#at < this.pattern.length && this.#next() !== ")") {
      if (this.#take("|")) {
        if (fixedWidth) this.#fail("an alternative in a lookbehind");
        out += "|";
        continue;
      }
      const { text, repeats } = this.#atom(fixedWidth);
      out += text + this.#quantifier(repeats, fixedWidth);
    }
    return out;
  }

  /** One atom, and whether a quantifier may follow it. */
  #atom(fixedWidth: boolean): { text: string; repeats: boolean } {
    const char = this.#next();
    if (char === "(") return this.#group(fixedWidth);
    if (char === "[") return { text: this.#characterClass(), repeats: true };
    if (char === "\\") return this.#escape();
    if ("*+?".includes(char)) this.#wrong("nothing to repeat");
    this.#at++;
    if (char === "^" || char === "$") {
      if (this.#flags.includes("m")) this.#fail(`${char} with the flag (?m)`);
      return { text: char, repeats: false };
    }
    if (char === ".") return { text: this.#flags.includes("s") ? "[^]" : "[^\\n]", repeats: true };
    return { text: JS_SYNTAX.has(char) ? `\\${char}` : char, repeats: true };
  }

  #group(fixedWidth: boolean): { text: string; repeats: boolean } {
    const close = (open: string, inner: string, repeats = true) => {
      if (!this.#take(")")) this.#wrong("a group without an end");
      return { text: `${open}${inner})`, repeats };
    };
    if (this.#take("(?#")) {
      const end = this.pattern.indexOf(")", this.#at);
      if (end < 0) this.#wrong("a comment without an end");
      this.#at = end + 1;
      return { text: "", repeats: false };
    }
    for (const open of ["(?:", "(?=", "(?!"]) {
      if (this.#take(open)) return close(open, this.#alternatives(fixedWidth));
    }
    for (const open of ["(?<=", "(?<!"]) {
      if (this.#take(open)) return close(open, this.#alternatives(true));
    }
    const named = /^\(\?P<([A-Za-z_]\w*)>/.exec(this.pattern.slice(this.#at));
    if (named !== null) {
      if (this.#names.has(named[1])) this.#wrong(`a second group named ${named[1]}`);
      this.#names.add(named[1]);
      this.#groups++;
      this.#at += named[0].length;
      return close(`(?<${named[1]}>`, this.#alternatives(fixedWidth));
    }
    const reference = /^\(\?P=([A-Za-z_]\w*)\)/.exec(this.pattern.slice(this.#at));
    if (reference !== null) {
      if (!this.#names.has(reference[1])) this.#wrong(`no group named ${reference[1]}`);
      this.#at += reference[0].length;
      return { text: `\\k<${reference[1]}>`, repeats: true };
    }
    if (this.#next(2) === "(?") {
      const head = /^\(\?(?:P|<)?[^)]{0,8}/.exec(this.pattern.slice(this.#at))![0];
      if (/^\(\?<[A-Za-z_]/.test(head)) {
        this.#wrong(`a group ${head}, which Python writes (?P<name>`);
      }
      if (/^\(\?[a-z]+\)?$/.test(head)) this.#fail(`the flag ${head} inside the pattern`);
      this.#fail(`the group ${head}`);
    }
    this.#at++;
    this.#groups++;
    return close("(", this.#alternatives(fixedWidth));
  }

  #escape(): { text: string; repeats: boolean } {
    const char = this.pattern[this.#at + 1];
    if (char === undefined) this.#wrong("a backslash at the end");
    const rest = this.pattern.slice(this.#at);
    const hex = /^\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})/.exec(rest)?.[0];
    if (hex !== undefined) {
      this.#at += hex.length;
      return { text: hex, repeats: true };
    }
    const group = /^\\([1-9]\d?)/.exec(rest);
    if (group !== null) {
      if (Number(group[1]) > this.#groups) this.#wrong(`no group ${group[1]}`);
      this.#at += group[0].length;
      return { text: `(?:${group[0]})`, repeats: true };
    }
    this.#at += 2;
    if (char === "A") return { text: "(?<![^])", repeats: false };
    if (char === "Z") return { text: "(?![^])", repeats: false };
    if (SAME_ESCAPES.has(char)) return { text: `\\${char}`, repeats: !"bB".includes(char) };
    if (char === "a") return { text: "\\x07", repeats: true };
    this.#at -= 2;
    if ("NUx0u".includes(char)) this.#fail(`the escape \\${char}`);
    if (/[A-Za-z]/.test(char)) this.#wrong(`the escape \\${char}`);
    this.#at += 2;
    return { text: JS_SYNTAX.has(char) ? `\\${char}` : char, repeats: true };
  }

  /** A class; a `]` at its beginning is a character of it. */
  #characterClass(): string {
    this.#at++;
    let out = this.#take("^") ? "[^" : "[";
    for (let first = true;; first = false) {
      const char = this.#next();
      if (char === "") this.#wrong("a character class without an end");
      if (char === "]" && !first) {
        this.#at++;
        return `${out}]`;
      }
      if (char === "\\") {
        const escape = this.pattern[this.#at + 1];
        if (escape === "b") {
          this.#at += 2;
          out += "\\b";
          continue;
        }
        if (escape !== undefined && "BAZ123456789".includes(escape)) {
          this.#wrong(`the escape \\${escape} in a character class`);
        }
        out += this.#escape().text;
        continue;
      }
      this.#at++;
      out += "[]^".includes(char) ? `\\${char}` : char;
    }
  }

  #quantifier(repeats: boolean, fixedWidth: boolean): string {
    const found = /^(?:[*+?]|\{(?:\d+(?:,\d*)?|,\d*)\})/.exec(this.pattern.slice(this.#at))?.[0];
    if (found === undefined) return "";
    if (!repeats) this.#wrong("nothing to repeat");
    if (fixedWidth && !/^\{\d+\}$/.test(found)) this.#fail("a repetition in a lookbehind");
    this.#at += found.length;
    const quantifier = found.startsWith("{,") ? `{0${found.slice(1)}` : found;
    if (this.#next() === "+") this.#fail(`the possessive quantifier ${found}+`);
    const lazy = this.#take("?") ? "?" : "";
    if (/^(?:[*+?]|\{(?:\d+(?:,\d*)?|,\d*)\})/.test(this.pattern.slice(this.#at))) {
      this.#wrong("a second repetition");
    }
    return quantifier + lazy;
  }
}

const known = new Map<string, RegExp>();

/**
 * A regular expression of Python's that has to match a whole text (`re.fullmatch`).
 *
 * @throws {PythonRegExpError} if Python cannot read it, or it has a construct without a translation
 *
 * @example Python's named groups
 * ```ts
 * import { assert } from "@std/assert";
 * import { pythonRegExp } from "./python_regexp.ts";
 *
 * assert(pythonRegExp(String.raw`(?P<part>decoder)\..*\.q_proj`).test("decoder.blocks.0.q_proj"));
 * ```
 */
export function pythonRegExp(pattern: string): RegExp {
  let expression = known.get(pattern);
  if (expression === undefined) {
    expression = new Translator(pattern).translate();
    known.set(pattern, expression);
  }
  return expression;
}
