/**
 * The child's program as text. It is assembled from the source text of functions, so that it is
 * type-checked like the rest and needs no file at run time: this library may have been loaded over
 * http.
 */
import { guardMain } from "./guard.ts";
import { realmMain } from "./realm.ts";
import { replaceGlobals } from "./realm_globals.ts";
import { makeRealmModules } from "./realm_modules.ts";
import { makeRealmVoice } from "./realm_voice.ts";
import { makeCodec } from "./codec.ts";
import { makeFrames } from "./frames.ts";

/** The entry of `deno run`: reads the key and the program from stdin and runs it. */
const STUB = `const read = async (size) => {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size;) {
    const n = await Deno.stdin.read(bytes.subarray(at));
    if (n === null) Deno.exit(0);
    at += n;
  }
  return bytes;
};
const head = await read(52);
const size = new DataView(head.buffer).getUint32(0);
const program = new TextDecoder().decode(await read(size));
const { start } = await import(program);
await start(head.slice(4, 20), head.slice(20), read);`;

function dataUrl(program: string): string {
  const bytes = new TextEncoder().encode(program);
  return `data:application/javascript;base64,${bytes.toBase64()}`;
}

function realmProgram(): string {
  return `import vm from "node:vm";
import module from "node:module";
${makeCodec}
${makeRealmVoice}
${replaceGlobals}
${makeRealmModules}
${realmMain}
const { SourceTextModule, SyntheticModule } = vm;
const { stripTypeScriptTypes } = module;
const codec = makeCodec();
const voice = makeRealmVoice();
const globals = replaceGlobals(voice);
const modules = makeRealmModules({ SourceTextModule, SyntheticModule, stripTypeScriptTypes }, voice);
realmMain(codec, voice, globals, modules);`;
}

function guardProgram(): string {
  return `${makeCodec}
${makeFrames}
${guardMain}
export async function start(magic, key, read) {
  const frames = await makeFrames(magic, key, 1);
  await guardMain({ magic, frames, codec: makeCodec(), read, realm: ${
    JSON.stringify(dataUrl(realmProgram()))
  } });
}`;
}

let program: Uint8Array<ArrayBuffer> | undefined;

/** The entry of the child: a `data:` URL, short enough for any system's command line. */
export const childEntry: string = dataUrl(STUB);

/** The first bytes on the child's stdin: size, magic, key, program. */
export function childPreamble(magic: Uint8Array, key: Uint8Array): Uint8Array<ArrayBuffer> {
  program ??= new TextEncoder().encode(dataUrl(guardProgram()));
  const bytes = new Uint8Array(52 + program.length);
  new DataView(bytes.buffer).setUint32(0, program.length);
  bytes.set(magic, 4);
  bytes.set(key, 20);
  bytes.set(program, 52);
  return bytes;
}
