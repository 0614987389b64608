"""The files that tell what came of a plan."""

from pathlib import Path
from typing import Any

from act_ros.evaluation.report.metrics import metrics
from act_ros.evaluation.report.page import write_report
from act_ros.evaluation.report.predictions import write_predictions
from act_ros.evaluation.report.tables import write_metrics, write_ticks
from act_ros.evaluation.run.outcome import Evaluation


def write_results(evaluation: Evaluation, out: Path) -> dict[str, Any]:
    """Write metrics, table, bag and report; each is whole or is not there.

    :returns: the metrics.
    """
    figures = metrics(evaluation)
    if not evaluation.labels():  # it was interrupted before the first tick
        return figures
    write_metrics(figures, out / 'metrics.json')
    write_ticks(evaluation, out / 'ticks.csv')
    write_predictions(evaluation, out / 'predictions.mcap')
    write_report(evaluation, figures, out / 'report.html')
    return figures
