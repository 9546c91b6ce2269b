#!/usr/bin/env bash
# @huggingface/tokenizers (npm) 0.2.0 gives other ids than the Rust library tokenizers 0.22.2 for the
# same tokenizer.json, without an error: `Digits`, which SmolLM2 has, splits at 0 to 9 alone and not at
# ½ or ²; and `single_word` of an added token is ignored. Exits 1 if the two agree.
# Needs node, npm and python3 with venv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet tokenizers==0.22.2
npm install --silent --no-fund --no-audit @huggingface/tokenizers@0.2.0 > /dev/null

cat > make.py << 'PY'
import json
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
vocab = {c: i for i, c in enumerate(alphabet)}
# ½ is the bytes C2 BD, which byte-level BPE writes as Â½; "x½" is one token.
merges = [("Â", "½"), ("x", "Â½")]
for a, b in merges:
    vocab[a + b] = len(vocab)
tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
    pre_tokenizers.Digits(individual_digits=True),
    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
])
tokenizer.add_tokens([AddedToken("word", single_word=True, normalized=False)])
tokenizer.save("tokenizer.json")
print(json.dumps([tokenizer.encode(text).ids for text in ["x½", "sword"]]))
PY
cat > encode.mjs << 'JS'
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";
const tokenizer = new Tokenizer(JSON.parse(readFileSync("tokenizer.json", "utf8")), {});
const ids = ["x½", "sword"].map((text) => tokenizer.encode(text).ids);
console.log(JSON.stringify(ids).replaceAll(",", ", "));
JS
rust=$(venv/bin/python make.py)
javascript=$(node encode.mjs)
echo "tokenizers 0.22.2:              $rust"
echo "@huggingface/tokenizers 0.2.0:  $javascript"
[ "$rust" != "$javascript" ]
