/**
 * `parseArgs` as `jsr:@std/cli/parse-args` has it: the options that this project uses, with the same
 * results.
 *
 * @module
 */

/** How arguments are parsed. */
export interface ParseOptions {
  /** Options that are true or false and take no value; `true`: every `--name` without `=`. */
  boolean?: boolean | string | readonly string[];
  /** Options whose values stay strings; `_` keeps positionals strings. */
  string?: string | readonly string[];
  /** Options that gather every value in a list. */
  collect?: string | readonly string[];
  /** Boolean options that `--no-NAME` sets to false. */
  negatable?: string | readonly string[];
  /** Other names of an option. */
  alias?: Readonly<Record<string, string | readonly string[]>>;
  /** Values of options that are absent. */
  default?: Readonly<Record<string, unknown>>;
  /** Put what follows `--` under `--` and not among the positionals. */
  "--"?: boolean;
  /** Take everything after the first positional as positionals. */
  stopEarly?: boolean;
  /** Called with what is no known option; false leaves it out of the result. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** Options by name, and positionals under `_`. */
export interface Args {
  [name: string]: unknown;
  _: (string | number)[];
}

// `-` or `--` or `--no-`, a key, and what follows the first `=`.
const FLAG = /^-(?<double>-(?<negated>no-)?)?(?<key>.+?)(?:=(?<value>.*))?$/s;

function setOf(
  names: boolean | string | readonly string[] | undefined,
): string[] {
  if (names === undefined || typeof names === "boolean") return [];
  return (typeof names === "string" ? [names] : [...names]).filter((name) => name !== "");
}

function isNumeric(text: string): boolean {
  return text.trim() !== "" && Number.isFinite(Number(text));
}

/**
 * Parses command-line arguments.
 *
 * @param args the arguments, as `Deno.args` has them
 */
export function parseArgs(args: string[], options: ParseOptions = {}): Args {
  const names = new Map<string, Set<string>>();
  for (const [key, others] of Object.entries(options.alias ?? {})) {
    const all = [key, ...setOf(others)];
    for (const one of all) {
      names.set(
        one,
        new Set(all.filter((other) => other !== one)),
      );
    }
  }
  const withAliases = (
    given: boolean | string | readonly string[] | undefined,
  ) => new Set(setOf(given).flatMap((name) => [name, ...(names.get(name) ?? [])]));
  const booleans = withAliases(options.boolean);
  const strings = withAliases(options.string);
  const collected = withAliases(options.collect);
  const negatable = withAliases(options.negatable);
  const allBoolean = options.boolean === true;

  const result: Args = { _: [] };

  function place(path: string, value: unknown, collect: boolean): void {
    const keys = path.split(".");
    const last = keys.pop() ?? "";
    if ([...keys, last].some((key) => key === "__proto__")) return;
    let target: Record<string, unknown> = result;
    for (const key of keys) {
      target = (target[key] ??= {}) as Record<string, unknown>;
    }
    const before = target[last];
    if (collect && Array.isArray(before)) before.push(value);
    else if (collect) target[last] = before ? [before, value] : [value];
    else target[last] = value;
  }

  function has(path: string): boolean {
    const keys = path.split(".");
    const last = keys.pop() ?? "";
    let target: Record<string, unknown> = result;
    for (const key of keys) {
      target = (target[key] ?? {}) as Record<string, unknown>;
    }
    return Object.hasOwn(target, last);
  }

  function set(key: string, given: unknown, arg: string, collect = true): void {
    const known = booleans.has(key) || strings.has(key) || names.has(key) ||
      collected.has(key) ||
      (allBoolean && /^--[^=]+$/.test(arg));
    if (!known && options.unknown?.(arg, key, given) === false) return;
    const value = typeof given === "string" && !strings.has(key) && isNumeric(given)
      ? Number(given)
      : given;
    for (const name of [key, ...(names.get(key) ?? [])]) {
      place(name, value, collect && collected.has(key));
    }
  }

  const isBoolean = (key: string) => booleans.has(key);
  const truth = (text: string) => text === "true";
  const end = args.indexOf("--");
  const rest = end === -1 ? [] : args.slice(end + 1);
  const given = end === -1 ? args : args.slice(0, end);

  /** An option without `=`: it may take the next argument. Returns how many it took. */
  function setFromNext(
    key: string,
    arg: string,
    next: string | undefined,
    dash: RegExp,
  ): number {
    if (next) {
      if (
        !isBoolean(key) && !dash.test(next) &&
        !(allBoolean && arg.startsWith("--"))
      ) {
        set(key, next, arg);
        return 1;
      }
      if (next === "true" || next === "false") {
        set(key, truth(next), arg);
        return 1;
      }
    }
    set(key, strings.has(key) ? "" : true, arg);
    return 0;
  }

  for (let i = 0; i < given.length; i++) {
    const arg = given[i];
    const groups = FLAG.exec(arg)?.groups;
    if (groups === undefined) {
      if (options.unknown?.(arg) !== false) {
        result._.push(!strings.has("_") && isNumeric(arg) ? Number(arg) : arg);
      }
      if (options.stopEarly) {
        result._.push(...given.slice(i + 1));
        break;
      }
    } else if (groups.double) {
      const { key, value, negated } = groups;
      if (value !== undefined) set(key, isBoolean(key) ? truth(value) : value, arg);
      else if (negated && negatable.has(key)) set(key, false, arg, false);
      else {i += setFromNext(
          negated ? `no-${key}` : key,
          arg,
          given[i + 1],
          /^-/,
        );}
    } else {
      i += setShort(arg, given[i + 1]);
    }
  }

  /** `-abc`, `-n5`, `-n=5`, `-n 5`. Returns how many further arguments it took. */
  function setShort(arg: string, next: string | undefined): number {
    const letters = arg.slice(1, -1);
    for (let j = 0; j < letters.length; j++) {
      const letter = letters[j];
      const after = arg.slice(j + 2);
      if (after === "-") {
        set(letter, after, arg);
        continue;
      }
      if (after === "=") return set(letter, "", arg), 0;
      if (/[A-Za-z]/.test(letter)) {
        const value = /=(.+)/.exec(after)?.[1];
        if (value !== undefined) return set(letter, value, arg), 0;
        if (/-?\d+(\.\d*)?(e-?\d+)?$/.test(after)) {
          return set(letter, after, arg), 0;
        }
      }
      if (j + 1 < letters.length && /\W/.test(letters[j + 1])) {
        return set(letter, after, arg), 0;
      }
      set(letter, strings.has(letter) ? "" : true, arg);
    }
    const key = arg.slice(-1);
    return key === "-" ? 0 : setFromNext(key, arg, next, /^--?[^-]/);
  }

  for (const [key, value] of Object.entries(options.default ?? {})) {
    if (has(key)) continue;
    for (const name of [key, ...(names.get(key) ?? [])]) {
      place(name, value, false);
    }
  }
  for (const key of booleans) {
    if (!has(key)) place(key, collected.has(key) ? [] : false, false);
  }
  for (const key of strings) {
    if (!has(key) && collected.has(key)) place(key, [], false);
  }
  if (options["--"]) result["--"] = rest;
  else result._.push(...rest);
  return result;
}
