/**
 * Options of the commands: parsing, checks, help.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { placesOfKey } from "../src/config/key_places.ts";
import { nearestName } from "../src/config/nearest.ts";
import { UsageError } from "./usage_error.ts";

/** One option of a command. */
export interface OptionSpec {
  /** Without the dashes. */
  readonly name: string;
  /**
   * `flag`: no value. `text`, `number`, `integer`: one value. `list`: a value each time it is given.
   * `optional`: a value or none. `grant`: `--name` alone or `--name=a,b`, as Deno's permissions.
   */
  readonly kind: "flag" | "text" | "number" | "integer" | "list" | "optional" | "grant";
  /** The value in the help: `F`, `key.path=value`. */
  readonly value?: string;
  readonly summary: string;
  /** The values that a `text` may have. */
  readonly choices?: readonly string[];
  /** Smallest number. */
  readonly min?: number;
  /** Largest number. */
  readonly max?: number;
}

/** What was given. Each getter is for options of one kind. */
export interface ParsedArguments {
  readonly positionals: readonly string[];
  flag(name: string): boolean;
  text(name: string): string | undefined;
  number(name: string): number | undefined;
  list(name: string): readonly string[];
  /** `true` if the option has no value. */
  optional(name: string): string | true | undefined;
  /** `true`: everything. */
  grant(name: string): readonly string[] | true | undefined;
}

const COMMON: readonly OptionSpec[] = [
  { name: "verbose", kind: "flag", summary: "show where an error came from" },
  { name: "help", kind: "flag", summary: "show this" },
];

/**
 * Parses a command's arguments.
 *
 * @param args what follows the command's name
 * @param options the options that the command takes; `--verbose` and `--help` are always there
 * @param positionals names of the positionals in order; those in brackets may be left out
 * @throws {UsageError} for unknown options, missing values, wrong numbers, too many positionals
 */
export function parseOptions(
  args: readonly string[],
  options: readonly OptionSpec[],
  positionals: readonly string[] = [],
): ParsedArguments {
  const all = [...options, ...COMMON];
  const byName = new Map(all.map((spec) => [spec.name, spec]));
  const namesOf = (...kinds: OptionSpec["kind"][]) =>
    all.filter(({ kind }) => kinds.includes(kind)).map(({ name }) => name);
  const unknown: string[] = [];
  const parsed: Record<string, unknown> = parseArgs(args.map((arg) => beforeParsing(arg, byName)), {
    boolean: namesOf("flag"),
    string: ["_", ...namesOf("text", "number", "integer", "list", "optional", "grant")],
    collect: namesOf("list", "grant"),
    unknown: (arg, key) => {
      if (key === undefined) return true;
      unknown.push(arg);
      return false;
    },
  });
  // Values first: in `--prompt -5` it is the value that is missing, not an option -5.
  for (const spec of all) checkValue(spec, parsed[spec.name]);
  if (unknown.length > 0) throw new UsageError(unknownOption(unknown[0], all));

  const given = parsed._ as string[];
  if (given.length > positionals.length) {
    throw new UsageError(`got the extra argument ${JSON.stringify(given[positionals.length])}`);
  }
  const missing = positionals[given.length];
  if (missing !== undefined && !missing.startsWith("[") && parsed.help !== true) {
    throw new UsageError(`wants ${missing}`);
  }

  const value = (name: string) => parsed[name];
  return {
    positionals: given,
    flag: (name) => value(name) === true,
    text: (name) => value(name) as string | undefined,
    number: (name) => value(name) === undefined ? undefined : Number(value(name)),
    list: (name) => (value(name) ?? []) as string[],
    optional: (name) => value(name) === "" ? true : value(name) as string | undefined,
    grant: (name) => {
      const grants = (value(name) ?? []) as string[];
      if (grants.length === 0) return undefined;
      return grants.includes(EVERYTHING)
        ? true
        : grants.flatMap((grant) => grant.split(",")).filter((grant) => grant !== "");
    },
  };
}

// No host, path or variable has this name.
const EVERYTHING = "\0";

/** A grant takes its value with `=` alone, so that `--allow-net MODULE` leaves MODULE alone. */
function beforeParsing(arg: string, byName: ReadonlyMap<string, OptionSpec>): string {
  const name = /^--([^=]+)$/.exec(arg)?.[1];
  return name !== undefined && byName.get(name)?.kind === "grant" ? `${arg}=${EVERYTHING}` : arg;
}

function checkValue(spec: OptionSpec, value: unknown): void {
  const { name, kind, choices, min = -Infinity, max = Infinity } = spec;
  if (value === undefined || kind === "flag" || kind === "optional" || kind === "grant") return;
  for (const one of Array.isArray(value) ? value : [value]) {
    const text = String(one);
    const wanted = choices?.join(", ") ?? numberName(spec);
    if (text === "") {
      throw new UsageError(
        `--${name} wants a value${wanted === "" ? "" : `: ${wanted}`}; if it starts with a dash, ` +
          `write --${name}=VALUE`,
      );
    }
    if (choices !== undefined && !choices.includes(text)) {
      const nearest = nearestName(text, choices);
      throw new UsageError(
        `--${name}: got ${JSON.stringify(text)}, want one of ${wanted}` +
          (nearest === undefined ? "" : `; did you mean ${nearest}?`),
      );
    }
    if (kind !== "number" && kind !== "integer") continue;
    const number = Number(text);
    const whole = kind === "number" || Number.isSafeInteger(number);
    if (!Number.isFinite(number) || !whole || number < min || number > max) {
      throw new UsageError(`--${name}: got ${JSON.stringify(text)}, want ${wanted}`);
    }
  }
}

function numberName({ kind, min, max }: OptionSpec): string {
  if (kind !== "number" && kind !== "integer") return "";
  const bounds = min !== undefined && max !== undefined
    ? ` from ${min} to ${max}`
    : min !== undefined
    ? `, ${min} or more`
    : "";
  return `${kind === "integer" ? "an integer" : "a number"}${bounds}`;
}

function unknownOption(arg: string, options: readonly OptionSpec[]): string {
  const given = arg.replace(/=.*$/s, "");
  if (options.some(({ name }) => `--${name}` === given)) return `${given} wants a value`;
  const name = given.replace(/^-+/, "");
  if (options.some((option) => option.name === "config")) {
    const [place] = placesOfKey(name);
    if (place !== undefined) {
      const value = /=(.*)$/s.exec(arg)?.[1] ?? "VALUE";
      return `there is no option ${given}: it is a key of the config; write --set ${place}=${value}`;
    }
  }
  const nearest = nearestName(name, options.map((option) => option.name));
  return `there is no option ${given}${
    nearest === undefined ? "" : `; did you mean --${nearest}?`
  }`;
}

/** The options as the help shows them. */
export function describeOptions(options: readonly OptionSpec[]): string {
  const rows = [...options, ...COMMON].map(({ name, kind, value = "X", choices, summary }) => {
    const shown = choices?.join("|") ?? value;
    const left = {
      flag: `--${name}`,
      optional: `--${name} [${shown}]`,
      grant: `--${name}[=${shown}]`,
      list: `--${name} ${shown} …`,
    }[kind as string] ?? `--${name} ${shown}`;
    return [left, summary];
  });
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, summary]) => `  ${left.padEnd(width)}  ${summary}`).join("\n");
}
