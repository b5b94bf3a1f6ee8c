"""The money of batches (LLM 7)."""

from __future__ import annotations

from conversation import House, Side, settle
from model_house import MemoryBooks, body_of, model, models, provider, scene, target, whole

from tidegate.ports.models import DoorPlan, PriceRow
from tidegate.rules.owner_ids import tag_of


def doors(number: int) -> dict[str, DoorPlan]:
    return {"batches": DoorPlan("batches", None, f"provider:p{number}", "/v1/batches")}


P1, P2 = provider(1, doors=doors(1)), provider(2, doors=doors(2))


def request(method: str, path: str) -> str:
    return f"{method} {path} HTTP/1.1\r\nHost: gw\r\n\r\n"


ENDED = {
    "id": "batch_1",
    "object": "batch",
    "status": "completed",
    "model": "up-model",
    "completed_at": 1_699_999_000,
    "usage": {"input_tokens": 100, "output_tokens": 30},
}
BATCHED = PriceRow(
    "row",
    {"input": 2_000_000_000, "output": 4_000_000_000},
    services={"batch": PriceRow("row/batch", {"input": 1_000_000_000, "output": 2_000_000_000})},
)


def test_a_batch_is_booked_when_a_poll_tells_what_it_used_at_the_price_of_batches_and_once_a_worker() -> None:
    plan = models(model("fast", target(P1, price=BATCHED), target(P2, "other", 1)))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        for answer in ({**ENDED, "status": "in_progress", "usage": None}, ENDED, ENDED):
            client.says(request("GET", f"/v1/batches/batch-{tag_of('p1', 'default')}-batch_1"))
            await settle()
            house.upstreams[0].says(whole(200, answer))
            assert body_of(client.hears())["status"] == answer["status"]
        polls = [record for record in books.records if record.id != "batch:p1/batch_1"]
        assert [(record.cost, record.batch) for record in polls] == [(0, "p1/batch_1")] * 3
        (batch,) = [record for record in books.records if record.id == "batch:p1/batch_1"]
        assert (batch.cost, batch.tier, batch.model, batch.batch) == (160_000, "batch", "up-model", "p1/batch_1")
        assert (batch.ts, batch.surface, batch.levels) == (1_699_999_000.0, "batches", ())
        assert [part.name for part in batch.parts] == ["input", "output"]

    scene(play, plan)


def test_a_list_of_batches_books_each_and_a_model_without_a_price_is_flagged() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(request("GET", "/v1/batches?provider=p1"))
        await settle()
        listed = [ENDED, {**ENDED, "id": "batch_2", "model": "unheard-of"}, {**ENDED, "id": "batch_3", "model": None}]
        house.upstreams[0].says(whole(200, {"object": "list", "data": listed}))
        assert len(body_of(client.hears())["data"]) == 3
        booked = {record.id: record for record in books.records if record.id.startswith("batch:")}
        assert [(r.cost, r.flags) for r in booked.values()] == [
            (160_000, ()),
            (0, ("price_unknown",)),
            (0, ("price_unknown",)),
        ]
        assert [record.batch for record in books.records if record.id not in booked] == [""]

    scene(play, models(model("fast", target(P1), target(P2, "other", 1))))
