"""`flatout advise`: buy a card or rent one, and which cards hold the memory."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def advise(
    memory: Annotated[float | None, typer.Option(help="The memory that is needed, in GB.")] = None,
    hours: Annotated[float, typer.Option(help="The hours a day that the card would work.")] = 4.0,
    price: Annotated[float | None, typer.Option(help="What the card costs to buy, in dollars.")] = None,
    rent: Annotated[float | None, typer.Option(help="What an hour costs to rent, in dollars.")] = None,
    electricity: Annotated[
        float | None, typer.Option(help="What a kWh costs, in dollars; else that of the snapshot.")
    ] = None,
    card: Annotated[
        str | None, typer.Option(help="The card that is meant; its power, price and rent are looked up.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
) -> None:
    """Buy or rent: after how many hours and months buying pays, and which cards hold the memory."""
    from flatout.gpus.advice import advise as advice_for

    advice = advice_for(
        memory_gb=memory,
        hours_per_day=hours,
        price=price,
        rent=rent,
        electricity_per_kwh=electricity,
        card=card,
    )
    if as_json:
        typer.echo(json.dumps(advice.document()))
        return
    from rich.console import Console

    from flatout.report.gpus_view import advice_view

    Console(highlight=False).print(advice_view(advice))
