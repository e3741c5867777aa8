"""Shows the demo's results: the table of documents, the rankings, the contact sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from scripts.demo import contact_sheet
from scripts.demo.checks import unit
from scripts.demo.contact_sheet import Match, Ranking
from scripts.demo.encode import Request, Result
from scripts.demo.pictures import Picture

_SHOWN = 5  # images per ranking in text output


def print_table(work: Sequence[Request], by_grpc: Sequence[Result], by_http: Sequence[Result]) -> None:
    """Print one row per request: document, content, shape, milliseconds per document."""
    table = Table("document", "content", box=box.SIMPLE_HEAD, header_style="bold")
    for heading in ("shape", "gRPC ms", "HTTP ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for request, grpc, http in zip(work, by_grpc, by_http, strict=True):
        shapes = {str(e.shape) for e in grpc.embeddings.values() if e is not None}
        shape = ", ".join(sorted(shapes)) or "none"
        table.add_row(request.name, request.content, shape, f"{grpc.milliseconds:.1f}", f"{http.milliseconds:.1f}")
    Console().print(table)
    print("         ms: from call to response, per document of the request\n", flush=True)


def rank(
    pictures: Sequence[Picture], embeddings: np.ndarray, queries: Mapping[str, set[str]], texts: np.ndarray
) -> list[Ranking]:
    """Rank all images for each query, best first.

    :param pictures: images.
    :param embeddings: embeddings of the images, (n, dim).
    :param queries: query -> names of the images that are correct matches.
    :param texts: embeddings of the queries, (m, dim).
    """
    rankings = []
    for (query, right), cosines in zip(queries.items(), unit(texts) @ unit(embeddings).T, strict=True):
        best = [(pictures[i], float(cosines[i])) for i in np.argsort(-cosines, kind="stable")]
        rankings.append(Ranking(query, [Match(p.path, cosine, p.name in right) for p, cosine in best]))
    return rankings


def print_rankings(rankings: Sequence[Ranking]) -> None:
    """Print the top of each ranking, with a tick at correct matches."""
    for ranking in rankings:
        shown = (f"{Picture(m.picture).name} {m.cosine:.2f}{' ✓' if m.right else ''}" for m in ranking.matches[:_SHOWN])
        print(f"         {ranking.query}\n             {', '.join(shown)}")
    print(flush=True)


def draw_sheet(output: Path, model: str, rankings: Sequence[Ranking], seconds: float) -> None:
    """Write the contact sheet.

    :param output: image file to write.
    :param model: model name or path.
    :param rankings: rankings to draw.
    :param seconds: time to encode the images, in seconds.
    """
    count = len(rankings[0].matches)
    unseen = ", in a style that the model has never seen" if model == "emoji-tiny" else ""
    sheet = contact_sheet.draw(
        "Words find pictures",
        f"{count} emoji{unseen}, ranked for {len(rankings)} texts: a Jina Flow encoded both with CLIP",
        rankings,
        f"{Path(model).name if Path(model).exists() else model}  ·  {count} pictures  ·  encoded in {seconds:.1f} s",
    )
    sheet.save(output, optimize=True)
