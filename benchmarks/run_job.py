"""Run one job of workloads.py with one contender, and print its result as JSON; the process that is timed.

    python run_job.py JOB CONTENDER FOLDER SETTINGS

The folder holds the files that the job reads, and the settings are JSON.
"""

import importlib
import json
import sys


def main():
    job, contender, folder, settings = sys.argv[1:]
    module = importlib.import_module(f"jobs.{job}")
    print(json.dumps(module.CONTENDERS[contender](folder, **json.loads(settings)), default=float))


if __name__ == "__main__":
    main()
