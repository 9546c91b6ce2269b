/**
 * The built-in rewards: `builtin:NAME` is `reward_functions/NAME.ts` of this library.
 *
 * They run in the same sandbox as any other module. The child cannot fetch them, so the host reads
 * their text: from disk if this library is on disk, over http if it was loaded over http.
 */
import { nearestName } from "../../config/nearest.ts";

/** Names of the built-in rewards: `builtin:NAME`. */
export const BUILTIN_REWARDS: readonly string[] = [
  "accuracy",
  "anls",
  "box_iou",
  "box_iou_50",
  "choice",
  "choice_letter",
  "contains",
  "exact_match",
  "format",
  "json_validity",
  "length_penalty",
  "numeric_closeness",
  "relaxed_accuracy",
  "repetition_penalty",
  "reward_functions",
  "soft_overlong",
  "token_f1",
  "vqa_accuracy",
  "yes_no",
];

/** Names of the built-in environments: `builtin:NAME` is `reward_functions/environments/NAME.ts`. */
export const BUILTIN_ENVIRONMENTS: readonly string[] = ["look_closer"];

/** Folder of the built-in modules: a `file:` or an `http:` URL. */
export const BUILTIN_FOLDER: URL = new URL("../../../reward_functions/", import.meta.url);

/** What they import: the metrics, which evaluations use too, and the metrics' names. */
const METRICS_FOLDER: URL = new URL("../../evaluate/metrics/", import.meta.url);
const METRIC_NAMES_FILE: URL = new URL("../../metric_names.ts", import.meta.url);

/**
 * URL of a built-in module; options may follow its name (`builtin:soft_overlong?max=4096`).
 *
 * @throws {TypeError} if the name is not built in
 */
export function builtinUrl(specifier: string): URL {
  const [, name, options] = /^builtin:([^?]*)(\?.*)?$/.exec(specifier) ?? [];
  if (name !== undefined && BUILTIN_ENVIRONMENTS.includes(name)) {
    return new URL(`environments/${name}.ts${options ?? ""}`, BUILTIN_FOLDER);
  }
  if (name === undefined || !BUILTIN_REWARDS.includes(name)) {
    const nearest = nearestName(name ?? specifier, BUILTIN_REWARDS);
    throw new TypeError(
      `Cannot load ${specifier}: there is no such built-in reward${
        nearest === undefined ? "" : `; did you mean builtin:${nearest}?`
      } Built in are ${BUILTIN_REWARDS.join(", ")}`,
    );
  }
  return new URL(`${name}.ts${options ?? ""}`, BUILTIN_FOLDER);
}

const texts = new Map<string, Promise<string>>();

/** Source of a built-in module, or of a module that one imports, read once. */
export function builtinText(url: URL): Promise<string> {
  const plain = url.href.replace(/\?.*$/, "");
  let text = texts.get(plain);
  if (text === undefined) {
    text = read(plain);
    texts.set(plain, text);
  }
  return text;
}

async function read(href: string): Promise<string> {
  const isBuiltin = [BUILTIN_FOLDER, METRICS_FOLDER].some(({ href: folder }) =>
    href.startsWith(folder)
  );
  if (!isBuiltin && href !== METRIC_NAMES_FILE.href) {
    throw new Error("it lies outside the folders of the built-in rewards");
  }
  if (href.startsWith("file:")) return await Deno.readTextFile(new URL(href));
  const response = await fetch(href);
  if (!response.ok) throw new Error(`${href} answered ${response.status}`);
  return await response.text();
}
