"""A run: whatever you would start by hand. What it prints is its log, and one line of JSON a metric."""
import json
import os
import pathlib

total = 0
for step in range(1, 6):
    total += step
    print(json.dumps({"trialog": "metric", "name": "total", "value": total, "step": step}), flush=True)
print("the parameters:", json.load(open(os.environ["TRIALOG_PARAMS_FILE"])))
# What is in this folder at the end is kept.
(pathlib.Path(os.environ["TRIALOG_OUTPUT_RESULT"]) / "total.txt").write_text(str(total))
