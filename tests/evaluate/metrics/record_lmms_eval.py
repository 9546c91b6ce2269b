"""Records the values of lmms-eval's own functions for score_answer_test.ts.

python3 -m pip download --no-deps lmms-eval==0.7.3   # unpack the wheel into a folder
python3 tests/evaluate/metrics/record_lmms_eval.py FOLDER > tests/evaluate/metrics/lmms_eval_cases.jsonl

The functions are taken out of their files one by one, so that nothing else has to be installed.
"""

import ast
import json
import pathlib
import random
import re
import statistics
import sys

ROOT = pathlib.Path(sys.argv[1]) / "lmms_eval"


def functions(path, *names, **given):
    """Top-level definitions of a file by name, without its imports and decorators."""
    tree = ast.parse((ROOT / path).read_text())
    space = {"re": re, "statistics": statistics, **given}
    body = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            node.decorator_list = []
            body.append(node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            body.append(node)
        elif isinstance(node, ast.ImportFrom) and node.module == "typing":
            body.append(node)
        elif isinstance(node, ast.Import) and all(
            alias.name in ("re", "string", "collections", "math") for alias in node.names
        ):
            body.append(node)
    for node in body:
        try:
            exec(compile(ast.Module([node], []), path, "exec"), space)
        except NameError:
            pass
    return [space[name] for name in names]


(anls,) = functions("api/metrics.py", "anls")
(relaxed,) = functions("tasks/chartqa/utils.py", "relaxed_correctness")
(Processor,) = functions("tasks/_task_utils/vqa_eval_metric.py", "EvalAIAnswerProcessor")
(textvqa,) = functions("tasks/textvqa/utils.py", "textvqa_process_results", EvalAIAnswerProcessor=Processor)
(vqav2,) = functions("tasks/vqav2/utils.py", "vqav2_process_results", EvalAIAnswerProcessor=Processor)
(extract,) = functions("tasks/_task_utils/mcq_extract.py", "extract_mcq_answer")
(ocrbench,) = functions("tasks/ocrbench/utils.py", "ocrbench_process_results")
(pope,) = functions("tasks/pope/utils.py", "pope_process_results")
parse_box, accuracy = functions("tasks/refcoco/utils_rec.py", "parse_float_sequence_within", "compute_accuracy")
(f1,) = functions("tasks/mmsearch/score/f1_score.py", "get_f1_score")

WORDS = (
    "a an the two three none ten cat dog dont don't its it's o'clock oclock shes whats somebody'd y'alll "
    "red blue-green 1,000 1000 10:30 5 5.0 5% 50% .5 0.05 1e3 1_000 nan inf -inf -5.2 +7 ٣ ½ ² straße STRASSE "
    "İstanbul ΣΑΣ ABC １２ ABC　D yes no Yes. NO, answer is A B (C) D. D: E) I think because and or & \"x\" "
    "[0.1, 0.2, 0.5, 0.9] [0, 0, 10, 10] [1,1,9,9] [ -1, 0, 3.5, 4 ] U.S.A. 3.5. ... a.b.c don't? it's! "
    "x\u00a0y x\u0085y x\u001cy \ufeffx tab\tx line\nbreak 正答 答案是 정답은 선 {z} <w> under_score 5/6 a+b"
).split(" ")
SEPARATORS = [" ", " ", " ", "  ", ", ", ". ", "\n", "-", "", "\t", "? ", " ("]

draw = random.Random(20261130)


def text(most=5):
    words = [draw.choice(WORDS) for _ in range(draw.randint(0, most))]
    return "".join(word + draw.choice(SEPARATORS) for word in words)


def mutated(original):
    """A text near another one."""
    kind = draw.randrange(6)
    if kind == 0:
        return original
    if kind == 1:
        return original.upper()
    if kind == 2:
        return f" {original}. "
    if kind == 3 and len(original) > 1:
        at = draw.randrange(len(original))
        return original[:at] + original[at + 1 :]
    if kind == 4:
        return original + draw.choice(WORDS)
    return text()


cases = []


def add(metric, prediction, answers, value, **more):
    cases.append({"metric": metric, "prediction": prediction, "answers": answers, "value": float(value), **more})


for _ in range(70):
    answers = [text() for _ in range(draw.randint(1, 3))]
    prediction = mutated(answers[0])
    add("anls", prediction, answers, anls(answers, [prediction])["anls"])
    add("token_f1", prediction, answers[:1], f1(prediction, answers[0]))
    answer = draw.choice(WORDS)
    prediction = draw.choice([mutated(answer), draw.choice(WORDS)])
    add("relaxed_accuracy", prediction, [answer], relaxed(prediction, answer))
    number = draw.uniform(-100, 100)
    answer, prediction = f"{number:.3g}", f"{number * draw.uniform(0.93, 1.07):.4g}"
    add("relaxed_accuracy", prediction, [answer], relaxed(prediction, answer))
    pool = [text(3) for _ in range(3)]
    people = [draw.choice([*pool, mutated(pool[0])]) for _ in range(draw.choice([1, 3, 10]))]
    prediction = mutated(pool[0])
    doc = {"question_id": 0, "answers": list(people)}
    add("vqa_accuracy", prediction, people, textvqa(doc, [prediction])["exact_match"], style="textvqa")
    doc = {"question_id": 0, "answers": [{"answer": one, "answer_id": i} for i, one in enumerate(people)]}
    add("vqa_accuracy", prediction, people, vqav2(doc, [prediction])["exact_match"], style="vqav2")
    prediction = draw.choice([text(), f"The answer is {draw.choice('ABCDE')}{draw.choice(['', '.', ' because I', ')'])}"])
    choices = draw.choice([None, list("ABCD"), list("ABCDEFGH"), list("AB")])
    letter = extract(prediction, choices=choices or list("ABCD"))
    answer = draw.choice([letter or "A", "b", "C "])
    value = letter == answer.strip().upper()
    more = {} if choices is None else {"choices": choices}
    add("choice", prediction, [answer], value, letter=letter, **more)
    answers = [text(2) for _ in range(draw.randint(1, 2))]
    prediction = draw.choice([text(), f"{text(1)}{mutated(answers[0])}{text(1)}"])
    for style, dataset in (("text", "x"), ("no_spaces", "HME100k")):
        doc = {"answer": answers, "dataset": dataset, "question_type": "x"}
        value = ocrbench(doc, [prediction])["ocrbench_accuracy"]["score"]
        add("contains", prediction, answers, value, style=style)
    answer = draw.choice(["yes", "no", " Yes", "NO"])
    prediction = draw.choice(["yes", "no", "Yes.", " no ", "YES\n", "\ufeffyes", "no\u0085"])
    value = pope({"answer": answer, "question_id": 0}, [prediction])["pope_accuracy"]["score"]
    add("yes_no", prediction, [answer], value)
    wanted = [draw.randint(0, 4), draw.randint(0, 4), draw.randint(6, 10), draw.randint(6, 10)]
    given = [value + draw.choice([0, 0, 1, -1, 0.5]) for value in wanted]
    answer, prediction = str(wanted), draw.choice([f"{text(2)}{given}", str(given), text()])
    add("box_iou_50", prediction, [answer], accuracy(parse_box(answer), parse_box(prediction)))

for case in cases:
    print(json.dumps(case))
