/**
 * The inner part of the child. It runs in a Worker of the child process, links the checked modules
 * and calls their functions. It shares its isolate with the reward module, so it is not trusted: the
 * guard, which runs in another isolate, checks its reports, and the host checks them again. The realm
 * removes the real `Deno`, `process`, Workers and the loader; this is a second wall. The first is
 * that the process has no permissions.
 *
 * The child gets this very function as text (see program.ts): it must not use anything from
 * outside its own body.
 */
import type { RealmGlobals } from "./realm_globals.ts";
import type { RealmModules } from "./realm_modules.ts";
import type { RealmVoice } from "./realm_voice.ts";
import type { Codec } from "./codec.ts";
import type { ImportRequest, RealmOrder, RealmReport } from "./protocol.ts";

/** Executes the guard's orders. Called once, before any module of the user. */
export function realmMain(
  codec: Codec,
  { send, print, describe, nextCall }: RealmVoice,
  { stopTimers, listen, setReads }: RealmGlobals,
  modules: RealmModules,
): void {
  const apply = Reflect.apply;
  let linked = false;

  async function call(id: number, name: string, encoded: Uint8Array): Promise<void> {
    let report: RealmReport;
    try {
      const args = codec.decode(encoded) as unknown[];
      const result: unknown = await apply(modules.functions[name], undefined, args);
      report = { type: "result", id, value: result, error: null };
      stopTimers();
      send(report);
    } catch (error) {
      stopTimers();
      send({ type: "result", id, error: describe(error) + modules.place(error) });
    }
    nextCall();
  }
  async function obey(order: RealmOrder): Promise<void> {
    switch (order.type) {
      case "call":
        return await call(order.id, order.name, order.args);
      case "parse":
        if (linked) return;
        try {
          const requests: ImportRequest[] = [];
          for (const source of order.modules) requests.push(...modules.parse(source));
          send({ type: "parsed", requests, error: null });
        } catch (error) {
          send({ type: "parsed", requests: [], error: describe(error) });
        }
        return;
      case "link":
        if (linked) return;
        linked = true;
        setReads(order.reads);
        try {
          const names = await modules.link(order.entry, order.resolutions);
          send({ type: "linked", names, error: null });
        } catch (error) {
          send({ type: "linked", names: [], error: describe(error) + modules.place(error) });
        }
    }
  }
  const stopEvent = Event.prototype.stopImmediatePropagation;
  const preventDefault = Event.prototype.preventDefault;
  listen("message", (event) => {
    apply(stopEvent, event, []);
    obey((event as MessageEvent<RealmOrder>).data);
  });
  for (const kind of ["error", "unhandledrejection"]) {
    listen(kind, (event) => {
      apply(preventDefault, event, []);
      apply(stopEvent, event, []);
      const { error, reason } = event as { error?: unknown; reason?: unknown };
      print(`uncaught: ${describe(kind === "error" ? error : reason)}`);
    });
  }
}
