"""`flatout gpus`: graphics cards side by side, or those of the catalogue that will do."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flatout.gpus import Card


class Sort(StrEnum):
    """What a list can be sorted by, the largest (the newest, the cheapest) first."""

    training = "training"
    memory = "memory"
    bandwidth = "bandwidth"
    fp16 = "fp16"
    fp32 = "fp32"
    power = "power"
    price = "price"
    released = "released"


class Vendor(StrEnum):
    """Who makes the card."""

    nvidia = "nvidia"
    amd = "amd"
    intel = "intel"
    apple = "apple"


class Segment(StrEnum):
    """Whom the card is sold to."""

    consumer = "consumer"
    laptop = "laptop"
    workstation = "workstation"
    data_centre = "data-centre"
    integrated = "integrated"


def gpus(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help='Cards to put side by side, as drivers or people write them: "RTX 3090 Ti" 3070ti.'
        ),
    ] = None,
    min_memory: Annotated[float | None, typer.Option(help="List the cards with at least so many GB.")] = None,
    vendor: Annotated[Vendor | None, typer.Option(help="List the cards of one maker.")] = None,
    segment: Annotated[Segment | None, typer.Option(help="List the cards of one kind.")] = None,
    sort: Annotated[Sort | None, typer.Option(help="What the list is sorted by.")] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the cards into a picture, too.")] = False,
    picture: Annotated[Path, typer.Option(help="The file of --plot: .png, .svg or .pdf.")] = Path("gpus.png"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
) -> None:
    """Graphics cards side by side, ranked for training; or those of the catalogue with enough memory."""
    filters = (min_memory, vendor, segment, sort)
    if names:
        if any(value is not None for value in filters):
            raise typer.BadParameter(
                "name cards, or list those that will do (--min-memory, --sort), not both"
            )
        _side_by_side(names, picture if plot else None, as_json)
    elif any(value is not None for value in filters):
        found = _listed(min_memory, vendor, segment)
        _list(
            _sorted(found, sort or Sort.training), sort or Sort.training, picture if plot else None, as_json
        )
    else:
        if plot:
            raise typer.BadParameter(
                '--plot draws cards that are named, such as: flatout gpus "RTX 3090" 4090'
            )
        _overview(as_json)


def _side_by_side(names: list[str], picture: Path | None, as_json: bool) -> None:
    from flatout.gpus import compare

    comparison = compare(*names)
    if picture is not None:
        _draw(picture, comparison.cards, as_json)
    if as_json:
        typer.echo(json.dumps(comparison.document()))
        return
    from rich.console import Console

    from flatout.report.gpus_view import comparison_view

    Console(highlight=False).print(comparison_view(comparison))


def _listed(min_memory: float | None, vendor: Vendor | None, segment: Segment | None) -> list[Card]:
    from flatout.errors import CardError
    from flatout.gpus import cards

    if min_memory is not None and not 0 <= min_memory < float("inf"):
        raise CardError(f"--min-memory must be 0 GB or more, got {min_memory:g}")
    found = [card for card in cards() if vendor is None or card.vendor.lower() == vendor]
    found = [card for card in found if segment is None or card.segment == segment]
    if min_memory is not None:
        found = [card for card in found if card.memory_gb is not None and card.memory_gb >= min_memory]
    if not found:
        raise CardError("no card of the catalogue is like that; ask for less with --min-memory")
    return found


def _sorted(found: list[Card], sort: Sort) -> list[Card]:
    """The unknown last."""
    from flatout.gpus.rank import ranked

    if sort is Sort.training:
        return list(ranked(found))
    if sort is Sort.released:
        return sorted(found, key=lambda card: card.release, reverse=True)
    column = {
        Sort.memory: "memory_gb",
        Sort.bandwidth: "bandwidth_gbs",
        Sort.fp16: "fp16_tflops",
        Sort.fp32: "fp32_tflops",
        Sort.power: "power_w",
        Sort.price: "price_usd",
    }[sort]
    sign = 1 if sort is Sort.price else -1  # the cheapest first
    known = [card for card in found if getattr(card, column) is not None]
    unknown = [card for card in found if getattr(card, column) is None]
    return sorted(known, key=lambda card: sign * getattr(card, column)) + unknown


def _list(found: list[Card], sort: Sort, picture: Path | None, as_json: bool) -> None:
    if picture is not None:
        _draw(picture, found[:12], as_json)
    if as_json:
        _json(found)
        return
    from rich.console import Console

    from flatout.report.gpus_view import list_view

    order = {"price": "the cheapest first", "released": "the newest first"}.get(sort, f"by {sort}")
    count = f"{len(found)} card{'s' if len(found) > 1 else ''}"
    Console(highlight=False).print(list_view(found, f"{count}, {order}"))


def _overview(as_json: bool) -> None:
    from flatout.gpus import cards

    if as_json:
        _json(cards())
        return
    from rich.console import Console

    from flatout.report.gpus_view import overview

    Console(highlight=False).print(overview(cards()))


def _json(found: list[Card] | tuple[Card, ...]) -> None:
    from flatout.gpus.compare import document

    typer.echo(json.dumps({"cards": [document(card) for card in found]}))


def _draw(picture: Path, found: list[Card] | tuple[Card, ...], as_json: bool) -> None:
    from flatout.errors import CardError
    from flatout.report.gpus_picture import plot_cards

    try:
        plot_cards(picture, found)
    except (ValueError, OSError) as error:
        raise CardError(f"the picture cannot be drawn into {picture}: {error}") from error
    typer.echo(f"picture  {picture}", err=as_json)
