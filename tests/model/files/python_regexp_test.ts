import { assert, assertEquals, assertThrows } from "@std/assert";
import { pythonRegExp, PythonRegExpError } from "../../../src/model/files/python_regexp.ts";

const KEYS = [
  "decoder.blocks.0.attn.q_proj",
  "decoder.blocks.1.attn.k_proj",
  "decoder.blocks.12.mlp.up_proj",
  "vision_encoder.blocks.0.mlp.fc1",
  "MP.proj",
  "decoder.head",
  "a]b^c",
];

/** Patterns, and which of the keys Python's `re.fullmatch` accepts; null if Python or we refuse. */
export const PATTERNS: readonly (readonly [string, number[] | null])[] = [
  [String.raw`decoder\..*`, [0, 1, 2, 5]],
  [String.raw`.*\.(q|k)_proj`, [0, 1]],
  [String.raw`(?P<part>decoder|MP)\..*proj`, [0, 1, 2, 4]],
  [String.raw`(?P<a>d).*(?P=a)`, [5]],
  [String.raw`(d).*\1`, [5]],
  [String.raw`(?i)mp\.PROJ`, [4]],
  [String.raw`(?i:mp)\.proj`, null],
  [String.raw`(?is)MP.*`, [4]],
  [String.raw`\AMP\.proj\Z`, [4]],
  [String.raw`^MP\.proj$`, [4]],
  [String.raw`decoder\.blocks\.\d{,1}\.attn\..*`, [0, 1]],
  [String.raw`decoder\.blocks\.\d{2}\..*`, [2]],
  [String.raw`decoder\.blocks\.\d{2,}\..*`, [2]],
  [String.raw`decoder\.blocks\.\d{,}\.mlp\..*`, [2]],
  [String.raw`.*(?<!k)_proj`, [0, 2]],
  [String.raw`.*(?<=q)_proj`, [0]],
  [String.raw`(?!decoder).*`, [3, 4, 6]],
  [String.raw`.*(?#a comment)fc1`, [3]],
  [String.raw`[a-z_]+\.[a-z]+\.[0-9]+\.attn\.[^k]_proj`, [0]],
  [String.raw`a[]]b[\^]c`, [6]],
  [String.raw`a[^x]b\^c`, [6]],
  ["a]b\\^c", [6]],
  [String.raw`MP\x2eproj`, [4]],
  [String.raw`MP\u002eproj`, [4]],
  [String.raw`MP\.p{1}roj`, [4]],
  [String.raw`\w+\.\w+`, [4, 5]],
  [String.raw`MP.proj|decoder.head`, [4, 5]],
  [String.raw`decoder(?:\.head)?`, [5]],
  [String.raw`.*?fc\d`, [3]],
  ["MP{proj", []],
  // Refused: JavaScript's alone, Python's alone without a translation, or neither's.
  [String.raw`(?<part>decoder).*`, null],
  [String.raw`decoder\.\p{L}+`, null],
  [String.raw`(?<=a+)b`, null],
  [String.raw`(?<=a|bc)d`, null],
  [String.raw`decoder.*+x`, null],
  [String.raw`(?>decoder).*`, null],
  [String.raw`(d)?(?(1)a|b)`, null],
  [String.raw`a(?i)b`, null],
  [String.raw`(?x) a b`, null],
  [String.raw`\N{DIGIT ONE}`, null],
  [String.raw`\cA`, null],
  [String.raw`[^]`, null],
  ["(", null],
  [")", null],
  ["*a", null],
  ["a**", null],
  ["^*", null],
  ["[a", null],
  ["a\\", null],
  [String.raw`\2(a)(b)`, null],
  [String.raw`(?P<a>x)(?P<a>y)`, null],
  ["[z-a]", null],
];

for (const [pattern, want] of PATTERNS) {
  Deno.test(`pythonRegExp() reads ${JSON.stringify(pattern)} as Python does, or refuses it`, () => {
    if (want === null) {
      assertThrows(() => pythonRegExp(pattern), PythonRegExpError, "Cannot use the regular");
      return;
    }
    const expression = pythonRegExp(pattern);
    assertEquals(KEYS.flatMap((key, i) => expression.test(key) ? [i] : []), want);
  });
}

Deno.test("what pythonRegExp() accepts Python reads in the same way", async () => {
  const script = `import json, re, sys
out = []
for pattern in json.loads(sys.argv[1]):
    try:
        found = re.compile(pattern)
        out.append([i for i, key in enumerate(json.loads(sys.argv[2])) if found.fullmatch(key)])
    except Exception as error:
        out.append(None)
print(json.dumps(out))`;
  let output;
  try {
    output = await new Deno.Command("python3", {
      args: ["-c", script, JSON.stringify(PATTERNS.map(([p]) => p)), JSON.stringify(KEYS)],
    }).output();
  } catch {
    console.log("no python3: not compared with Python");
    return;
  }
  const python: (number[] | null)[] = JSON.parse(new TextDecoder().decode(output.stdout));
  PATTERNS.forEach(([pattern, want], i) => {
    if (want !== null) assertEquals(python[i], want, pattern);
  });
  assert(python.some((one) => one === null));
});
