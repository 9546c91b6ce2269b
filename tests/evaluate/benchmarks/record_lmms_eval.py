"""Records prompts, scores and totals of lmms-eval's own tasks for benchmarks_test.ts.

python3 -m pip download --no-deps lmms-eval==0.7.3   # unpack the wheel into a folder
python3 -m pip install numpy pyyaml
python3 tests/evaluate/benchmarks/record_lmms_eval.py FOLDER > tests/evaluate/benchmarks/lmms_eval_cases.jsonl

Prompts and suffixes come from the task files; the functions are taken out of their files one by one,
so that nothing else has to be installed.
"""

import ast
import json
import pathlib
import random
import re
import statistics
import string
import sys
from collections import defaultdict

import numpy as np
import yaml

ROOT = pathlib.Path(sys.argv[1]) / "lmms_eval"
draw = random.Random(20261201)


class Log:
    def info(self, *_):
        pass

    warning = info


def functions(path, *names, **given):
    """Top-level definitions of a file by name, without its imports and decorators."""
    tree = ast.parse((ROOT / path).read_text())
    space = {
        "re": re, "ast": ast, "statistics": statistics, "string": string, "random": random, "np": np,
        "defaultdict": defaultdict, "eval_logger": Log(), "print": lambda *_, **__: None, **given,
    }
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            node.decorator_list = []
        elif not isinstance(node, (ast.Assign, ast.AnnAssign)) and not (
            isinstance(node, ast.ImportFrom) and node.module == "typing"
        ):
            continue
        try:
            exec(compile(ast.Module([node], []), path, "exec"), space)
        except NameError:
            pass
    space.update(given)
    return [space[name] for name in names]


def task(path):
    """A task file with what it includes."""
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))
    file = ROOT / "tasks" / path
    config = yaml.load(file.read_text(), Loader)
    if "include" in config:
        base = yaml.load((file.parent / config["include"]).read_text(), Loader)
        config = {**base, **config}
    return config


import types

extract = functions("tasks/_task_utils/mcq_extract.py", "extract_mcq_answer")[0]
modules = {"lmms_eval.tasks._task_utils.mcq_extract": types.SimpleNamespace(extract_mcq_answer=extract)}
for name in ("lmms_eval", "lmms_eval.tasks", "lmms_eval.tasks._task_utils"):
    sys.modules[name] = types.ModuleType(name)
for name, module in modules.items():
    made = types.ModuleType(name)
    made.__dict__.update(module.__dict__)
    sys.modules[name] = made

(anls,) = functions("api/metrics.py", "anls")
(exact,) = functions("api/metrics.py", "exact_match_hf_evaluate")
(Processor,) = functions("tasks/_task_utils/vqa_eval_metric.py", "EvalAIAnswerProcessor")
multi, info = functions(
    "tasks/_task_utils/mmmu_mcq_utils.py", "parse_mmmu_multi_choice_response", "get_multi_choice_info"
)

WORDS = (
    "A B C D E (A) (B) B. C: D) a b yes no Yes. NO. y n Y. yes, nope the answer is so therefore = 12 1,234 "
    "12.345 0.125 2.675 -3 1e3 5% left right red because of a car and tree ABC BANANA cat dog １２ straße "
    "İstanbul y=3 final result 正答 don't it's"
).split(" ")
SEPARATORS = [" ", " ", " ", ", ", ". ", "\n", "-", "", " ("]


def text(most=5, least=0):
    words = [draw.choice(WORDS) for _ in range(draw.randint(least, most))]
    return "".join(word + draw.choice(SEPARATORS) for word in words)


def answer_near(*wanted):
    """An answer that is often right."""
    if draw.random() < 0.5:
        return text(9)
    chosen = str(draw.choice(wanted))
    return draw.choice(["", "", " ", "The answer is ", "so ", "("]) + draw.choice(
        [chosen, chosen.lower(), chosen.upper(), chosen + ".", chosen + ". because", chosen + ")"]
    ) + draw.choice(["", "", ".", "\n", " x"])


def default(config):
    return config["lmms_eval_specific_kwargs"]["default"]


def options():
    return [text(2, 1).strip() or "x" for _ in range(draw.randint(2, 5))]


def rows_of(name):
    question = text(6, 2) + draw.choice(["", " Please answer yes or no.", "?", "  "])
    if name in ("docvqa", "infovqa"):
        return {"question": question, "answers": [text(3) for _ in range(draw.randint(1, 3))]}
    if name == "chartqa":
        return {"question": question, "answer": draw.choice([text(1, 1), "12", "0.5", "40%"]),
                "type": draw.choice(["human_test", "augmented_test"])}
    if name == "textvqa":
        few = [text(1, 1) for _ in range(3)]
        return {"question": question, "answers": [draw.choice(few) for _ in range(10)], "question_id": 1}
    if name == "vqav2":
        few = [text(1, 1) for _ in range(3)]
        return {"question": question, "question_id": 1, "answers": [
            {"answer": draw.choice(few), "answer_id": i, "answer_confidence": "yes"} for i in range(10)]}
    if name == "ocrbench":
        answers = [text(2, 1) for _ in range(draw.randint(1, 2))]
        return {"question": question, "answer": draw.choice([answers, answers[0]]),
                "dataset": draw.choice(["HME100k", "IIIT5K"]), "question_type": draw.choice(
                    ["Regular Text Recognition", "Doc-oriented VQA", "Key Information Extraction"])}
    if name.startswith("scienceqa"):
        choices = options()
        return {"question": question, "hint": draw.choice(["", text(4, 1)]), "choices": choices,
                "answer": draw.randrange(len(choices)), "subject": "x"}
    if name == "ai2d":
        choices = options()
        return {"question": question, "options": choices, "answer": str(draw.randrange(len(choices)))}
    if name.startswith("pope"):
        return {"question": question, "answer": draw.choice(["yes", "no", "Yes"]), "question_id": "1"}
    if name == "mmstar":
        category = draw.choice(["math", "instance reasoning"])
        return {"question": question, "answer": draw.choice("ABCD"), "index": 1, "category": category,
                "l2_category": category + draw.choice(["1", "2", "3"])}
    if name == "realworldqa":
        return {"question": question, "answer": draw.choice(["A", "C", "3", "Downhill"])}
    if name == "mme":
        return {"question": question, "answer": draw.choice(["Yes", "No"]), "question_id": "q",
                "category": draw.choice(["existence", "OCR", "code_reasoning"])}
    if name == "mmmu":
        choices = options()
        if draw.random() < 0.7:
            return {"id": f"validation_Art_{draw.randint(1, 30)}", "question": question + "<image 1>",
                    "options": repr(choices), "answer": draw.choice("ABCDE"[: len(choices)]),
                    "question_type": "multiple-choice"}
        return {"id": f"validation_Math_{draw.randint(1, 30)}", "question": question, "options": "[]",
                "answer": draw.choice(["12.35", "1234", "0.12", text(1, 1), "y"]), "question_type": "open"}
    raise KeyError(name)


def wanted(row):
    if "choices" in row or ("options" in row and "id" not in row):
        list_of = row.get("choices") or row["options"]
        return ["ABCDE"[int(row["answer"])], list_of[int(row["answer"])]]
    if "answers" in row:
        return [a["answer"] if isinstance(a, dict) else a for a in row["answers"]]
    return row["answer"] if isinstance(row["answer"], list) else [row["answer"]]


UTILS = {name: f"tasks/{name}/utils.py" for name in (
    "docvqa", "infovqa", "chartqa", "textvqa", "vqav2", "ocrbench", "ai2d", "pope", "mmstar", "realworldqa",
    "mme", "mmmu", "scienceqa")}
FILES = {
    "ai2d": "ai2d/ai2d.yaml", "chartqa": "chartqa/chartqa.yaml", "docvqa": "docvqa/docvqa_val.yaml",
    "infovqa": "infovqa/infovqa_val.yaml", "mme": "mme/mme.yaml", "mmmu": "mmmu/mmmu_val.yaml",
    "mmstar": "mmstar/mmstar.yaml", "ocrbench": "ocrbench/ocrbench.yaml", "pope": "pope/pope.yaml",
    "pope_adv": "pope/pope_adv.yaml", "pope_pop": "pope/pope_pop.yaml", "pope_random": "pope/pope_random.yaml",
    "realworldqa": "realworldqa/realworldqa.yaml", "scienceqa": "scienceqa/scienceqa.yaml",
    "scienceqa_img": "scienceqa/scienceqa_img.yaml", "textvqa": "textvqa/textvqa_val.yaml",
    "vqav2": "vqav2/vqav2_val.yaml",
}
PREFIX = {"scienceqa": "sqa", "scienceqa_img": "sqa"}


class Filter:
    def __init__(self, *_, **__):
        pass


drew = []


class Drawn:
    @staticmethod
    def choice(_):
        drew.append(True)
        return "drawn"


for name, path in FILES.items():
    config = task(path)
    family = path.split("/")[0]
    given = {"EvalAIAnswerProcessor": Processor, "ExtendedRegexFilter": Filter, "MapFilter": Filter,
             "random": Drawn, "config": {"metadata": {"interleaved_format": False}},
             "shared_get_multi_choice_info": info}
    if name == "mmmu":
        given["parse_mmmu_multi_choice_response"] = functions(
            "tasks/_task_utils/mmmu_mcq_utils.py", "parse_mmmu_multi_choice_response", random=Drawn)[0]
    prefix = PREFIX.get(name, family)
    (to_text,) = functions(UTILS[family], f"{prefix}_doc_to_text", **given)
    print(json.dumps({"kind": "facts", "benchmark": name, "hub_id": config["dataset_path"],
                      "config": config.get("dataset_name"), "split": config["test_split"].strip(),
                      "max_new_tokens": config.get("generation_kwargs", {}).get("max_new_tokens")}))
    if name.startswith("pope_"):
        continue
    kept = []
    for _ in range(60):
        row = rows_of(name)
        prediction = answer_near(*wanted(row))
        prompt = to_text(json.loads(json.dumps(row)), default(config))
        result = [prediction.strip()]
        copy = json.loads(json.dumps(row))
        drew.clear()
        if name in ("docvqa", "infovqa"):
            score = anls(row["answers"], result)["anls"]
        elif name == "ai2d":
            to_target, Regex = functions(UTILS[family], "ai2d_doc_to_target", "MultiChoiceRegexFilter", **given)
            filtered = Regex().apply([[prediction]], [row])[0].strip()
            kwargs = {k: config["metric_list"][0][k] for k in ("ignore_case", "ignore_punctuation")}
            score = float(exact([filtered], [to_target(row, "mcq")], **kwargs)["exact_match"])
        elif name == "mmmu":
            process, evaluate = functions(UTILS[family], "mmmu_process_results", "evaluate_mmmu", **given)
            kept.append(process(copy, result)["mmmu_acc"])
            score = evaluate([kept[-1]])[1]["acc"]
        else:
            (process,) = functions(UTILS[family], config["process_results"].split(".")[-1], **given)
            out = process(copy, result)
            first = next(iter(out.values()))
            kept.append((out, row))
            score = first["score"] if isinstance(first, dict) else first
        print(json.dumps({"kind": "row", "benchmark": name, "row": row, "prediction": prediction,
                          "prompt": prompt, "score": float(score), "drawn": bool(drew)}))
    if name == "mmstar":
        (total,) = functions(UTILS[family], "mmstar_aggregate_results")
        print(json.dumps({"kind": "total", "benchmark": name, "total": total([o["average"] for o, _ in kept])}))
    if name == "pope":
        parts = functions(UTILS[family], *(f"pope_aggregate_{p}" for p in
                          ("accuracy", "precision", "recall", "f1_score", "yes_ratio")))
        values = [part([o["pope_accuracy"] for o, _ in kept]) for part in parts]
        print(json.dumps({"kind": "total", "benchmark": name, "total": values[0], "further": values}))
    if name == "ocrbench":
        (total,) = functions(UTILS[family], "ocrbench_aggregate_accuracy", open=lambda *_: __import__("io").StringIO(),
                             generate_submission_file=lambda *_, **__: "", logger=Log())
        value = total([o["ocrbench_accuracy"] for o, _ in kept], None)
        print(json.dumps({"kind": "total", "benchmark": name, "total": value * 1000 / len(kept)}))
    if name == "mme":
        (total,) = functions(UTILS[family], "mme_aggregate_results")
        pairs = [{"question_id": str(i // 2), "category": ["existence", "OCR", "code_reasoning"][i // 2 % 3],
                  "score": float(draw.random() < 0.6)} for i in range(30)]
        print(json.dumps({"kind": "total", "benchmark": name, "pairs": pairs, "total": total(pairs)}))
