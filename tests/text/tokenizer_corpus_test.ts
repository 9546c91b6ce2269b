/** Ids of the Rust library on a corpus in several scripts: recorded, and live if Python has it. */
import { assert, assertEquals } from "@std/assert";
import { Tokenizer } from "../../src/text/tokenizer.ts";

interface Corpus {
  texts: string[];
  cases: { name: string; tokenizer: unknown; ids: number[][]; decoded: string[] }[];
}

async function readCorpus(path: string | URL): Promise<Corpus> {
  const file = await Deno.open(path);
  return await new Response(file.readable.pipeThrough(new DecompressionStream("gzip"))).json();
}

const recorded = await readCorpus(new URL("./tokenizer_cases.json.gz", import.meta.url));

for (const { name, tokenizer: json, ids, decoded } of recorded.cases) {
  Deno.test(`encode() and decode() equal the Rust library: ${name}`, () => {
    const tokenizer = Tokenizer.fromJson({ tokenizer: json });
    recorded.texts.forEach((text, i) => {
      assertEquals(tokenizer.encode(text), ids[i], JSON.stringify(text));
      assertEquals(tokenizer.decode(ids[i]), decoded[i], JSON.stringify(text));
    });
  });
}

/** `NANOVLM_TEST_PYTHON` names a Python with tokenizers; else `python3`. */
const python = Deno.env.get("NANOVLM_TEST_PYTHON") ?? "python3";
function hasTokenizers(): boolean {
  try {
    return new Deno.Command(python, { args: ["-c", "import tokenizers"], stderr: "null" })
      .outputSync().success;
  } catch {
    return false;
  }
}
const found = hasTokenizers();
const reason = found ? "" : ` (skipped: ${python} cannot import tokenizers)`;

Deno.test({
  name: `encode() equals the installed Rust library${reason}`,
  ignore: !found,
  async fn() {
    const path = await Deno.makeTempFile({ suffix: ".json.gz" });
    try {
      const script = new URL("./make_tokenizer_cases.py", import.meta.url).pathname;
      const { success, stderr } = await new Deno.Command(python, { args: [script, path] }).output();
      assert(success, new TextDecoder().decode(stderr));
      const live = await readCorpus(path);
      for (const { name, tokenizer: json, ids } of live.cases) {
        const tokenizer = Tokenizer.fromJson({ tokenizer: json });
        const got = live.texts.map((text) => tokenizer.encode(text));
        assertEquals(got, ids, name);
      }
    } finally {
      await Deno.remove(path);
    }
  },
});

const shared = new URL("../../../shared/cases/", import.meta.url);
function hasFolder(name: string): boolean {
  try {
    return Deno.statSync(new URL(name, shared)).isDirectory;
  } catch {
    return false;
  }
}
const hasCases = hasFolder("tokenizer_digits");
const noCases = hasCases ? "" : " (skipped: shared/cases is missing)";

async function readJson<T>(path: string): Promise<T> {
  return JSON.parse(await Deno.readTextFile(new URL(path, shared)));
}

Deno.test({
  name: `Digits splits at every numeral of Unicode${noCases}`,
  ignore: !hasCases,
  async fn() {
    const tokenizer = await Tokenizer.fromFolder(new URL("tokenizer_digits", shared).pathname);
    for (const [text, ids] of await readJson<[string, number[]][]>("tokenizer_digits/want.json")) {
      assertEquals(tokenizer.encode(text), ids, text);
    }
  },
});

interface SpecialCases {
  text: string;
  ids_to_decode: number[];
  "transformers 4.57.6": Record<
    string,
    { encode: number[]; decode_skipping_special: string; length: number }
  >;
}

Deno.test({
  name: `special tokens are those of Transformers${noCases}`,
  ignore: !hasCases,
  async fn() {
    const want = await readJson<SpecialCases>("tokenizer_special/want.json");
    for (const [name, one] of Object.entries(want["transformers 4.57.6"])) {
      const folder = new URL(`tokenizer_special/${name}`, shared).pathname;
      const tokenizer = await Tokenizer.fromFolder(folder);
      assertEquals(tokenizer.encode(want.text), one.encode, name);
      const text = tokenizer.decode(want.ids_to_decode, { skipSpecialTokens: true });
      assertEquals(text, one.decode_skipping_special, name);
      assertEquals(tokenizer.vocabSize, one.length, name);
    }
  },
});
