"""Trains a small network, one epoch at a time, with checkpoints: a preempted trial goes on where it was."""
import argparse
import json
import os
import pathlib
import signal
import sys

import torch

EPOCHS = 9

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, required=True)
parser.add_argument("--hidden", type=int, required=True)
options = parser.parse_args()

noticed = []
signal.signal(signal.SIGTERM, lambda *_: noticed.append(True))
torch.manual_seed(int(os.environ.get("TRIALOG_SEED", "7")) % 2**63)
device = "cuda" if torch.cuda.is_available() else "cpu"

x = torch.linspace(-3, 3, 512, device=device).unsqueeze(1)
y = torch.sin(2 * x)
model = torch.nn.Sequential(torch.nn.Linear(1, options.hidden), torch.nn.Tanh(), torch.nn.Linear(options.hidden, 1))
model = model.to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)

# There is such a folder only with `checkpoint: true`.
state = pathlib.Path(os.environ.get("TRIALOG_CHECKPOINT_DIR", ".")) / "state.pt"
start = 0
if os.environ.get("TRIALOG_RESUME") == "1":
    saved = torch.load(state)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    start = saved["epoch"]

for epoch in range(start + 1, EPOCHS + 1):
    for _ in range(50):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    draft = state.with_suffix(".draft")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, draft)
    draft.replace(state)
    # One line of JSON is a report; every other line is log.
    print(json.dumps({"trialog": "metric", "name": "loss", "value": loss.item(), "step": epoch}), flush=True)
    if noticed:
        sys.exit(0)

torch.save(model.state_dict(), pathlib.Path(os.environ.get("TRIALOG_OUTPUT_MODEL", ".")) / "model.pt")
