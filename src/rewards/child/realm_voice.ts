/**
 * What the realm reports to the guard: lines that the module prints, refused attempts, errors in
 * words. It keeps its own copies of the functions it uses, since the module may replace built-ins.
 *
 * The child gets this very function as text (see program.ts): it must not use anything from
 * outside its own body.
 */
import type { RealmReport } from "./protocol.ts";

/** Reports of the realm. */
export interface RealmVoice {
  send(report: RealmReport): void;
  print(line: string): void;
  /** Any thrown value, in words. */
  describe(error: unknown): string;
  refused(line: string): void;
  /** Records a refusal. @throws {Deno.errors.NotCapable} always */
  deny(line: string): never;
  /** Whether the runtime's permissions refused it. */
  isRefusal(error: unknown): boolean;
  /** Records a refusal with the grant that would allow it. */
  advise(attempt: string, grant: string, item: string, error?: unknown): void;
  /** The target of a call: a path, a URL, a host and port. */
  target(value: unknown): string;
  /** Calls the runtime and records a refusal by its permissions. */
  watched(
    call: (...args: unknown[]) => unknown,
    self: unknown,
    verb: string,
    grant: string,
  ): (...args: unknown[]) => unknown;
  /** Resets the line budgets for the next call. */
  nextCall(): void;
}

/** Makes the {@linkcode RealmVoice}, before any module of the user. */
export function makeRealmVoice(): RealmVoice {
  const scope = globalThis as unknown as { postMessage(message: unknown): void };
  const apply = Reflect.apply;
  const send = scope.postMessage.bind(scope) as (message: RealmReport) => void;
  const NotCapable = Deno.errors.NotCapable;
  const text = String;
  const { slice, match, includes } = String.prototype;
  const grants: Record<string, string> = {
    __proto__: null as never,
    net: "allow_net",
    read: "allow_read",
    env: "allow_env",
  };
  const cut = (line: string, length: number): string => apply(slice, line, [0, length]) as string;

  let lines = 0;
  function print(line: string): void {
    if (lines++ < 200) send({ type: "printed", line: cut(line, 2000) });
  }
  function describe(error: unknown): string {
    try {
      if (error instanceof Error) {
        return cut(`${error.name}: ${error.message}`, 2000);
      }
      return cut(text(error), 2000);
    } catch {
      return "something that cannot be shown";
    }
  }
  let refusals = 0;
  function refused(line: string): void {
    if (refusals++ < 100) send({ type: "refused", line: cut(line, 500) });
  }
  function deny(line: string): never {
    refused(line);
    throw new NotCapable(`A reward module ${line}`);
  }
  function isRefusal(error: unknown): boolean {
    return error instanceof NotCapable;
  }
  /**
   * The runtime names what it refused, which may differ from what was asked for: another grant, or the
   * host of a redirect.
   */
  function advise(attempt: string, grant: string, item: string, error?: unknown): void {
    try {
      const found = apply(match, text((error as Error | undefined)?.message ?? ""), [
        /^Requires (\w+) access to "([^"]{1,300})"/,
      ]) as string[] | null;
      // What the realm itself denied was recorded then.
      if (error !== undefined && found === null) return;
      if (found !== null) {
        const named = grants[found[1]];
        if (named === undefined) {
          return refused(
            `${attempt}: it needs ${found[1]} access, which nothing in the config grants`,
          );
        }
        grant = named;
        if (found[1] === "net") item = found[2];
      }
    } catch {
      // The error object may throw.
    }
    const named = apply(includes, attempt, [item]) ? "" : ` for ${cut(item, 200)}`;
    refused(`${attempt}: not granted; add \`${grant}\`${named} if it must`);
  }
  function target(value: unknown): string {
    try {
      if (typeof value === "string" || value instanceof URL) return text(value);
      if (value instanceof Request) return value.url;
      if (typeof value === "object" && value !== null) {
        const { hostname, port } = value as { hostname?: unknown; port?: unknown };
        return `${text(hostname ?? "127.0.0.1")}:${text(port)}`;
      }
      return "?";
    } catch {
      return "?";
    }
  }
  /** Calls the runtime and records a refusal by its permissions. */
  function watched(
    call: (...args: unknown[]) => unknown,
    self: unknown,
    verb: string,
    grant: string,
  ): (...args: unknown[]) => unknown {
    return (...args: unknown[]): unknown => {
      const note = (error: unknown): never => {
        if (isRefusal(error)) {
          advise(`tried to ${verb} ${target(args[0])}`, grant, target(args[0]), error);
        }
        throw error;
      };
      try {
        const result = apply(call, self, args);
        return result instanceof Promise ? result.catch(note) : result;
      } catch (error) {
        return note(error);
      }
    };
  }
  function nextCall(): void {
    lines = 0;
    refusals = 0;
  }
  return { send, print, describe, refused, deny, advise, isRefusal, target, watched, nextCall };
}
