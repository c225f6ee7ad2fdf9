"""Tasks: from texts to answers with one call, as transformers' pipelines give them.

import bertcpp
classify = bertcpp.pipeline("text-classification", model="./my-classifier")
classify(["A film to see twice.", "Two hours of my life."], top_k=2)

A task is a file here with a class over `task.Task`; `loading` has the table of them.
"""

from __future__ import annotations

from .loading import ALIASES, TASKS, pipeline

__all__ = ["ALIASES", "TASKS", "pipeline"]
