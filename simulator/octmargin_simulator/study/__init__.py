"""A simulated validation study: simulated specimens with known truth, judged as the daemon would judge them.

Everything it measures is SYNTHETIC. See docs/validation.md.
"""

from octmargin_simulator.study.leakage import check_unseen
from octmargin_simulator.study.plan import StudyPlan
from octmargin_simulator.study.records import FaceRecord, StudyResults
from octmargin_simulator.study.run import run_study
from octmargin_simulator.study.tables import Summary, summarise

__all__ = ["FaceRecord", "StudyPlan", "StudyResults", "Summary", "check_unseen", "run_study", "summarise"]
