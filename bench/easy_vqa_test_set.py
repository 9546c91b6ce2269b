"""Writes the test split of the PyPI package `easy-vqa` (1,000 pictures) as rows for `eval`.

    pip install --no-deps easy-vqa==1.0
    python bench/easy_vqa_test_set.py FOLDER

Writes FOLDER/test.jsonl (rows of `dataset_format: vqa`) and the pictures beside it.
"""

import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path

from easy_vqa import get_test_image_paths, get_test_questions

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
turns = defaultdict(list)
for question, answer, picture in zip(*get_test_questions()):
    turns[picture].append({"user": question[0].upper() + question[1:], "assistant": answer})
paths = get_test_image_paths()
with open(folder / "test.jsonl", "w") as file:
    for picture, texts in turns.items():
        name = f"{picture}.png"
        shutil.copyfile(paths[picture], folder / name)
        file.write(json.dumps({"images": [name], "texts": texts}) + "\n")
print(f"{len(turns)} pictures, {sum(map(len, turns.values()))} questions")
