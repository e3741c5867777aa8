"""Compare the rendered chart of a commit with the current one, for all sets of values.

    python -m tests.chart.compare COMMIT

It prints a diff of each object that differs, and of the notes; the exit code is 1 if there is a difference.
"""

from __future__ import annotations

import copy
import difflib
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import yaml

from scripts.flow.names import flow_names
from tests.chart.cases import CASES
from tests.chart.chart import CHART, ROOT, Rendering, notes, profile, render


def chart_of(commit: str, folder: Path) -> Path:
    """Extract the chart of `commit` into `folder`; return its directory."""
    name = CHART.relative_to(ROOT)
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, str(name)], capture_output=True, timeout=60, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder / name


def as_it_was(case: str, chart: Path) -> dict[str, Any]:
    """Return the values of `case` in the form that an older chart accepts.

    A profile is that of the older chart. Keys that it does not have are removed, and the model is moved to
    `executorDefaults` if the chart has no top-level `model`.
    """
    if (chart / "profiles" / f"{case}.yaml").is_file():
        return profile(case, chart)
    known = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    old = copy.deepcopy(CASES[case])
    if "model" in old and "model" not in known:
        old.setdefault("executorDefaults", {})["model"] = old.pop("model")
    return only_known(old, known)


def only_known(values: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Return `values` without the keys that are not in `known`, the content of a values.yaml."""
    return {
        key: only_known(value, known[key]) if isinstance(value, dict) and known[key] else value
        for key, value in values.items()
        if key in known
    }


def difference(what: str, old: str, new: str) -> str:
    """Return a unified diff, empty if the texts are equal."""
    return "".join(
        difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), f"{what} before", what)
    )


def texts(rendering: Rendering) -> dict[str, str]:
    """Return `KIND/NAME` -> object as YAML."""
    return {f"{o['kind']}/{o['metadata']['name']}": yaml.safe_dump(o) for o in rendering.objects}


def main(commit: str) -> int:
    found = 0
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        before = chart_of(commit, Path(folder))
        known = flow_names(before)
        cases = {case: values for case, values in CASES.items() if values.get("flow", known[0]) in known}
        for case, values in cases.items():
            earlier = as_it_was(case, before)
            old, new = texts(render(earlier, chart=before)), texts(render(values))
            pairs = {name: (old.get(name, ""), new.get(name, "")) for name in sorted(old.keys() | new.keys())}
            pairs["notes"] = (notes(earlier, before), notes(values))
            for name, (one, other) in pairs.items():
                if text := difference(f"{case}: {name}", one, other):
                    found += 1
                    sys.stdout.write(text)
    sys.stdout.write(f"{len(cases)} sets of values: {found} differences to {commit}\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
