"""What the report says of results that were made by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from octmargin.frames import BlockState
from octmargin_simulator.study import FaceRecord, StudyPlan, StudyResults, Summary, summarise
from octmargin_simulator.study.records import Blocks
from octmargin_simulator.study.report import html, markdown, shown
from octmargin_simulator.study.rows import Group, Table, group_of
from octmargin_simulator.study.statistics import Estimate
from octmargin_simulator.study.truth import KINDS, Malignant
from octmargin_simulator.tissue import Kind

Make = Callable[..., FaceRecord]
CLASSES = ("adipose", "stroma", "tumour")
SUSPICIOUS, NOTHING, UNDECIDED = "suspicious", "nothing_suspicious", "indeterminate"


def results_of(faces: list[FaceRecord], blocks: Blocks | None = None) -> StudyResults:
    """Results of faces whose four blocks are three of stroma and one of what the face is."""
    if blocks is None:
        n = len(faces)
        positive = np.array([[False, False, False, face.is_positive] for face in faces]).ravel()
        suspicion = np.where(positive, 0.9, np.tile([0.1, 0.2, 0.3, 0.4], n)).astype(np.float32)
        probabilities = np.stack([0 * suspicion, 1 - suspicion, suspicion], axis=1).astype(np.float16)
        state = np.where(suspicion > 0.5, BlockState.SUSPICIOUS, BlockState.NOTHING_SUSPICIOUS).astype(
            np.uint8
        )
        kind = np.where(positive, KINDS.index(Kind.INVASIVE), KINDS.index(Kind.STROMA)).astype(np.uint8)
        malignant = np.where(positive, Malignant.YES, Malignant.NO).astype(np.uint8)
        blocks = Blocks(
            suspicion, suspicion, probabilities, state, np.zeros(4 * n, np.uint8), malignant, kind
        )
    return StudyResults(StudyPlan(specimens=6, paired_specimens=2), CLASSES, faces, blocks)


@pytest.fixture
def faces(face: Make) -> list[FaceRecord]:
    """Ten faces of six specimens: five positive, three clear, one narrow, one deep."""
    return [
        face((2.5, 0.0), seed=1, outcome=SUSPICIOUS, score=9.0),
        face((0.7, 0.3), seed=1, face="medial", outcome=SUSPICIOUS, score=5.0, artefacts=("blood",)),
        face((0.7, 0.6), seed=2, outcome=UNDECIDED, score=1.9, reasons=("coverage 93% is below 95%",)),
        face((1.5, 0.2), seed=2, face="medial", outcome=NOTHING, score=0.3),
        face((3.0, 0.01), seed=3, outcome=SUSPICIOUS, score=7.0, drawn_lesion="dcis"),
        face(seed=4, score=0.2),
        face(seed=4, face="medial", outcome=SUSPICIOUS, score=3.5, artefacts=("blood", "cautery")),
        face(
            seed=5,
            outcome=UNDECIDED,
            score=1.2,
            reasons=("coverage 81% is below 95%", "DCIS margin of 2 mm cannot be certified: depth 1.2 mm"),
        ),
        face((0.3, 0.1), seed=5, face="medial", outcome=NOTHING),
        face((2.0, 1.2), seed=6, outcome=SUSPICIOUS, score=4.0, drawn_lesion="deep invasive"),
    ]


@pytest.fixture
def summary(faces: list[FaceRecord]) -> Summary:
    return summarise(results_of(faces))


def counts(table: Table, column: str) -> dict[str, tuple[int | None, int]]:
    return {row.label: (row.values[column].count, row.values[column].of) for row in table.rows}


def subgroup(summary: Summary, title: str) -> Table:
    return next(table for table in summary.subgroups if table.title == title)


class TestGroups:
    @pytest.mark.parametrize(
        ("lesion", "group"),
        [
            (None, Group.CLEAR),
            ((0.5, 1.0), Group.POSITIVE),
            ((0.49, 0.0), Group.SMALL),
            ((5.0, 1.01), Group.DEEP),
            ((0.3, 1.01), Group.DEEP),
        ],
    )
    def test_a_face_is_what_its_truth_says(
        self, face: Make, lesion: tuple[float, float] | None, group: Group
    ) -> None:
        assert group_of(face(lesion)) is group

    def test_a_deep_lesion_whose_spicule_comes_near_is_positive(self, face: Make) -> None:
        assert group_of(face((2.0, 0.8), drawn_lesion="deep invasive")) is Group.POSITIVE

    def test_a_lesion_between_the_frames_is_neither_there_nor_absent(self, face: Make) -> None:
        assert group_of(face(drawn_lesion="dcis")) is Group.BETWEEN


class TestEndpoints:
    def test_an_indeterminate_face_is_neither_found_nor_cleared(self, summary: Summary) -> None:
        found = {
            row.label.split(":")[0]: (row.values["estimate"].count, row.values["estimate"].of)
            for row in summary.endpoints.rows
        }
        assert found["sensitivity, strict"] == (3, 5)
        assert found["not missed"] == (4, 5)
        assert found["specificity, strict"] == (1, 3)
        assert found["negative faces not called suspicious"] == (2, 3)
        assert found["indeterminate"] == (2, 8)
        assert found["prevalence of positive faces"] == (5, 8)
        assert found["positive predictive value of suspicious"] == (3, 4)
        assert found["negative predictive value of nothing suspicious"] == (1, 2)

    def test_the_flow_accounts_for_every_face(self, summary: Summary) -> None:
        specimens, examined, *groups = [row.number for row in summary.flow.rows[:7]]
        assert (specimens, examined) == (6, 10)
        assert groups == [5, 3, 1, 1, 0]

    def test_the_reasons_are_counted_whatever_their_numbers(self, summary: Summary) -> None:
        assert summary.reasons == {"coverage …% is below …%": 2}

    def test_the_area_of_faces_is_that_of_primary_ones(self, summary: Summary) -> None:
        (area,) = [r.values["estimate"] for r in summary.endpoints.rows if r.label == "AUROC of faces"]
        pairs = [p > n for p in (9.0, 5.0, 1.9, 0.3, 7.0) for n in (0.2, 3.5, 1.2)]
        assert area.value == pytest.approx(np.mean(pairs))
        assert summary.face_operating_point == pytest.approx((1 / 3, 3 / 5))

    def test_what_was_not_called_can_be_made_again(self, summary: Summary) -> None:
        assert [(m.seed, m.face, m.outcome) for m in summary.missed] == [
            (2, "superior", UNDECIDED),
            (2, "medial", NOTHING),
        ]


class TestSubgroups:
    def test_lesions_by_size_and_depth(self, summary: Summary) -> None:
        assert counts(subgroup(summary, "By width of the lesion"), "sensitivity") == {
            "0.5 to 1 mm": (1, 2),
            "1 to 2 mm": (0, 1),
            "2 to 5 mm": (2, 2),
        }
        assert counts(subgroup(summary, "By depth of the lesion's top"), "sensitivity") == {
            "at the surface": (2, 2),
            "0 to 0.25 mm": (0, 1),
            "0.25 to 0.5 mm": (1, 1),
            "0.5 to 1 mm": (0, 1),
        }

    def test_narrow_and_deep_lesions_are_shown_apart(self, summary: Summary) -> None:
        assert counts(subgroup(summary, "Lesions outside the primary endpoints"), "suspicious") == {
            "within 1 mm, less than 0.5 mm wide": (0, 1),
            "deeper than 1 mm": (1, 1),
        }

    def test_a_face_counts_for_each_artefact_it_carries(self, summary: Summary) -> None:
        by_artefact = counts(subgroup(summary, "By artefact on the face"), "indeterminate")
        assert by_artefact == {"none": (2, 6), "cautery": (0, 1), "blood": (0, 2)}

    def test_thirds_share_the_primary_faces(self, summary: Summary) -> None:
        table = subgroup(summary, "By signal-to-noise ratio of the specimen")
        assert sum(row.number for row in table.rows) == 8


class TestBlocks:
    def test_lost_poor_and_touched_blocks_are_left_out_and_counted(self, face: Make) -> None:
        nothing, suspicious = BlockState.NOTHING_SUSPICIOUS, BlockState.SUSPICIOUS
        stroma, dcis = KINDS.index(Kind.STROMA), KINDS.index(Kind.DCIS)
        state = np.array(
            [nothing, suspicious, BlockState.LOST, BlockState.POOR, nothing, suspicious, nothing, nothing]
        )
        malignant = np.array([0, 1, 1, 0, 2, 0, 1, 0])
        suspicion = np.array([0.1, 0.8, np.nan, 0.2, 0.3, 0.6, 0.4, 0.2], np.float32)
        blocks = Blocks(
            suspicion,
            suspicion,
            np.stack([1 - suspicion, 0 * suspicion, suspicion], axis=1).astype(np.float16),
            state.astype(np.uint8),
            np.zeros(8, np.uint8),
            malignant.astype(np.uint8),
            np.where(malignant == 1, dcis, stroma).astype(np.uint8),
        )
        summary = summarise(results_of([face(seed=1), face((1.0, 0.1), seed=2)], blocks))
        metrics = summary.blocks
        assert (metrics.blocks, metrics.unusable, metrics.touched) == (8, 2, 1)
        assert (metrics.positive, metrics.negative) == (2, 3)
        assert metrics.auroc.value == pytest.approx(5 / 6)  # 0.8, 0.4 against 0.1, 0.6, 0.2
        assert metrics.operating_point == pytest.approx((1 / 3, 1 / 2))
        assert metrics.brier.value == pytest.approx(np.mean([0.01, 0.04, 0.36, 0.36, 0.04]))
        assert summary.confusion.called == ["adipose", "stroma", "tumour", "not judged"]
        assert summary.confusion.blocks[dcis] == [1, 0, 1, 1]
        assert summary.confusion.blocks[stroma] == [2, 0, 1, 1]

    def test_without_a_positive_there_is_no_area(self, face: Make) -> None:
        summary = summarise(results_of([face(seed=1), face(seed=2)]))
        assert summary.blocks.auroc.value is None
        assert summary.face_roc is None
        assert "SYNTHETIC" in html(summary)


class TestComparisons:
    def test_worlds_are_held_against_the_reference_on_the_same_specimens(
        self, face: Make, faces: list[FaceRecord]
    ) -> None:
        shifted = [
            face((2.5, 0.0), seed=1, outcome=NOTHING, part="weak-signal"),
            face(seed=2, outcome=UNDECIDED, part="weak-signal"),
        ]
        worlds = summarise(results_of([*faces, *shifted])).worlds
        assert worlds is not None
        assert counts(worlds, "sensitivity") == {"reference": (2, 4), "signal-to-noise ratio -6 dB": (0, 1)}

    def test_artefacts_are_told_on_healthy_tissue_and_on_tumour(
        self, face: Make, faces: list[FaceRecord]
    ) -> None:
        alone = [
            face(part="artefacts", condition="cautery", outcome=SUSPICIOUS),
            face((1.0, 0.0), part="artefacts", condition="cautery", outcome=UNDECIDED),
            face(part="artefacts", condition="lost frames", outcome=UNDECIDED),
        ]
        healthy, tumour = summarise(results_of([*faces, *alone])).artefacts
        assert counts(healthy, "suspicious") == {"cautery": (1, 1), "lost frames": (0, 1)}
        assert counts(tumour, "indeterminate") == {"cautery": (1, 1), "lost frames": (0, 0)}

    def test_they_change_nothing_of_the_reference(
        self, face: Make, faces: list[FaceRecord], summary: Summary
    ) -> None:
        more = [*faces, face(part="artefacts", condition="ink"), face((1.0, 0.0), part="weak-signal")]
        again = summarise(results_of(more))
        assert again.endpoints == summary.endpoints
        assert again.subgroups == summary.subgroups


class TestReport:
    def test_the_page_says_synthetic_and_needs_nothing_else(self, summary: Summary) -> None:
        page = html(summary)
        assert page.count("SYNTHETIC") > 6
        assert page.count("<svg") == 6
        assert not {"http://", "https://"} & {
            word[:8] for word in page.replace('="', " ").split() if word.startswith(("src", "href"))
        }
        assert "<script" not in page

    def test_every_missed_face_stands_in_the_page(self, summary: Summary) -> None:
        page = html(summary)
        assert page.count("<td>nothing suspicious</td>") == 1

    def test_markdown_has_a_row_for_every_endpoint(self, summary: Summary) -> None:
        text = markdown(summary)
        assert text.startswith("**SYNTHETIC tissue.**")
        for row in summary.endpoints.rows:
            assert f"| {row.label} | {row.number} |" in text

    @pytest.mark.parametrize(
        ("estimate", "text"),
        [
            (Estimate(0.5, 0.25, 0.75, 12, 6), "50 % (25 to 75), 6/12"),
            (Estimate(0.915, 0.88, 0.94, 200, 183), "91.5 % (88.0 to 94.0), 183/200"),
            (Estimate(0.8765, 0.85, 0.9, 1000), "0.876 (0.850 to 0.900)"),
            (Estimate(0.5, None, None, 1000), "0.500"),
            (Estimate(None, None, None, 0, 0), "–"),
        ],
    )
    def test_an_estimate_in_words(self, estimate: Estimate, text: str) -> None:
        assert shown(estimate) == text
