"""Writes tokenizer_cases.json.gz: small tokenizers of many kinds, texts in several scripts, and the
ids that the Rust library gives. Run with a Python that has `tokenizers`
(the recorded ones are of 0.22.2):

    python3 make_tokenizer_cases.py OUT.json.gz   # default: tokenizer_cases.json.gz beside this file
"""
import gzip
import json
import pathlib
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import trainers

TEXTS = [
    "How many red circles are there? 12 + 34 = 46.",
    "add ½ cup, x² + y³, area in m ², ① ② ③, Ⅷ. chapter",
    "في ٢٠٢٤ كان السعر ٣٫٥ ريال",
    "価格123円、第 3 号。「これは何ですか」",
    "१२३ नमस्ते दुनिया ๑๒๓ สวัสดี ১২ বাংলা",
    "Ελληνικά ΟΔΟΣ ΣΊΣΥΦΟΣ Σ, Straße, İstanbul, ﬁne",
    "Zażółć gęślą jaźń; naïve café cafe\u0301 A\u030a",
    "line\u0085next \ufeffstart\u00a0nbsp\u2003em\u3000ideographic\u200bzero\u2028ls",
    "  two  spaces\tand\ttabs\n\nnewlines \r\n end  ",
    "don't I'LL we're 'tis rock'n'roll's",
    "mañana—“quoted”… ‘single’ «guillemets» $5+€6<7>8=9^`|~_@#",
    "🙂👩‍👩‍👧 🇩🇪 𝒳 𠀀𠀁 \u0000\u0007 \u001c\u001f",
    "한국어 텍스트 ㄱㄴ 123",
    "Привет, мир! Ёлка ѣ Їжак",
    "שלום עולם ־ ״ 12",
    "CamelCase snake_case kebab-case 3.14e-10 0xFF a1b2c3",
    "<|im_start|>user\nHi<|im_end|> <|im_end|>x <|im_endx|>",
    "<think> maybe</think>  mask  <mask>  now, <mask>? word words wordword sword word",
    "¼ ⅓ ٪ ％ № ℃ Ångström Ⅻ ⑩ 二十 〇",
    "ab<|im_start|><|im_start|> \u0085<mask>\ufeff x",
    "\u1cf2\u0903\u093e\u200d\u200cword\u0301 _word word_ 9word ·word",
    "a",
    " ",
    "\ufeff",
    "Δx ≈ ∑∞ √2 × 10⁻³ ∈ ℝ",
]
LETTERS = " ".join(TEXTS)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def bpe(pre, normalizer=None, alphabet=True, decoder=None, vocab=340, model=None):
    tokenizer = Tokenizer(model or models.BPE())
    tokenizer.pre_tokenizer = pre
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if decoder is not None:
        tokenizer.decoder = decoder
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        show_progress=False,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else [],
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return tokenizer


def with_tokens(tokenizer):
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=False)])
    tokenizer.add_tokens([
        AddedToken("word", single_word=True, normalized=False),
        AddedToken("</think>", rstrip=True),
        AddedToken("CamelCase", normalized=True),
        AddedToken("ΟΔΟΣ", normalized=True),
        AddedToken("<think>", special=True),
    ])
    return tokenizer


byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
byte_decoder = decoders.ByteLevel()
only_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)


def sequence(*parts):
    return pre_tokenizers.Sequence(list(parts))


def split(behavior, invert=False, pattern=Regex(r"\s|\d")):
    return sequence(pre_tokenizers.Split(pattern, behavior, invert), only_bytes)


def word_model(model, pre, normalizer=None):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    return tokenizer


def cases():
    smollm = sequence(pre_tokenizers.Digits(individual_digits=True), byte_level)
    yield "smollm2", bpe(smollm, decoder=byte_decoder)
    yield "smollm2 with added tokens", with_tokens(bpe(smollm, decoder=byte_decoder))
    yield "gpt2", bpe(byte_level, decoder=byte_decoder)
    yield "gpt2 with prefix space", with_tokens(
        bpe(pre_tokenizers.ByteLevel(add_prefix_space=True), decoder=byte_decoder))
    yield "qwen2", with_tokens(bpe(
        sequence(pre_tokenizers.Split(Regex(QWEN), "isolated"), only_bytes),
        normalizers.NFC(), decoder=byte_decoder))
    yield "llama3", with_tokens(bpe(
        sequence(pre_tokenizers.Split(Regex(LLAMA3), "isolated"), only_bytes),
        decoder=byte_decoder, model=models.BPE(ignore_merges=True)))
    yield "digits together", bpe(sequence(pre_tokenizers.Digits(), byte_level))
    for behavior in ["removed", "isolated", "contiguous", "merged_with_previous",
                     "merged_with_next"]:
        yield f"split {behavior}", bpe(split(behavior))
        yield f"split {behavior} inverted", bpe(split(behavior, True))
    yield "split string", bpe(split("merged_with_next", pattern="word"))
    for behavior in ["isolated", "contiguous", "merged_with_previous"]:
        yield f"punctuation {behavior}", bpe(
            sequence(pre_tokenizers.Punctuation(behavior), only_bytes))
    yield "whitespace", bpe(sequence(pre_tokenizers.Whitespace(), only_bytes))
    yield "whitespace split", bpe(sequence(pre_tokenizers.WhitespaceSplit(), only_bytes))
    yield "bert words", bpe(sequence(pre_tokenizers.BertPreTokenizer(), only_bytes))
    yield "delimiter", bpe(sequence(pre_tokenizers.CharDelimiterSplit("a"), only_bytes))
    yield "unicode lower", with_tokens(bpe(byte_level, normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase()]), decoder=byte_decoder))
    yield "strip accents", bpe(byte_level, normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Strip()]))
    yield "replace", bpe(byte_level, normalizers.Sequence(
        [normalizers.Replace(Regex(r"\s+"), "$&_"), normalizers.Prepend("▁")]))
    bert = normalizers.BertNormalizer()
    yield "bert normalizer", bpe(byte_level, bert)
    yield "bert cased", bpe(byte_level, normalizers.BertNormalizer(lowercase=False))
    for scheme in ["always", "first", "never"]:
        yield f"metaspace {scheme}", with_tokens(bpe(
            pre_tokenizers.Metaspace(prepend_scheme=scheme), alphabet=False, vocab=600,
            decoder=decoders.Metaspace(prepend_scheme=scheme),
            model=models.BPE(unk_token="<|endoftext|>")))
    llama = models.BPE(unk_token="<|endoftext|>", byte_fallback=True, fuse_unk=True)
    llama_tokenizer = bpe(None, normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), alphabet=False, vocab=560,
        model=llama)
    vocab = llama_tokenizer.get_vocab()
    data = json.loads(llama_tokenizer.to_str())
    rare = {"🙂", "한", "ѣ", "𠀀"}
    vocab = {t: i for t, i in data["model"]["vocab"].items() if not rare & set(t)}
    for byte in range(256):
        vocab[f"<0x{byte:02X}>"] = max(vocab.values()) + 1
    data["model"]["vocab"] = {t: i for i, t in enumerate(vocab)}
    data["model"]["merges"] = [m for m in data["model"]["merges"] if not rare & set("".join(m))]
    data["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
        {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    yield "llama", Tokenizer.from_str(json.dumps(data))
    data["model"]["byte_fallback"] = False
    yield "fused unknown", Tokenizer.from_str(json.dumps(data))
    data["model"]["fuse_unk"] = False
    yield "unknown", Tokenizer.from_str(json.dumps(data))
    wordpiece = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    wordpiece.normalizer = bert
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    wordpiece.train_from_iterator(TEXTS * 3, trainers.WordPieceTrainer(
        vocab_size=500, show_progress=False, special_tokens=["[UNK]", *SPECIAL]))
    wordpiece.decoder = decoders.WordPiece()
    yield "bert", wordpiece
    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.train_from_iterator(TEXTS[:12], trainers.WordLevelTrainer(
        show_progress=False, special_tokens=["[UNK]", *SPECIAL]))
    yield "words", words
    unigram = Tokenizer(models.Unigram())
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.train_from_iterator(TEXTS * 3, trainers.UnigramTrainer(
        vocab_size=300, show_progress=False, unk_token="<unk>",
        special_tokens=["<unk>", *SPECIAL]))
    yield "unigram", unigram


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else (
        pathlib.Path(__file__).parent / "tokenizer_cases.json.gz")
    recorded = []
    for name, tokenizer in cases():
        encoded = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
        decoded = [tokenizer.decode(ids, skip_special_tokens=False) for ids in encoded]
        recorded.append({
            "name": name,
            "tokenizer": json.loads(tokenizer.to_str()),
            "ids": encoded,
            "decoded": decoded,
        })
    text = json.dumps({"tokenizers": tokenizers.__version__, "texts": TEXTS, "cases": recorded},
                      ensure_ascii=False, separators=(",", ":"))
    out.write_bytes(gzip.compress(text.encode(), mtime=0))


main()
