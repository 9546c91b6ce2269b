/**
 * A body of `/v1/chat/completions`, checked.
 *
 * @module
 */
import type { ConversationMessage } from "../text/chat_example.ts";
import { ApiError, badRequest } from "./api_error.ts";

/** A picture of a message: the file's bytes, or a web address that is still to be fetched. */
export type PictureSource = { readonly bytes: Uint8Array } | { readonly url: URL };

/** What is asked. */
export interface ChatRequest {
  /** Name of a model; undefined: the server's first one. */
  readonly model: string | undefined;
  readonly messages: readonly ConversationMessage[];
  /** In the order of the messages, which say where they stand. */
  readonly pictures: readonly PictureSource[];
  readonly stream: boolean;
  /** A last chunk of the stream with the numbers of tokens. */
  readonly includeUsage: boolean;
  /** 0: greedy. */
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly repetitionPenalty: number;
  readonly maxTokens: number | undefined;
  readonly stop: readonly string[];
  readonly seed: number | undefined;
  /** Number of answers. */
  readonly n: number;
  /** Whether log-probabilities are asked for. */
  readonly logprobs: boolean;
  /** Likeliest tokens at each place. */
  readonly topLogprobs: number;
}

/** Bounds of a request. */
export interface RequestLimits {
  /** Pictures of a request. */
  readonly pictures: number;
  /** Answers of a request. */
  readonly answers: number;
}

/** Keys that change nothing here, or ask for what is the case anyway. */
const IGNORED = new Set([
  "user",
  "metadata",
  "store",
  "service_tier",
  "safety_identifier",
  "prompt_cache_key",
]);
/** Keys whose neutral values are fine; others would change the answer in a way that is not there. */
const NEUTRAL: ReadonlyMap<string, (value: unknown) => boolean> = new Map([
  ["frequency_penalty", (value: unknown) => value === 0],
  ["presence_penalty", (value: unknown) => value === 0],
  ["logit_bias", (value: unknown) => isObject(value) && Object.keys(value).length === 0],
  ["tools", (value: unknown) => Array.isArray(value) && value.length === 0],
  ["tool_choice", (value: unknown) => value === "none" || value === "auto"],
  ["parallel_tool_calls", () => true],
  ["response_format", (value: unknown) => isObject(value) && value.type === "text"],
  ["modalities", (value: unknown) => Array.isArray(value) && value.join() === "text"],
]);
const KNOWN = new Set([
  ...["model", "messages", "stream", "stream_options", "temperature", "top_p", "top_k"],
  ...["repetition_penalty", "max_tokens", "max_completion_tokens", "stop", "seed", "n"],
  ...["logprobs", "top_logprobs"],
]);

const ROLES = new Set(["system", "developer", "user", "assistant"]);
const MOST_STOPS = 4;
const MOST_TOP_LOGPROBS = 20;

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** A number of the body; null counts as left out. */
function numberOf(
  body: Readonly<Record<string, unknown>>,
  key: string,
  { least, most, integer = false }: {
    readonly least: number;
    readonly most: number;
    readonly integer?: boolean;
  },
): number | undefined {
  const value = body[key];
  if (value === undefined || value === null) return undefined;
  const fits = typeof value === "number" && Number.isFinite(value) && value >= least &&
    value <= most && (!integer || Number.isInteger(value));
  if (fits) return value;
  const wanted = integer ? "a whole number" : "a number";
  throw badRequest(key, `${key} is ${shown(value)}; want ${wanted} from ${least} to ${most}`);
}

function flagOf(body: Readonly<Record<string, unknown>>, key: string): boolean {
  const value = body[key] ?? false;
  if (typeof value !== "boolean") {
    throw badRequest(key, `${key} is ${shown(value)}; want true or false`);
  }
  return value;
}

function stopsOf(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  const stops = Array.isArray(value) ? value : [value];
  if (
    stops.length > MOST_STOPS || !stops.every((stop) => typeof stop === "string" && stop !== "")
  ) {
    throw badRequest("stop", `stop is ${shown(value)}; want a text or up to ${MOST_STOPS} texts`);
  }
  return stops;
}

/** Bytes of a base64 `data:` URL. */
function dataUrlBytes(url: string, param: string): Uint8Array {
  const [, base64] = /^data:image\/[\w.+-]+;base64,([\s\S]*)$/.exec(url) ?? [];
  if (base64 === undefined) {
    throw badRequest(
      param,
      `${param} is ${shown(url.slice(0, 40))}; want data:image/…;base64,… or a web address`,
      "invalid_image_url",
    );
  }
  try {
    return Uint8Array.fromBase64(base64);
  } catch {
    throw badRequest(param, `${param} is not valid base64`, "invalid_base64");
  }
}

function pictureOf(part: Readonly<Record<string, unknown>>, param: string): PictureSource {
  const given = part.image_url;
  const url = isObject(given) ? given.url : given;
  if (typeof url !== "string" || url === "") {
    throw badRequest(param, `${param} has no url; want {"url": "data:image/…;base64,…"}`);
  }
  if (!/^https?:/i.test(url)) return { bytes: dataUrlBytes(url, param) };
  try {
    return { url: new URL(url) };
  } catch {
    throw badRequest(
      param,
      `${param} is ${shown(url)}, which is no web address`,
      "invalid_image_url",
    );
  }
}

/**
 * The picture of a body `{"url": …}`.
 *
 * @throws {ApiError} with status 400 if it is none
 */
export function readPicture(body: unknown): PictureSource {
  if (!isObject(body)) throw new ApiError(400, `the body is ${shown(body)}; want {"url": …}`);
  return pictureOf({ image_url: body }, "url");
}

/**
 * Text and pictures of one message. Two texts are two lines; a picture between them is no line of
 * its own.
 */
function readContent(
  content: unknown,
  param: string,
  role: string,
): { text: string; pictures: PictureSource[]; places: number[] } {
  if (typeof content === "string") return { text: content, pictures: [], places: [] };
  if (!Array.isArray(content)) {
    throw badRequest(param, `${param} is ${shown(content)}; want a text or a list of parts`);
  }
  const pictures: PictureSource[] = [], places: number[] = [];
  let text = "", isAfterText = false;
  content.forEach((part: unknown, i) => {
    const place = `${param}[${i}]`;
    if (!isObject(part)) throw badRequest(place, `${place} is ${shown(part)}; want an object`);
    if (part.type === "text" && typeof part.text === "string") {
      text += (isAfterText ? "\n" : "") + part.text;
      isAfterText = true;
    } else if (part.type === "image_url" && role === "user") {
      pictures.push(pictureOf(part, `${place}.image_url`));
      places.push(text.length);
      isAfterText = false;
    } else {
      throw badRequest(
        place,
        `${place} has the type ${shown(part.type)}; want text` +
          (role === "user" ? " or image_url" : `, since the role is ${role}`),
      );
    }
  });
  return { text, pictures, places };
}

function readMessages(value: unknown): Pick<ChatRequest, "messages" | "pictures"> {
  if (!Array.isArray(value) || value.length === 0) {
    throw badRequest("messages", `messages is ${shown(value)}; want a list of one message or more`);
  }
  const messages: ConversationMessage[] = [], pictures: PictureSource[] = [];
  value.forEach((message: unknown, i) => {
    const place = `messages[${i}]`;
    if (!isObject(message)) {
      throw badRequest(place, `${place} is ${shown(message)}; want an object`);
    }
    const { role, content } = message;
    if (typeof role !== "string" || !ROLES.has(role)) {
      throw badRequest(
        `${place}.role`,
        `${place}.role is ${shown(role)}; want one of ${[...ROLES].join(", ")}`,
      );
    }
    const read = readContent(content, `${place}.content`, role);
    messages.push({
      role: role === "developer" ? "system" : role,
      content: read.text,
      pictures: read.places,
    });
    pictures.push(...read.pictures);
  });
  if (messages.at(-1)!.role === "assistant") {
    throw badRequest(
      "messages",
      "the last message is the assistant's; want a user's, to answer it",
    );
  }
  return { messages, pictures };
}

function checkKeys(body: Readonly<Record<string, unknown>>): void {
  for (const [key, value] of Object.entries(body)) {
    if (KNOWN.has(key) || IGNORED.has(key) || value === null) continue;
    const isNeutral = NEUTRAL.get(key);
    if (isNeutral?.(value)) continue;
    throw badRequest(
      key,
      isNeutral === undefined
        ? `${key} is not known here; leave it out`
        : `${key} is ${shown(value)}, which is not supported here; leave it out`,
      "unsupported_parameter",
    );
  }
}

/**
 * Checks a body.
 *
 * @param body what the client sent, parsed
 * @param limits of this server
 * @throws {ApiError} with status 400 and the key that is wrong
 */
export function readChatRequest(body: unknown, limits: RequestLimits): ChatRequest {
  if (!isObject(body)) throw new ApiError(400, `the body is ${shown(body)}; want a JSON object`);
  checkKeys(body);
  const { messages, pictures } = readMessages(body.messages);
  if (pictures.length > limits.pictures) {
    throw badRequest(
      "messages",
      `the messages have ${pictures.length} pictures; this server takes ${limits.pictures} at most`,
      "too_many_images",
    );
  }
  const model = body.model ?? undefined;
  if (model !== undefined && typeof model !== "string") {
    throw badRequest("model", `model is ${shown(model)}; want a text`);
  }
  const stream = flagOf(body, "stream");
  const streamOptions = body.stream_options ?? {};
  if (!isObject(streamOptions)) {
    throw badRequest("stream_options", `stream_options is ${shown(streamOptions)}; want an object`);
  }
  const tokens = { least: 1, most: 2 ** 31 - 1, integer: true };
  const logprobs = flagOf(body, "logprobs");
  const topLogprobs = numberOf(body, "top_logprobs", {
    least: 0,
    most: MOST_TOP_LOGPROBS,
    integer: true,
  });
  if (topLogprobs !== undefined && topLogprobs > 0 && !logprobs) {
    throw badRequest("top_logprobs", "top_logprobs needs logprobs: true");
  }
  return {
    model,
    messages,
    pictures,
    stream,
    includeUsage: flagOf(streamOptions, "include_usage"),
    temperature: numberOf(body, "temperature", { least: 0, most: 2 }) ?? 1,
    topP: numberOf(body, "top_p", { least: 0, most: 1 }) ?? 1,
    topK: numberOf(body, "top_k", { least: 0, most: 2 ** 31 - 1, integer: true }) ?? 0,
    repetitionPenalty: numberOf(body, "repetition_penalty", { least: 0.01, most: 10 }) ?? 1,
    maxTokens: numberOf(body, "max_completion_tokens", tokens) ??
      numberOf(body, "max_tokens", tokens),
    stop: stopsOf(body.stop),
    seed: numberOf(body, "seed", { least: -(2 ** 53), most: 2 ** 53, integer: true }),
    n: numberOf(body, "n", { least: 1, most: limits.answers, integer: true }) ?? 1,
    logprobs,
    topLogprobs: topLogprobs ?? 0,
  };
}
