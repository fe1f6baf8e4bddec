"""What to give to a cluster that starts jobs by itself."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence

from sweep.schedule.times import Daily


def cron_job_lines(name: str, daily: Daily, arguments: Sequence[str], image: str) -> Iterator[str]:
    """A Kubernetes CronJob: its own time zone, no two at once, a start that is up to six hours late is caught up."""
    yield "apiVersion: batch/v1"
    yield "kind: CronJob"
    yield f"metadata: {{name: {json.dumps(f'splitsweep-{name}'.lower().replace('_', '-').replace('.', '-'))}}}"
    yield "spec:"
    yield f'  schedule: "{daily.minute} {daily.hour} * * *"'
    yield f"  timeZone: {json.dumps(daily.zone)}"
    yield "  concurrencyPolicy: Forbid"
    yield "  startingDeadlineSeconds: 21600"
    yield "  jobTemplate:"
    yield "    spec:"
    yield "      backoffLimit: 0  # exit code 1 is a verdict, not a reason to try again"
    yield "      template:"
    yield "        spec:"
    yield "          restartPolicy: Never"
    yield "          containers:"
    yield "            - name: nightly"
    yield f"              image: {json.dumps(image)}"
    yield f"              command: {json.dumps(['splitsweep', 'nightly', *arguments])}"


def ray_job_lines(daily: Daily, arguments: Sequence[str]) -> Iterator[str]:
    """The command that submits one night to a Ray cluster, for whatever starts commands at a time of day."""
    yield f"# daily at {daily.text}; RAY_ADDRESS is the cluster's, like http://HEAD:8265"
    yield "# ray job submit turns every exit code into 0 or 1; verdict.json has the verdict"
    command = shlex.join(["splitsweep", "nightly", *arguments, "--address", "auto"])
    yield f'ray job submit --address "$RAY_ADDRESS" --working-dir . -- {command}'
