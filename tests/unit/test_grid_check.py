"""A grid that the model does not know is told with what it knows, what the plan has, and what would do."""

from __future__ import annotations

from typing import cast

import pytest

from octmargin.frames import PixelFormat, ScanPlan
from octmargin.grid_check import grid_trouble
from octmargin.margin import MarginModel, Policy, load_model

MARGIN_1, RULE_1 = load_model("margin-1"), load_model("rule-1")
ALLOWED_UM = Policy().max_frame_um


def plan(alines: int, width_mm: float, *, frames: int = 10) -> ScanPlan:
    return ScanPlan(
        face="superior",
        samples=1024,
        alines=alines,
        frames=frames,
        width_mm=width_mm,
        height_mm=2.0,
        line_rate_hz=1000.0,
        pixel_format=PixelFormat.MONO16,
    )


@pytest.mark.parametrize(("alines", "width_mm"), [(512, 8.0), (400, 8.0), (128, 2.0)])
def test_of_a_grid_that_it_knows_nothing_is_said(alines: int, width_mm: float) -> None:
    assert (
        grid_trouble(MARGIN_1, plan(alines, width_mm), 4.0, max_frame_um=ALLOWED_UM, max_alines=1024) is None
    )


def test_a_model_that_takes_what_it_gets_has_no_trouble_within_the_policy() -> None:
    assert grid_trouble(RULE_1, plan(100, 8.0), 9.0, max_frame_um=ALLOWED_UM, max_alines=None) is None
    # One of another package may not know of the question.
    assert (
        grid_trouble(
            cast(MarginModel, object()), plan(100, 8.0), 9.0, max_frame_um=ALLOWED_UM, max_alines=None
        )
        is None
    )


def test_it_says_what_the_model_knows_what_the_plan_has_and_what_would_do() -> None:
    trouble = grid_trouble(MARGIN_1, plan(200, 8.0), 4.0, max_frame_um=ALLOWED_UM, max_alines=512)
    assert trouble is not None
    assert trouble.text.startswith(
        "margin-1 knows A-lines 12 to 20 µm apart, depth pixels of 3.8 to 4.2 µm and frames at most 240 µm apart; "
        "this plan has A-lines 40 µm apart and depth pixels of 4 µm: every block will be poor"
    )
    # 8 mm / 20 µm; and no more than the console offers.
    assert trouble.remedy.startswith("set scan.alines from 400 to 512,")


@pytest.mark.parametrize(
    ("axial_um", "max_alines"), [(5.5, 512), (4.0, 300)], ids=["other pixels", "too few to be had"]
)
def test_where_no_number_of_alines_would_do_none_is_named(axial_um: float, max_alines: int) -> None:
    trouble = grid_trouble(MARGIN_1, plan(200, 8.0), axial_um, max_frame_um=ALLOWED_UM, max_alines=max_alines)
    assert trouble is not None
    assert trouble.remedy == "name a model that knows this grid as model.name"


def test_frames_too_far_apart_are_told_with_how_many_would_do() -> None:
    # 2 mm / 0.24 mm: 9 frames are near enough, 8 are not.
    assert (
        grid_trouble(
            MARGIN_1, plan(512, 8.0, frames=9), 4.0, max_frame_um=ALLOWED_UM, max_alines=512, max_frames=40
        )
        is None
    )
    trouble = grid_trouble(
        MARGIN_1, plan(512, 8.0, frames=8), 4.0, max_frame_um=ALLOWED_UM, max_alines=512, max_frames=40
    )
    assert trouble is not None
    assert trouble.text == (
        "frames 250 µm apart, and margin-1 knows 240 at most: "
        "what lies between is not seen, and no face will be cleared"
    )
    assert trouble.remedy == "set scan.frames to 9 or more"


def test_all_that_is_not_known_is_told_at_once() -> None:
    trouble = grid_trouble(
        MARGIN_1, plan(200, 8.0, frames=2), 4.0, max_frame_um=ALLOWED_UM, max_alines=512, max_frames=40
    )
    assert trouble is not None
    assert "A-lines 40 µm apart" in trouble.text
    assert "; frames 1000 µm apart, and margin-1 knows 240 at most" in trouble.text
    assert trouble.remedy.startswith("set scan.alines from 400 to 512")
    assert trouble.remedy.endswith("; set scan.frames to 9 or more")


def test_what_the_policy_allows_holds_for_any_model() -> None:
    def said(model: MarginModel, max_frame_um: float, **offered: int) -> tuple[str, str] | None:
        trouble = grid_trouble(
            model,
            plan(512, 8.0, frames=8),
            4.0,
            max_frame_um=max_frame_um,
            max_alines=512,
            max_frames=offered.get("max_frames"),
        )
        return trouble and (trouble.text.partition(":")[0], trouble.remedy)

    # 2 mm in 8 frames are 250 µm.
    assert said(RULE_1, 250) is None
    assert said(RULE_1, 200) == (
        "frames 250 µm apart, and policy.max_frame_um is 200",
        "set scan.frames to 10 or more",
    )
    assert said(RULE_1, 200, max_frames=9) == (
        "frames 250 µm apart, and policy.max_frame_um is 200",
        "scan a smaller area",
    )
    assert said(MARGIN_1, 200) == (
        "frames 250 µm apart, and policy.max_frame_um is 200",
        "set scan.frames to 10 or more",
    )
    assert said(MARGIN_1, 2000) == (
        "frames 250 µm apart, and margin-1 knows 240 at most",
        "set scan.frames to 9 or more",
    )


def test_where_the_console_offers_too_few_frames_none_are_named() -> None:
    trouble = grid_trouble(
        MARGIN_1, plan(512, 8.0, frames=4), 4.0, max_frame_um=ALLOWED_UM, max_alines=512, max_frames=8
    )
    assert trouble is not None
    assert trouble.remedy == "scan a smaller area, or name a model that knows this grid as model.name"
