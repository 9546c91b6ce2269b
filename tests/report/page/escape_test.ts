import { assert, assertEquals } from "@std/assert";
import { escapeHtml, jsonForScript } from "../../../src/report/page/escape.ts";

Deno.test("escapeHtml() leaves nothing that starts a tag, ends an attribute or reverses text", () => {
  assertEquals(
    escapeHtml(`<b a="1" b='2'>&amp;\u202e\0</b>\r\n\t`),
    "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;amp;\ufffd\ufffd&lt;/b&gt;\n\t",
  );
});

Deno.test("jsonForScript() cannot end its script element, and parses to the same value", () => {
  const value = { key: "</script><!--<script>\u2028&", n: [1, null] };
  const text = jsonForScript(value);
  assert(!/[<>&\u2028]/.test(text));
  assertEquals(JSON.parse(text), value);
});
