/**
 * Where a key belongs: which sections have a key of a given name.
 *
 * @module
 */
import type { ConfigProblem } from "./config_error.ts";
import { nearestName } from "./nearest.ts";
import { configTable } from "./schema/schema.ts";
import type { KeySpec, Table } from "./types/value_type.ts";

/** Every key with its section, by its own name and by its aliases. */
function allPlaces(): Map<string, string[]> {
  const places = new Map<string, string[]>();
  const visit = (table: Table<object>, prefix: string) => {
    const specs: Record<string, KeySpec<unknown>> = { ...table };
    for (const [name, { type, aliases = [] }] of Object.entries(specs)) {
      for (const one of [name, ...aliases]) {
        places.set(one, [...places.get(one) ?? [], prefix + name]);
      }
      if (type.table !== undefined) visit(type.table, `${prefix}${name}.`);
    }
  };
  visit(configTable, "");
  return places;
}

/**
 * The full names of the keys that are called so in any section; dashes count as underscores.
 *
 * @example A key of the section training
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { placesOfKey } from "./key_places.ts";
 *
 * assertEquals(placesOfKey("learning-rate"), ["training.learning_rate"]);
 * assertEquals(placesOfKey("nothing"), []);
 * ```
 */
export function placesOfKey(name: string): readonly string[] {
  const own = name.split(".").at(-1)!.replaceAll("-", "_");
  return allPlaces().get(own) ?? [];
}

/**
 * The problem of an unknown key, with the section that has a key of that name. A key that is near
 * to one of its own section stays as it is.
 */
export function pointToPlace(problem: ConfigProblem): ConfigProblem {
  const { unknown } = problem;
  if (unknown === undefined) return problem;
  const places = placesOfKey(unknown.name);
  const section = problem.key.split(".").slice(0, -1).join(".");
  if (places.length > 0) {
    const where = section === "" ? "not a section" : `no key of ${section}`;
    return { ...problem, text: `${where}; it is ${places.join(" or ")}`, nearest: places[0] };
  }
  if (problem.nearest !== undefined) return problem;
  const all = allPlaces();
  const nearest = nearestName(unknown.name, all.keys());
  if (nearest === undefined) return problem;
  const place = all.get(nearest)![0];
  return { ...problem, text: `no such key; did you mean ${place}?`, nearest: place };
}
