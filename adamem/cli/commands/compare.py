"""`adamem compare`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from adamem.bench import Experiment, sweep_grid, validate
from adamem.cli.app import app
from adamem.cli.commands.run import finish
from adamem.errors import InvalidInput
from adamem.files import content_key
from adamem.index import index_class
from adamem.studies.sweep import SweepStudy

_REFERENCE = "hnsw"


@app.command()
def compare(
    dataset: Annotated[str, typer.Option(help="A data set's name (`adamem data list`), or a file or folder of yours.")],
    index: Annotated[list[str], typer.Option(help="An index's name (`adamem index list`); give several.")],
    metric: Annotated[str | None, typer.Option(help="l2, cosine or ip; the data set's own where left out.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="For texts: minilm, lsa, hashing, a hub name or a folder; else EMBED_MODEL.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use only the first so many vectors.")] = None,
    queries: Annotated[int, typer.Option(help="Distinct queries to draw; half calibrate, half are the test.")] = 1000,
    k: Annotated[int, typer.Option("-k", "--k", help="How many neighbours to ask for.")] = 10,
    rounds: Annotated[int, typer.Option(help="How often everything is timed.")] = 3,
    seeds: Annotated[int, typer.Option(help="How often everything is built anew.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads a build may use; a search uses one.")] = 2,
    grid: Annotated[
        bool, typer.Option("--grid", help="Try every build that an index suggests, not its default alone: much longer.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The run's folder; reports/compare-... where left out.")] = None,
) -> None:
    """Compare indexes without writing a config, on any data: each index's default build over its range of efforts.

    Exact search and HNSW, the reference that ratios and the noise floor refer to, always take part. The run can be
    interrupted and goes on where it stopped.

    \b
    adamem compare --dataset pydocs --encoder minilm --index hnsw --index faiss_pq
    adamem compare --dataset my-vectors.npy --metric cosine --index hnsw --index faiss_hnsw -k 10
    adamem compare --dataset glove-100-angular --index hnsw --limit 100000
    """
    asked = list(dict.fromkeys(["exact", *index]))
    names = asked if _REFERENCE in asked else [*asked, _REFERENCE]
    tables: dict[str, Any] = {
        "title": f"{', '.join(asked[1:]) or 'exact'} on {Path(dataset).name}",
        "dataset": _given(name=dataset, metric=metric, encoder=encoder, limit=limit, queries=queries),
        "measure": {
            "k": [k],
            "recall_at": sorted({cut for cut in (1, 4, k) if cut <= k}),
            "rounds": rounds,
            "build_seeds": seeds,
            "build_threads": threads,
        },
        "contestant": [_contestant(name, grid=grid) for name in names],
    }
    if not 1 <= k <= 100:
        raise InvalidInput(f"--k {k}: expected a whole number from 1 to 100")
    # The folder's name follows from what is asked, so that the same question goes on with the same folder.
    stem = re.sub(r"[^a-z0-9._-]+", "-", Path(dataset).name.lower()).strip("-.") or "data"
    tables["name"] = f"compare-{stem}-{content_key(tables)[:8]}"
    study = SweepStudy(validate(Experiment, tables, source="adamem compare"), source="adamem compare")
    finish(study, out or Path("reports") / study.folder_name)


def _contestant(name: str, *, grid: bool) -> dict[str, Any]:
    kind = index_class(name)
    return {
        "name": name,
        "index": name,
        "build": sweep_grid(kind.build_params) if grid else {},
        "search": sweep_grid(kind.search_params),
    }


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
