"""The sketch against values that were stored, and bounds that were computed in decimal numbers."""

from __future__ import annotations

import json
import math
import random
from decimal import Decimal, localcontext

import pytest

from toolspan.statistics import Sketch

SECOND = 10**9
QUANTILES = (0.5, 0.95, 0.99)


def sketch_of(values):
    sketch = Sketch()
    sketch.extend(list(values))
    return sketch


def index_of(nanoseconds):
    scale, offset, counts = sketch_of([nanoseconds]).buckets()
    assert (scale, counts) == (6, [1])
    return offset


def bound(index, buckets=64):
    """The upper bound of OTLP's bucket `index`, in whole nanoseconds, with sixty digits."""
    with localcontext() as context:
        context.prec = 60
        return int(Decimal(2) ** (Decimal(index + 1) / buckets) * SECOND)


def nearest_rank(values, q):
    return values[max(math.ceil(q * len(values)) - 1, 0)]


@pytest.mark.parametrize("exponent", range(-9, 20))
def test_an_exact_power_of_the_base_is_in_the_bucket_that_it_bounds_from_above(exponent):
    power = int(Decimal(2) ** exponent * SECOND)
    assert power == Decimal(2) ** exponent * SECOND
    assert index_of(power) == 64 * exponent - 1
    assert index_of(power + 1) == 64 * exponent
    assert index_of(power - 1) == 64 * exponent - 1


def test_both_sides_of_every_bound_from_a_microsecond_to_a_month_are_told_apart():
    for index in range(-1276, 1365):
        upper = bound(index)
        assert index_of(upper) == index
        assert index_of(upper + 1) == index + 1


def test_both_sides_of_a_bound_are_told_apart_when_they_are_counted_together():
    for index in range(-1276, 1365):
        upper = bound(index)
        assert sketch_of([upper - 1, upper, upper, upper + 1]).buckets() == (6, index, [3, 1])


def test_values_at_the_ends_of_the_range_have_a_bucket():
    assert sketch_of([1]).quantile(0.5) == 1
    assert sketch_of([2**63 - 1, 2**63, 2**90]).max == 2**90
    assert sketch_of([2**63, 2**90]).count == 2


SHAPES = {
    "fast": lambda chance: chance.lognormvariate(math.log(3e4), 0.3),
    "wide": lambda chance: chance.lognormvariate(math.log(3e7), 2),
    "two humps": lambda chance: chance.choice((2e4, 5e10)) * chance.uniform(0.9, 1.1),
    "even in the exponent": lambda chance: 10 ** chance.uniform(4, 11),
    "heavy tail": lambda chance: 1e6 * chance.paretovariate(0.7),
}


def test_quantiles_of_a_million_stored_values_are_within_the_stated_error():
    for number, (shape, draw) in enumerate(SHAPES.items()):
        chance = random.Random(number)
        values = [int(min(max(draw(chance), 1e4), 1e11)) for _ in range(200_000)]
        sketch = sketch_of(values)
        values.sort()
        assert sketch.error < 0.0055
        for q in (*QUANTILES, 0.001, 0.25, 0.999):
            true = nearest_rank(values, q)
            assert abs(sketch.quantile(q) - true) <= 0.0055 * true, (shape, q)
        assert (sketch.min, sketch.max, sketch.total) == (values[0], values[-1], sum(values))
        assert sketch.count == len(values)


def test_the_error_is_within_its_bound_even_for_the_worst_values():
    for index in range(-1000, 400, 7):
        for value in (bound(index - 1) + 1, bound(index)):
            # Neighbours far away keep the answer from being the shortest or the longest.
            sketch = sketch_of([bound(index - 500), value, bound(index + 500)])
            assert abs(sketch.quantile(0.5) - value) <= sketch.error * value * (1 + 1e-6)


def test_the_extremes_are_exact():
    values = [7_000_003, 12_345_678, 98_765_432_101]
    assert sketch_of(values).quantile(0) == values[0]
    assert sketch_of(values).quantile(1) == values[-1]


def test_a_range_wider_than_the_window_halves_the_resolution_and_says_so():
    values = [1_000, 10**6, 10**9, 10**13]
    sketch = sketch_of(values)
    assert sketch.scale == 5
    assert 0.0055 < sketch.error < 0.011
    assert sketch.nbytes <= 8_192
    for q, true in ((0.5, values[1]), (0.75, values[2])):
        assert abs(sketch.quantile(q) - true) <= 0.011 * true
    sketch.extend([10**9] * 10)
    assert sketch.count == 14


def test_a_factor_of_four_billion_fits_the_window():
    sketch = sketch_of([1_000, 4 * 10**12])
    assert (sketch.scale, sketch.nbytes) == (6, 8_192)


def test_a_window_grows_only_as_far_as_it_must():
    sketch = sketch_of(range(1_000_000, 2_000_000, 1_000))
    assert sketch.nbytes <= 2 * 64 * 4


@pytest.mark.parametrize("seed", range(5))
def test_the_order_and_the_batches_of_the_values_change_nothing(seed):
    chance = random.Random(seed)
    values = [int(10 ** chance.uniform(0, 13)) for _ in range(500)]
    one_by_one = Sketch()
    for value in values:
        one_by_one.add(value)
    chance.shuffle(values)
    assert sketch_of(values).to_dict() == one_by_one.to_dict()


def test_parts_merged_in_any_order_equal_the_whole():
    chance = random.Random(1)
    values = [int(10 ** chance.uniform(1, 12.5)) for _ in range(3_000)]
    parts = [sketch_of(values[start::7]) for start in range(7)]
    whole = sketch_of(values).to_dict()
    for _ in range(3):
        chance.shuffle(parts)
        merged = Sketch()
        for part in parts:
            merged = merged + part
        assert merged.to_dict() == whole


def test_adding_two_sketches_leaves_both_as_they_were():
    first, second = sketch_of([10**6]), sketch_of([10**9, 0])
    before = first.to_dict(), second.to_dict()
    assert (first + second).count == 3
    assert (first.to_dict(), second.to_dict()) == before


def test_a_copy_goes_its_own_way():
    sketch = sketch_of([10**6])
    twin = sketch.copy()
    twin.add(10**6)
    twin.add(10**9)
    assert (sketch.count, twin.count) == (1, 3)


def test_zero_and_less_are_counted_and_never_measured():
    sketch = sketch_of([0, -5, 10**6])
    assert (sketch.count, sketch.zeros, sketch.total) == (3, 2, 10**6)
    assert (sketch.min, sketch.quantile(0.5)) == (0, 0.0)
    assert sketch.quantile(1) == 10**6
    assert sketch_of([0]).buckets() == (6, 0, [])
    assert sketch_of([-1]).quantile(0.5) == 0


def test_nothing_added_has_no_quantile():
    sketch = sketch_of([])
    assert math.isnan(sketch.quantile(0.5))
    assert math.isnan(sketch.mean)
    assert (sketch.count, sketch.min, sketch.max, sketch.nbytes) == (0, 0, 0, 0)


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_outside_its_range_is_refused(q):
    with pytest.raises(ValueError, match="between 0 and 1"):
        sketch_of([1]).quantile(q)


def test_a_counter_about_to_overflow_is_widened():
    sketch = sketch_of([10**6])
    narrow = sketch.nbytes
    for _ in range(33):
        sketch.merge(sketch.copy())
    sketch.extend([10**6, 10**6 + 1])
    assert sketch.count == 2**33 + 2
    assert sketch.nbytes == 2 * narrow


def test_the_add_that_overflows_is_counted_too():
    data = sketch_of([10**6]).to_dict()
    sketch = Sketch.from_dict({**data, "counts": [2**32 - 2]})
    sketch.extend([10**6, 10**6, 10**6, 2 * 10**6])
    assert sketch.count == 2**32 + 2
    lowered = Sketch.from_dict({**data, "counts": [2**32 - 1]})
    lowered.extend([1, 10**13])
    lowered.add(10**6)
    assert (lowered.scale, lowered.count) == (5, 2**32 + 2)


def test_what_was_added_since_a_copy_is_the_difference():
    chance = random.Random(3)
    early = [int(10 ** chance.uniform(5, 8)) for _ in range(400)]
    late = [int(10 ** chance.uniform(4, 13)) for _ in range(300)] + [0]
    sketch = sketch_of(early)
    copy = sketch.copy()
    sketch.extend(late)
    fresh = sketch.since(copy)
    assert (fresh.count, fresh.total, fresh.zeros) == (301, sum(late), 1)
    assert (copy + fresh).to_dict()["counts"] == sketch.to_dict()["counts"]
    late.sort()
    for q in QUANTILES:
        assert abs(fresh.quantile(q) / nearest_rank(late, q) - 1) <= fresh.error
    assert math.isclose(fresh.max, late[-1], rel_tol=2 * fresh.error)


def test_a_dict_survives_json():
    sketch = sketch_of([0, 3, 10**6, 10**9, 10**13])
    again = Sketch.from_dict(json.loads(json.dumps(sketch.to_dict())))
    assert again.to_dict() == sketch.to_dict()
    assert [again.quantile(q) for q in QUANTILES] == [sketch.quantile(q) for q in QUANTILES]
    assert Sketch.from_dict(Sketch().to_dict()).count == 0


@pytest.mark.parametrize("change", [{"scale": 7}, {"scale": -6}, {"counts": [-1]}, {"total": "x"}])
def test_another_dict_is_refused(change):
    with pytest.raises((ValueError, OverflowError)):
        Sketch.from_dict({**sketch_of([10**6]).to_dict(), **change})


def test_a_point_has_at_most_160_buckets_that_hold_what_they_should():
    chance = random.Random(4)
    values = sorted(int(10 ** chance.uniform(4, 11)) for _ in range(2_000))
    scale, offset, counts = sketch_of(values).buckets()
    assert len(counts) <= 160
    assert sum(counts) == len(values)
    assert counts[0] > 0
    assert counts[-1] > 0
    for place, count in enumerate(counts):
        low = bound(offset + place - 1, 2**scale)
        high = bound(offset + place, 2**scale)
        assert count == sum(low < value <= high for value in values)


def test_a_point_is_no_coarser_than_it_must_be():
    low, high = bound(-600) + 1, bound(-441)
    assert len(sketch_of([low, high]).buckets()[2]) == 159
    assert sketch_of([low, high]).buckets()[0] == 6
    assert sketch_of([low, bound(-439)]).buckets()[0] == 5
