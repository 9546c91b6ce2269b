/**
 * Types of single values: how each is read from a node, what it is called in messages and in
 * `configs/README.md`.
 *
 * @module
 */
import type { ConfigProblem } from "../config_error.ts";
import type { ConfigNode } from "./config_node.ts";
import { nearestName } from "../nearest.ts";
import { type ValueType, wrongType } from "./value_type.ts";

function scalar<T>(
  name: string,
  accept: (value: unknown) => T | undefined,
  hint = (_: unknown) => "",
) {
  const read = (node: ConfigNode, key: string, problems: ConfigProblem[]): T | undefined => {
    const value = node.kind === "scalar" ? node.value : undefined;
    const accepted = value === undefined ? undefined : accept(value);
    if (accepted === undefined) problems.push(wrongType(node, key, name, hint(value)));
    return accepted;
  };
  return { name, read };
}

/** `true` or `false`. */
export function boolean(): ValueType<boolean> {
  return scalar(
    "true or false",
    (value) => typeof value === "boolean" ? value : undefined,
    (value) => /^(yes|no|on|off|true|false)$/i.test(String(value)) ? ", without quotes" : "",
  );
}

/** Any string but the empty one. */
export function text(name = "a string"): ValueType<string> {
  return scalar(
    name,
    (value) => typeof value === "string" && value !== "" ? value : undefined,
    (value) =>
      value === ""
        ? " that is not empty"
        : typeof value === "number" || typeof value === "boolean"
        ? " (quote it)"
        : "",
  );
}

/** The bounds of a number. */
export interface Bounds {
  /** Smallest. */
  readonly min?: number;
  /** Exclusive lower bound. */
  readonly above?: number;
  /** Largest. */
  readonly max?: number;
  /** Exclusive upper bound. */
  readonly below?: number;
}

function boundsText({ min, above, max, below }: Bounds): string {
  const low = min !== undefined ? `${min} or more` : above !== undefined ? `above ${above}` : "";
  const high = max !== undefined ? `at most ${max}` : below !== undefined ? `below ${below}` : "";
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  return [low, high].filter(Boolean).map((part) => ` ${part}`).join(" and");
}

function within(value: number, { min, above, max, below }: Bounds): boolean {
  return Number.isFinite(value) && !(value < (min ?? -Infinity)) && !(value > (max ?? Infinity)) &&
    !(above !== undefined && value <= above) && !(below !== undefined && value >= below);
}

function quotedNumber(value: unknown): string {
  return typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value))
    ? ", without quotes"
    : "";
}

/** A finite number. */
export function number(bounds: Bounds = {}): ValueType<number> {
  return scalar(
    `a number${boundsText(bounds)}`,
    (value) => typeof value === "number" && within(value, bounds) ? value : undefined,
    quotedNumber,
  );
}

/** A safe integer; `1e3` is one. */
export function integer(bounds: Bounds = {}): ValueType<number> {
  return scalar(
    `an integer${boundsText(bounds)}`,
    (value) =>
      Number.isSafeInteger(value) && within(value as number, bounds) ? value as number : undefined,
    quotedNumber,
  );
}

/** One of some values. Strings match in any case. `synonyms` maps further values to them. */
export function oneOf<const T extends string | boolean | number>(
  values: readonly T[],
  synonyms: ReadonlyMap<unknown, T> = new Map(),
): ValueType<T> {
  const name = values.length === 1 ? `${values[0]}` : `one of ${values.join(", ")}`;
  return scalar(
    name,
    (value) =>
      values.find((one) => one === value) ?? synonyms.get(value) ??
        values.find((one) =>
          typeof one === "string" && typeof value === "string" &&
          one.toLowerCase() === value.toLowerCase()
        ),
    (value) => {
      const nearest = typeof value === "string" && nearestName(value, values.map(String));
      return nearest ? `; did you mean ${nearest}?` : "";
    },
  );
}
