"""The application that `sentry-asgi demo` runs: a small shop, written as its users would write one.

It needs SENTRY_DSN in its environment.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import sentry_sdk
import sqlalchemy as sql
from sqlalchemy.pool import StaticPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from sentry_asgi import SentryMiddleware, Watch
from sentry_asgi.executor import ContextPreservingExecutor

# In memory, and one connection for all threads: it is a small shop.
database = sql.create_engine(
    "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
)


def fill_the_shelves() -> None:
    """Twelve teas, half of which are in a basket."""
    with database.begin() as connection:
        connection.execute(sql.text("CREATE TABLE tea (id INTEGER PRIMARY KEY, price INTEGER)"))
        connection.execute(sql.text("CREATE TABLE basket (id INTEGER, tea INTEGER)"))
        for tea in range(1, 13):
            connection.execute(sql.text("INSERT INTO tea VALUES (:tea, 400)"), {"tea": tea})
            connection.execute(
                sql.text("INSERT INTO basket VALUES (:id, :tea)"), {"id": tea % 2, "tea": tea}
            )


fill_the_shelves()  # before anybody watches the queries

sentry_sdk.init(
    dsn=os.environ["SENTRY_DSN"],
    environment="demo",
    http_proxy="",  # the inspector is on this machine
    release="shop@1.0",
    traces_sample_rate=1.0,
    db_query_source_threshold_ms=0,  # of each query the line that makes it, however fast it is
    # This module is the app here, though it is installed, and the package around it is not.
    in_app_include=[__name__],
    in_app_exclude=["sentry_asgi"],
)


@dataclass(frozen=True)
class Order:
    """What somebody ordered; prices are in cents."""

    number: int
    prices: tuple[int, ...]


ORDERS = {1: Order(1, (1250, 400)), 7: Order(7, ())}


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    """Work in threads keeps the request that it belongs to."""
    asyncio.get_running_loop().set_default_executor(ContextPreservingExecutor())
    yield


async def order(request: Request) -> JSONResponse:
    """Order 1 is fine, order 7 is not: nobody thought of an order without items."""
    found = ORDERS[request.path_params["number"]]
    return JSONResponse({"order": found.number, "average": average_price(found)})


def average_price(order: Order) -> float:
    """What an item of the order costs on average, in cents."""
    return sum(order.prices) / len(order.prices)


async def invoice(request: Request) -> PlainTextResponse:
    """Printing takes long, so a worker thread does it."""
    loop = asyncio.get_running_loop()
    number = request.path_params["number"]
    return PlainTextResponse(await loop.run_in_executor(None, print_invoice, number))


def print_invoice(number: int) -> str:
    """The invoice of an order; the tag says which one, also where printing fails."""
    sentry_sdk.set_tag("invoice", str(number))
    return f"Invoice {number} for {addresses()[number]}"


def addresses() -> dict[int, str]:
    """Where customers live, by the number of their order."""
    return {1: "1 Long Lane"}


async def stock(_request: Request) -> JSONResponse:
    """Nothing fails here, but somebody should know."""
    sentry_sdk.capture_message("Only 2 teapots left", level="warning")
    return JSONResponse({"teapots": 2})


async def prices(_request: Request) -> JSONResponse:
    """Nothing fails here either, but nobody else is served meanwhile."""
    return JSONResponse({"teapot": price_of("teapot")})


def price_of(_thing: str) -> int:
    """What a thing costs, in cents; the price list is asked in a way that blocks the event loop."""
    time.sleep(0.6)
    return 1250


async def delivery(request: Request) -> JSONResponse:
    """The courier takes long to answer, and this waits."""
    day = await ask_courier(request.path_params["number"])
    return JSONResponse({"day": day})


async def ask_courier(_number: int) -> str:
    """When an order is delivered."""
    await asyncio.sleep(2)
    return "tomorrow"


def basket(request: Request) -> JSONResponse:
    """What a basket costs: one query for the basket, and one more for each tea in it."""
    which = {"id": request.path_params["number"]}
    with database.connect() as connection:
        teas = connection.execute(sql.text("SELECT tea FROM basket WHERE id = :id"), which)
        total = sum(tea_price(connection, tea) for (tea,) in teas.all())
    return JSONResponse({"total": total})


def tea_price(connection: sql.Connection, tea: int) -> int:
    """What a tea costs, in cents."""
    query = sql.text("SELECT price FROM tea WHERE id = :tea")
    return int(connection.execute(query, {"tea": tea}).scalar_one())


def sales(_request: Request) -> JSONResponse:
    """How much was sold; nobody thought of an index."""
    query = sql.text(
        "WITH RECURSIVE sale(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM sale WHERE number < 1000000)"
        " SELECT sum(number % 7) FROM sale"
    )
    with database.connect() as connection:
        return JSONResponse({"sold": connection.execute(query).scalar_one()})


app: ASGIApp = Starlette(
    routes=[
        Route("/orders/{number:int}", order),
        Route("/invoices/{number:int}", invoice, methods=["POST"]),
        Route("/baskets/{number:int}", basket),
        Route("/sales", sales),
        Route("/stock", stock),
        Route("/prices", prices),
        Route("/deliveries/{number:int}", delivery),
    ],
    lifespan=lifespan,
)
# The limits are short, for nobody wants to wait for a demonstration.
app = SentryMiddleware(app, watch=Watch(blocked_after=0.2, stuck_after=1.0))
